"""How much memory a graph through the network takes, and how a step of a calibration fits into a budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from ..models import Model

__all__ = ["Fit", "fit", "frozen", "graph_bytes"]


class Fit(NamedTuple):
    """chunk_size: latents at once; recompute: whether the activations of every call are computed again."""

    chunk_size: int
    recompute: bool


@contextmanager
def frozen(network: object) -> Iterator[None]:
    """Inside, the network's parameters ask for no gradients."""
    asking = [p for p in network.parameters() if p.requires_grad] if isinstance(network, nn.Module) else []
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)


def graph_bytes(model: Model, x: Tensor, label: Tensor, cond: Mapping[str, object]) -> int:
    """What autograd keeps of one call: bytes of the distinct memory it saves, the weights left out. x: [1, ...]."""
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        made = model(x.detach().requires_grad_(), label, **cond)  # kept until counted: memory is not used twice
    if isinstance(model.network, nn.Module):
        for parameter in model.network.parameters():
            seen.pop(parameter.untyped_storage().data_ptr(), None)
    del made
    return sum(seen.values())


def fit(batch_size: int, calls: int, per_call: int, budget: int) -> Fit:
    """The whole batch with all its graphs where they fit the budget; else recomputed call by call, in equal parts.

    per_call: bytes of one sample's graph of one call. Not less than one sample at once.
    """
    if batch_size * calls * per_call <= budget:
        return Fit(batch_size, recompute=False)
    parts = next((n for n in range(1, batch_size) if -(-batch_size // n) * per_call <= budget), batch_size)
    return Fit(-(-batch_size // parts), recompute=True)
