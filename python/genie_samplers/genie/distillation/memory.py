"""How much memory the targets of a sample take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ...models import WrappedModel

__all__ = ["bytes_per_sample", "fitting_chunk_size"]

_COPIES = 4  # of every layer's output: the value kept and the tangent, each beside an intermediate
_MATRICES = 6  # of an attention at once, inside torch.func.jvp; by the tape three


@torch.no_grad()
def bytes_per_sample(model: WrappedModel, x: Tensor, cond: Mapping[str, Tensor]) -> int:
    """An upper bound for one exact derivative: as if the outputs of all layers were alive at once, four times.

    Beside them the largest attention has its probabilities, which its layer does not return. x, cond: one sample,
    [1, ...] in the model's dtype and on its device; the network runs once.
    """
    seen = [0]

    def count(_: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            seen[0] += output.nbytes

    attention = _Attention()
    leaves = [m for m in model.network.modules() if not any(m.children())]  # type: ignore[attr-defined]
    hooks = [leaf.register_forward_hook(count) for leaf in leaves]
    try:
        label = np.asarray(model.label(np.array([0.5 * model.schedule.t_max])), dtype=np.float64)
        with attention:
            model(x, torch.from_numpy(label).to(x.device, torch.float32), **cond)
    finally:
        for hook in hooks:
            hook.remove()
    return _COPIES * seen[0] + _MATRICES * attention.largest


class _Attention(TorchFunctionMode):
    """Sees how many bytes the probabilities of the largest attention take."""

    largest = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping | None = None
    ) -> Any:
        if func is functional.scaled_dot_product_attention and len(args) > 1:
            query, key = args[:2]
            self.largest = max(self.largest, query[..., 0].numel() * key.shape[-2] * query.element_size())
        return func(*args, **(kwargs or {}))


def fitting_chunk_size(batch_size: int, largest: int, sample: int, budget: int) -> int:
    """The largest divisor of ``batch_size``, up to ``largest``, whose samples of ``sample`` bytes fit ``budget`` bytes.

    1 where not even one sample fits; ``largest`` where it is no divisor, for :class:`DistillOptions` to refuse.
    """
    if largest < 1 or batch_size % largest:
        return largest
    sizes = (size for size in range(largest, 1, -1) if batch_size % size == 0 and size * sample <= budget)
    return next(sizes, 1)
