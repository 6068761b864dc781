"""Arguments of ``sample``, checked and brought to the device before the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genie_ext._autograd import wants_gradients

from ._arguments import integer
from .plan import Plan

__all__ = [
    "Chunk",
    "Inputs",
    "gather_inputs",
    "map_tensors",
    "own_label",
    "signed_seed",
]

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Chunk:
    """The samples of one pass through the plan, the last ones repeated up to the batch size."""

    sample_ids: Tensor  # int64 [b]
    cond: Mapping[str, object]


@dataclass(frozen=True)
class Inputs:
    shape: tuple[int, ...]  # [B, ...] of all samples
    batch_size: int
    device: torch.device
    dtype: torch.dtype
    model_dtype: torch.dtype
    all_ids: tuple[int, ...]
    ids: Tensor  # int64 [B]
    seed: Tensor  # int64 [1]
    labels: Tensor  # float32 [rows, batch_size], or [rows, batch_size, m]
    cond: Mapping[str, object]
    x_init: Tensor | None

    @property
    def count(self) -> int:
        return self.shape[0]

    def is_per_sample(self, value: Tensor) -> bool:
        """Whether an entry of ``cond`` is sliced with the samples; its slices tell that no more."""
        return len(value) == self.count

    def select(self, start: int) -> Chunk:
        cond = map_tensors(self.cond, lambda v: self.take(v, start) if self.is_per_sample(v) else v)
        return Chunk(self.take(self.ids, start), cond)

    def starting_states(self, start: int) -> Tensor | None:
        return None if self.x_init is None else self.take(self.x_init, start)

    def take(self, tensor: Any, start: int, dim: int = 0) -> Tensor:
        """Samples ``start``, ``start + 1``, ... along ``dim``: a view, or a copy where the last one is repeated."""
        if start + self.batch_size <= self.count:
            return tensor.narrow(dim, start, self.batch_size)
        positions = torch.arange(start, start + self.batch_size, device=self.device)
        # unlike tensor[positions], this does not start every thread for a few elements
        return tensor.index_select(dim, positions.clamp(max=self.count - 1))


def gather_inputs(
    model: Any,
    plan: Plan,
    *,
    shape: Sequence[int] | None,
    seed: int,
    cond: Mapping[str, object] | None,
    x_init: Tensor | None,
    sample_ids: Sequence[int] | None,
    batch_size: int | None,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> Inputs:
    """Check the arguments of :func:`genie_samplers.sample` and upload what the loop reads."""
    _refuse_tangents(x_init, cond)
    state = _resolve_dtype(dtype, x_init)
    full_shape = _resolve_shape(plan, shape, x_init)
    where = _resolve_device(model, x_init, device)
    ids = _resolve_ids(sample_ids, full_shape[0])
    size = _resolve_batch_size(batch_size, full_shape[0])
    _check_guidance(plan, full_shape[0])
    labels = torch.from_numpy(_labels(model, plan)).to(torch.float32)
    return Inputs(
        shape=full_shape,
        batch_size=size,
        device=where,
        dtype=state,
        model_dtype=getattr(model, "dtype", None) or state,
        all_ids=ids,
        ids=torch.tensor(ids, dtype=torch.int64).to(where),
        seed=torch.tensor([signed_seed(seed)], dtype=torch.int64).to(where),
        labels=labels[:, None].expand(-1, size, *labels.shape[1:]).contiguous().to(where),
        cond=_resolve_cond(cond, full_shape[0], size, where),
        x_init=None if x_init is None else x_init.to(where),
    )


def _refuse_tangents(x_init: Tensor | None, cond: Mapping[str, object] | None) -> None:
    """The loop writes its states into buffers, where the native backends would lose a tangent without a word."""

    def refuse(value: Tensor) -> Tensor:
        if wants_gradients(value):
            raise ValueError(
                "x_init or cond: carries a tangent or is inside a torch.func transform, but sampling does not "
                "differentiate; pass forward_ad.unpack_dual(x).primal, or write a loop of genie_ext.fused_step with "
                "backend='reference'"
            )
        return value

    map_tensors({"x_init": x_init, "cond": cond}, refuse)


def _resolve_shape(plan: Plan, shape: Sequence[int] | None, x_init: Tensor | None) -> tuple[int, ...]:
    if x_init is None and plan.rising:
        raise ValueError("x_init: missing; this plan encodes (its times rise), so pass the images to start from")
    if x_init is not None:
        if not isinstance(x_init, Tensor):
            raise TypeError(f"x_init: {type(x_init).__name__}; need a float tensor [B, ...]")
        if shape is not None and tuple(shape) != tuple(x_init.shape):
            raise ValueError(f"shape={tuple(shape)}, but x_init has {tuple(x_init.shape)}; pass one of them")
        if x_init.dtype not in _FLOATS:
            raise TypeError(f"x_init: dtype {x_init.dtype}; need a float tensor")
        shape = x_init.shape
    if shape is None:
        raise ValueError("shape: missing; pass shape=(B, ...) or x_init")
    if not isinstance(shape, Sequence):
        raise TypeError(f"shape={shape!r}; need (B, ...)")
    sizes = tuple(integer(n, "shape") for n in shape)
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"shape={sizes}; need (B, ...) with B >= 1 and every size a positive integer")
    return sizes


def _resolve_dtype(dtype: torch.dtype | None, x_init: Tensor | None) -> torch.dtype:
    if dtype is None:  # as precise as the start
        double = isinstance(x_init, Tensor) and x_init.dtype == torch.float64
        return torch.float64 if double else torch.float32
    if dtype not in _FLOATS:
        raise TypeError(f"dtype={dtype}; choose {', '.join(str(d) for d in _FLOATS)}")
    return dtype


def _resolve_device(model: Any, x_init: Tensor | None, device: torch.device | str | None) -> torch.device:
    default = "cpu" if x_init is None else x_init.device
    wanted = device or getattr(model, "device", None) or default
    try:
        chosen = torch.device(wanted)
    except RuntimeError as error:
        raise ValueError(f"device={wanted!r}: {error}; use 'cpu', 'cuda' or 'cuda:0'") from error
    if chosen.type == "meta":
        raise ValueError(f"device={wanted!r}: meta tensors hold no values; use 'cpu' or 'cuda'")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={wanted!r}: torch sees no CUDA GPU; use device='cpu'")
    if chosen.type == "cuda" and chosen.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return chosen


def _resolve_ids(sample_ids: Sequence[int] | None, count: int) -> tuple[int, ...]:
    if sample_ids is None:
        return tuple(range(count))
    if not isinstance(sample_ids, Iterable):
        raise TypeError(f"sample_ids: {sample_ids!r}; need {count} integers in 0..2^32-1")
    ids = tuple(integer(i, "sample_ids") for i in sample_ids)
    if len(ids) != count:
        raise ValueError(f"sample_ids: {len(ids)} ids for {count} samples; give one per sample")
    if min(ids) < 0 or max(ids) >= 2**32:
        raise ValueError(f"sample_ids: {min(ids)}..{max(ids)}; need integers in 0..2^32-1")
    return ids


def _resolve_cond(cond: Mapping[str, object] | None, count: int, batch_size: int, device: torch.device) -> Any:
    if cond is None:
        return {}
    if not isinstance(cond, Mapping) or not all(isinstance(name, str) for name in cond):
        raise TypeError(f"cond: {type(cond).__name__}; need a mapping from argument names to values")
    taken = {"x", "t"} & set(cond)
    if taken:
        raise ValueError(f"cond: {sorted(taken)} are the model's own arguments; use other names")

    def to_device(value: Tensor) -> Tensor:
        if len(value) == batch_size != count:
            raise ValueError(
                f"cond: a tensor of shape {tuple(value.shape)} for {count} samples in batches of {batch_size}; give "
                "one entry per sample of the whole run, it is sliced for you"
            )
        return value.to(device)

    return map_tensors(cond, to_device)


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``change`` applied to every tensor with a first dimension, also in nested mappings."""
    if isinstance(value, Mapping):
        return {name: map_tensors(item, change) for name, item in value.items()}
    return change(value) if isinstance(value, Tensor) and value.ndim > 0 else value


