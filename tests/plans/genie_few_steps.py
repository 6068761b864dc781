"""GENIE with few exact evaluations: python -m tests.plans.genie_few_steps > docs/genie-few-steps.md"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np

from genie_samplers import grids

from .genie_study import GENIE, MIXTURES, Array, Method, build, latents, sampled, table
from .problems import VP

__all__ = ["METHODS", "NFES", "error"]

NFES = (5, 10, 15, 20, 25)
T_END = 1e-3
_GAMMA: Mapping[str, object] = {"variable": "gamma"}
METHODS: dict[str, Method] = {
    "DDIM": ("ddim", {}),
    "AB2 in gamma": ("deis_rho_ab1", {}),
    "DPM-Solver++(2M)": ("dpmpp_2m", {"lower_order_final": False}),
    **GENIE,
    "TTM2 + AFS": ("genie_ttm2", {"afs": True}),
    "Hermite 3 in gamma + AFS": ("genie_hermite3", {"variable": "gamma", "afs": True}),
    "Hermite 3 in log gamma + AFS": ("genie_hermite3", {"afs": True}),
    "Hermite 4 in log gamma + AFS": ("genie_hermite4", {"afs": True}),
    **{
        f"{name}, derivatives at gamma <= 10": (solver, {**options, "derivative_below": 10.0})
        for name, (solver, options) in GENIE.items()
        if name in ("TTM2", "Hermite 3 in log gamma", "Hermite 4 in log gamma")
    },
}


@cache
def error(mixture: str, method: str, nfe: int, flow_steps: int = 400) -> float:
    """Mean distance to the flow, over the latents."""
    afs = bool(METHODS[method][1].get("afs"))
    times = grids.power_t(VP, nfe + afs, power=2.0, t_end=T_END)
    plan = build(METHODS[method], times)
    reached = sampled(plan, MIXTURES[mixture], float(VP.alpha(1.0)) * _start())
    return float(np.linalg.norm(reached / float(VP.alpha(T_END)) - _flow(mixture, flow_steps), axis=1).mean())


def _start() -> Array:
    """In units of the data."""
    return np.sqrt(1.0 + float(VP.gamma(1.0)) ** 2) * latents()


@cache
def _flow(mixture: str, steps: int) -> Array:
    return MIXTURES[mixture].flow(_start(), float(VP.gamma(1.0)), float(VP.gamma(T_END)), steps)


def _document() -> Iterator[str]:
    yield "# GENIE with few evaluations and exact derivatives\n"
    yield "Written by `python -m tests.plans.genie_few_steps`; `tests/plans/test_genie_tables.py` checks it."
    yield ""
    yield "Mean distance to the probability flow over 1024 latents; `vp_linear` from t = 1 to 0.001, quadratic_t."
    yield "Noise predictions and total derivatives are exact, and used at every gamma unless said otherwise: the tables"
    yield "show what the methods do, not what a network or a distilled head does. AFS: analytic first step, which buys"
    yield "one step more."
    for mixture, title in {
        "toy64": "64 narrow modes (standard deviation 0.01)",
        "three": "3 overlapping modes",
    }.items():
        yield f"\n## {title}\n"
        rows = [[name, *(f"{error(mixture, name, nfe):.2g}" for nfe in NFES)] for name in METHODS]
        yield from table(["method", *(f"{nfe}" for nfe in NFES)], rows)


if __name__ == "__main__":
    print("\n".join(_document()))
