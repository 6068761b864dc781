"""Samplers with exact derivatives on mixtures in the plane, run as plans from torch's first latents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import Plan
from genie_samplers.solvers import registry

from .isotropic_mixture import THREE, TOY64, IsotropicMixture
from .oracle import execute
from .problems import VP, outputs_of

Array = NDArray[np.float64]
Method = tuple[str, Mapping[str, Any]]  # a registered name and options

__all__ = ["GENIE", "MIXTURES", "Method", "build", "latents", "network_of_mixture", "table"]

MIXTURES = {"three": THREE, "toy64": TOY64}
_IN_X0: dict[str, Any] = {"variable": "log_gamma", "quantity": "x0"}
GENIE: dict[str, Method] = {
    "TTM2": ("genie_ttm2", {}),
    "TTM3": ("genie_ttm3", {}),
    "TTM2 in t": ("genie_ttm2", {"variable": "t"}),
    "TTM2 in log gamma": ("genie_ttm2", {"variable": "log_gamma"}),
    "exponential TTM2 (x0, log gamma)": ("genie_ttm2", _IN_X0),
    "Hermite 3 in gamma": ("genie_hermite3", {"variable": "gamma"}),
    "Hermite 3 in t": ("genie_hermite3", {"variable": "t"}),
    "Hermite 3 in log gamma": ("genie_hermite3", {}),
    "Hermite 3 of x0 in log gamma": ("genie_hermite3", _IN_X0),
    "Hermite 4 in gamma": ("genie_hermite4", {"variable": "gamma"}),
    "Hermite 4 in t": ("genie_hermite4", {"variable": "t"}),
    "Hermite 4 in log gamma": ("genie_hermite4", {}),
    "Hermite 4 of x0 in log gamma": ("genie_hermite4", _IN_X0),
}
"""With exact derivatives, which :func:`build` adds, at every gamma."""


def build(method: Method, times: Array, **options: object) -> Plan:
    name, own = method
    exact = {"derivative": "exact"} if name.startswith("genie") and name != "genie_ttm3" else {}
    return registry.rebuild(name, VP, times, {**gs.SOLVERS[name].options, **exact, **own, **options})


@cache
def latents() -> Array:
    """1024 standard normal points, torch's first in float64."""
    return torch.randn(1024, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).numpy()


def network_of_mixture(plan: Plan, mixture: IsotropicMixture) -> Callable[[int, Array], list[Array]]:
    """The exact network, with the outputs that the row reads."""

    def network(row: int, x: Array) -> list[Array]:
        t, count = plan.times[row], plan.layout[row].outputs
        alpha, gamma = float(VP.alpha(t)), float(VP.gamma(t))
        epsilon, *derivatives = mixture.derivatives(x / alpha, gamma, count)
        scaled = [gamma ** (k + 1) * values for k, values in enumerate(derivatives)]
        x0 = x / alpha - gamma * epsilon
        return outputs_of(plan.outputs[:count], VP, t, x0, epsilon, [*scaled, x0, x0][:2])

    return network


def sampled(
    plan: Plan, mixture: IsotropicMixture, x: Array, replace: Callable[[int, Array], Array] = lambda _, x: x
) -> Array:
    """The last state; ``replace`` as of :func:`execute`."""
    return execute(plan, x, network_of_mixture(plan, mixture), replace=replace)[-1]


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