def _resolve_batch_size(batch_size: int | None, count: int) -> int:
    if batch_size is None:
        return count
    return integer(batch_size, "batch_size", least=1)


def _check_guidance(plan: Plan, count: int) -> None:
    if plan.guidance is not None and len(plan.guidance) not in (1, count):
        raise ValueError(f"plan: {len(plan.guidance)} guidance scales for {count} samples; give one, or one per sample")


def signed_seed(seed: int) -> int:
    """The 64 bits of a seed as int64."""
    bits = integer(seed, "seed")
    if not 0 <= bits < 2**64:
        raise ValueError(f"seed={seed}; need 64 bits, 0..2^64-1")
    return bits - 2**64 if bits >= 2**63 else bits


def own_label(model: Any, plan: Plan) -> Callable[..., Any]:
    """The model's map from times to labels, or the schedule's; a layer that is called "label" is no such map."""
    label = getattr(model, "label", None)
    return label if callable(label) and not isinstance(label, nn.Module) else plan.schedule.label


def _labels(model: Any, plan: Plan) -> np.ndarray:
    """[rows, ...]: one label per row, or one vector [m]; of the times alone, or of the plan where the model asks so."""
    rows = getattr(model, "rows", None)
    of_plan = callable(rows) and not isinstance(rows, nn.Module)
    told = model.rows(plan) if of_plan else own_label(model, plan)(np.asarray(plan.times))
    labels = np.asarray(told, dtype=np.float64)
    if labels.ndim not in (1, 2) or len(labels) != len(plan.times):
        need = "need one label per row, [rows] or [rows, m]"
        raise ValueError(
            f"model.{'rows' if of_plan else 'label'}: gave shape {labels.shape} for {len(plan.times)} rows; {need}"
        )
    for row, (step, value) in enumerate(zip(plan.instructions, labels, strict=True)):
        if step.calls and not np.isfinite(value).all():
            raise ValueError(
                f"plan: row {row} calls the network at time {step.time}, where its label is {value}; start or end the "
                "grid at the schedule's t_end instead of t_zero"
            )
    return np.where(np.isfinite(labels), labels, 0.0)
