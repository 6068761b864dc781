"""Models and plans for tests of the engine."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_ext
import genie_samplers as gs
from genie_samplers import Plan
from genie_samplers.plan import Combination, Conversion, Init, Row
from genie_samplers.solvers.registry import UnreachableNFE

from .conftest import Place

__all__ = [
    "KINDS",
    "SCHEDULE",
    "SHAPE",
    "SOLVERS_AND_VARIANTS",
    "TABLES",
    "VARIANTS",
    "Call",
    "FakeModel",
    "euler",
    "every_solver_and_variant",
    "every_variant",
    "gaussian_model",
    "normals",
    "plan_of",
    "run",
    "same_label",
    "small_plan",
    "solver_plan",
    "thinned",
    "with_derivatives_of_a_point",
]

SCHEDULE = gs.schedules.vp_linear()


class Call(NamedTuple):
    x: Tensor
    t: Tensor
    cond: dict[str, Any]


def halve(x: Tensor, t: Tensor, **cond: object) -> Tensor:
    return 0.5 * x


class FakeModel:
    """Remembers its calls; ``attributes`` are what the engine looks for (dtype, label, ...)."""

    def __init__(self, function: Callable[..., Any] = halve, **attributes: Any) -> None:
        self.function = function
        self.calls: list[Call] = []
        vars(self).update(attributes)

    def __call__(self, x: Tensor, t: Tensor, **cond: Any) -> Any:
        self.calls.append(Call(x.clone(), t.clone(), cond))
        return self.function(x, t, **cond)


def solver_plan(name: str, nfe: int = 5, *, prediction: str = "epsilon", **options: object) -> Plan:
    return _made(name, nfe, prediction=prediction, options=options)


def small_plan(name: str, *, prediction: str = "epsilon", **options: object) -> Plan:
    """5 evaluations, 4 or 7; with a step to gamma = 0 every solver can make one of the three."""
    nfe = next(nfe for nfe in (5, 4, 7) if _makes(name, nfe))
    return _made(name, nfe, denoise=True, prediction=prediction, options=options)


def _made(name: str, nfe: int, **arguments: Any) -> Plan:
    """Also of a solver that makes no samples with so few evaluations: what is tested here is how plans run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.UnfitWarning)
        return gs.make_plan(name, SCHEDULE, nfe, **arguments)


def _makes(name: str, nfe: int) -> bool:
    try:
        _made(name, nfe, denoise=True)
    except UnreachableNFE:
        return False
    return True


def _parametrized(plans: dict[str, Plan]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("plan", plans.values(), ids=plans.keys())


KINDS = ("ddim", "deis_tab1", "deis_tab2", "deis_rho_rk4", "dpmpp_2m", "edm_heun", "unipc3")
VARIANTS = {
    **{name: small_plan(name) for name in KINDS},
    "edm_heun-churn": small_plan("edm_heun", s_churn=2.0),
    "ddim-eta": small_plan("ddim", eta=1.0),
    "dpmpp_2m_sde": small_plan("dpmpp_2m_sde"),
}
"""Plans with every kind of row: memory, stages, noise, both quantities."""

every_variant = _parametrized(VARIANTS)
TABLES = [name for name, solver in gs.SOLVERS.items() if not solver.langevin]
SOLVERS_AND_VARIANTS = {**VARIANTS, **{name: small_plan(name) for name in sorted(TABLES) if name not in VARIANTS}}
every_solver_and_variant = _parametrized(SOLVERS_AND_VARIANTS)


def gaussian_model(plan: Plan, scale: float = 0.5) -> FakeModel:
    """The exact outputs of data N(0, scale^2): each c(t) * x, one multiplication whatever the batch."""
    times = torch.from_numpy(np.array(SCHEDULE.label(plan.times))).to(torch.float32)
    factors = _gaussian_factors(np.array(plan.times), scale)
    rows = zip(*(factors[name].tolist() for name in plan.outputs), strict=True)
    row = dict(zip(times.tolist(), rows, strict=True))
    if len(plan.outputs) == 1:
        return FakeModel(lambda x, t: row[t[0].item()][0] * x)
    return FakeModel(lambda x, t: tuple(factor * x for factor in row[t[0].item()]))


def _gaussian_factors(times: np.ndarray, scale: float) -> dict[str, np.ndarray]:
    """By name, what multiplies x; the derivatives by gamma are scaled by gamma and gamma^2."""
    alpha, sigma, gamma = SCHEDULE.alpha(times), SCHEDULE.sigma(times), SCHEDULE.gamma(times)
    variance, total = (alpha * scale) ** 2 + sigma**2, scale**2 + gamma**2
    first = gamma * scale**2 / (alpha * total**2)
    return {
        "epsilon": sigma / variance,
        "x0": alpha * scale**2 / variance,
        "gamma_d_epsilon": first,
        "gamma2_d2_epsilon": -3.0 * gamma**3 * scale**2 / (alpha * total**3),
        **dict.fromkeys(("k2", "k3"), first),
        "k1": 0.0 * first,
    }


def with_derivatives_of_a_point(plan: Plan, output: Tensor) -> Tensor | tuple[Tensor, ...]:
    """The plan's outputs from its first, for data of one point: epsilon is constant along the flow."""
    further = tuple(torch.zeros_like(output) for _ in plan.outputs[1:])
    return (output, *further) if further else output


def plan_of(*steps: Row, outputs: Sequence[str] = ("epsilon",), scale: float = 1.0) -> Plan:
    """A plan by hand; its model needs a ``label``."""
    return Plan(Init(scale), tuple(outputs), "epsilon", steps)


def euler(time: float, **fields: Any) -> Row:
    """x' = x - out / 2."""
    return Row(time, Combination(1.0, y=(-0.5,)), converted=(Conversion(0.0, (1.0,)),), **fields)


def same_label(t: np.ndarray) -> np.ndarray:
    """The label of models for plans that have no schedule."""
    return t


def normals(sample_ids: list[int], shape: tuple[int, ...], *, draw: int, stream: int, seed: int = 0) -> Tensor:
    """Reference noise, [len(sample_ids), *shape]."""
    noise = genie_ext.Noise(torch.tensor([seed]), torch.tensor(sample_ids), stream)
    return genie_ext.normal_fill(torch.empty(len(sample_ids), *shape), noise=noise, draw=draw, backend="reference")


SHAPE = (2, 3, 5)  # 30 elements: not a multiple of the four that share a counter


def run(plan: Plan, count: int, place: Place | None = None, **options: Any) -> Tensor:
    """``count`` samples of Gaussian data, on the reference unless told otherwise."""
    where = {"backend": "reference"} if place is None else place._asdict()
    model = gaussian_model(plan)
    return gs.sample(model, plan, shape=(count, *SHAPE), seed=7, **where, **options).cpu()


def thinned(keep: Callable[..., bool], **axes: Mapping[str, Any]) -> pytest.MarkDecorator:
    """Every combination of the axes, id -> value; where ``keep`` of their indices is false it is marked ``product``."""
    cases = []
    for indexed in itertools.product(*(enumerate(axis.items()) for axis in axes.values())):
        indices, named = zip(*indexed, strict=True)
        ids, values = zip(*named, strict=True)
        marks = () if keep(*indices) else pytest.mark.product
        cases.append(pytest.param(*values, id="-".join(ids), marks=marks))
    return pytest.mark.parametrize(tuple(axes), cases)
