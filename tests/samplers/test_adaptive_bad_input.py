"""What rk45() refuses, and how it ends a run that cannot go on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_samplers.schedules import Schedule

from .exact_times import Network
from .fakes import SCHEDULE, FakeModel


def run(model: Any = None, schedule: Any = SCHEDULE, **options: Any) -> gs.AdaptiveResult:
    options.setdefault("shape", None if "state" in options else (3, 4))
    return gs.rk45(FakeModel() if model is None else model, schedule, **options)


BAD_VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "zero atol": ({"atol": 0.0}, "rtol=1e-05, atol=0.0: give rtol >= 0 and atol > 0, both finite"),
    "negative rtol": ({"rtol": -1.0}, "rtol=-1.0, atol=1e-05: give"),
    "NaN rtol": ({"rtol": float("nan")}, "rtol=nan, atol=1e-05: give"),
    "infinite atol": ({"atol": float("inf")}, "rtol=1e-05, atol=inf: give"),
    "variable": ({"variable": "sigma"}, "variable='sigma': choose one of ('t', 'gamma', 'log_gamma', 'noise_share')"),
    "norm": ({"norm": "max"}, "norm='max': choose one of ('sample', 'batch')"),
    "few evaluations": ({"max_evaluations": 7}, "max_evaluations=7: give 8 or more"),
    "t_zero in log gamma": (
        {"t_end": 0.0, "variable": "log_gamma"},
        "t_end=0.0 is t_zero, where log gamma is not finite: use 0.001, when sampling with denoise=True",
    ),
    "t_zero in t": ({"t_end": 0.0, "variable": "t"}, "t_end=0.0 is t_zero, where dgamma/dt is not finite: use 0.001"),
    "label at t_zero": (
        {"model": FakeModel(label=SCHEDULE.log_gamma), "t_end": 0.0, "variable": "gamma"},
        "calls the network at time 0.0, where its label is -inf",
    ),
    "x0 at t_zero": ({"t_end": 0.0, "variable": "gamma", "prediction": "x0"}, "t=0.0: sigma = 0, so an x0 prediction"),
    "outside": ({"t_start": 1.5}, "t_start=1.5 is outside [0.0, 1.0]: choose a time of vp_linear"),
    "NaN time": ({"t_end": float("nan")}, "t_end=nan is outside [0.0, 1.0]"),
    "no way": ({"t_start": 0.5, "t_end": 0.5}, "t_start=0.5, t_end=0.5: equal in log_gamma; move them apart"),
    "denoising an encoding": (
        {"state": torch.ones(2, 3), "t_start": 0.1, "t_end": 0.5, "denoise": True},
        "denoise=True from t=0.1 to t=0.5: it ends sampling (t_start > t_end) that stops above t_zero",
    ),
    "encoding nothing": ({"t_start": 0.1, "t_end": 0.5}, "state: missing; this plan encodes"),
    "prediction": ({"prediction": "noise"}, "prediction='noise'; choose one of"),
    "no shape": ({"shape": None}, "shape: missing; pass shape=(B, ...), or state= to start from"),
    "start with NaN": ({"state": torch.tensor([[1.0], [torch.nan]])}, "state: holds inf or NaN for sample ids [1]"),
    "another schedule": (
        {"model": gs.models.wrap(FakeModel(), gs.schedules.vp_linear(0.1, 10.0))},
        "but the model was wrapped for VPLinear(beta_min=0.1, beta_max=10.0)",
    ),
    "guided model alone": ({"model": FakeModel(outputs=("epsilon", "uncond.epsilon"))}, "but the model returns"),
    "output of another shape": ({"model": lambda x, t: x[:, :2]}, "has shape (3, 2); the state has (3, 4)"),
    "backend": ({"backend": "opencl"}, "backend='opencl'; choose auto"),
}


@pytest.mark.parametrize(("options", "message"), BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_a_bad_value_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        run(**options)


BAD_TYPES: dict[str, tuple[dict[str, Any], str]] = {
    "half state": ({"dtype": torch.float16}, "dtype=torch.float16: too coarse for an error estimate; choose torch.fl"),
    "text for rtol": ({"rtol": "1e-3"}, "rtol='1e-3': give a real number"),
    "number for denoise": ({"denoise": 1}, "denoise=1: give True or False"),
    "fractional evaluations": ({"max_evaluations": 1e4}, "max_evaluations=10000.0: give an integer"),
    "name for a schedule": ({"schedule": "vp"}, "schedule='vp': give a Schedule"),
    "text for t_end": ({"t_end": "0"}, "t_end='0': give a real number"),
}


@pytest.mark.parametrize(("options", "message"), BAD_TYPES.values(), ids=BAD_TYPES.keys())
def test_a_bad_type_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        run(**options)


# --- runs that cannot go on


def test_spent_evaluations_end_the_run_with_the_state_of_affairs() -> None:
    message = (
        r"max_evaluations=30: spent for sample ids \[7, 8, 9\], the first of them at t=0\.\d+ after 4 accepted and 0 "
        r"rejected steps; raise it, or loosen rtol and atol"
    )
    with pytest.raises(ValueError, match=message):
        run(max_evaluations=30, sample_ids=[7, 8, 9])


@pytest.mark.parametrize("norm", ["sample", "batch"])
def test_a_network_without_a_derivative_ends_in_an_underflow(norm: str) -> None:
    def singular(schedule: Schedule, x: np.ndarray, t: float) -> np.ndarray:
        return np.where(x > 0.0, -1.0 / (schedule.gamma(t) - 2.0) ** 2, 0.0)

    message = r"rtol=1e-05, atol=1e-05: the step fell below the spacing of float64 for sample ids \[.*\], the first of "
    with pytest.raises(ValueError, match=message) as error:
        run(Network(singular), state=torch.tensor([[1.0], [-1.0]]).double(), variable="gamma", norm=norm)
    assert ("[0]" if norm == "sample" else "[0, 1]") in str(error.value)


def exploding(after: int, *, value: float = float("nan")) -> Callable[[Tensor, Tensor], Tensor]:
    """Sample 1 of 3 goes wrong from call ``after`` on."""
    calls: list[int] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        calls.append(len(calls))
        wrong = torch.tensor([[1.0], [value], [1.0]]) if len(calls) > after else torch.ones(3, 1)
        return 0.5 * x * wrong

    return network


@pytest.mark.parametrize("after", [0, 1, 2, 7, 9])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_state_that_is_not_finite_names_its_sample(after: int, value: float) -> None:
    message = (
        r"model: the state or its error estimate became inf or NaN for sample ids \[5\], the first of them at "
        r"t=(1\.0|0\.\d+) after \d accepted and 0 rejected steps; check the network's output"
    )
    with pytest.raises(ValueError, match=message):
        run(exploding(after, value=value), sample_ids=[4, 5, 6])
