"""The bound on the memory of an exact derivative is one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.models.wrap import WrappedModel

from .unets import CONDITIONS, UNETS

VP = gs.schedules.vp_linear()


class Peak(TorchDispatchMode):
    """The most bytes that were alive at once after an operator."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        storages = [leaf.untyped_storage() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self._alive |= {s._cdata: (StorageWeakRef(s), s.nbytes()) for s in storages}
        self._alive = {at: (ref, size) for at, (ref, size) in self._alive.items() if not ref.expired()}
        self.bytes = max(self.bytes, sum(size for _, size in self._alive.values()))
        return result


class Attending(nn.Module):
    """Its layers return little, its attention computes a large matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(1, 1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        hidden = self.project(x * label[:, None, None, None].to(x))
        return functional.scaled_dot_product_attention(hidden, hidden, hidden)


def attending() -> WrappedModel:
    return gs.models.wrap(Attending().requires_grad_(False), VP, label=VP.log_gamma)


MODELS = {**UNETS, "attention": attending}
INPUTS = {**CONDITIONS, "attention": (torch.ones(1, 1, 256, 1), {})}


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "torch.func.jvp"])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_a_derivative_stays_below_it(name, recorded):
    pytest.importorskip("diffusers")
    model = MODELS[name]()
    x, cond = INPUTS[name][0][:1], {key: value[:1] for key, value in INPUTS[name][1].items()}
    bound = genie.bytes_per_sample(model, x, cond)
    flow = genie.coefficients_at(model, x, 0.5)

    def network(x: Tensor, label: Tensor) -> Tensor:
        return model(x, label, **cond)

    with Peak() as peak:
        at = genie.linearize(network, x, flow.label)
        if not recorded:
            at._tape = None
        genie.differentiate(at, flow)
    assert bound / 20 < peak.bytes <= bound
