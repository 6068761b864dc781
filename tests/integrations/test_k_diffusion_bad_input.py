"""Bad input to k_diffusion.sample: each error names the argument, the value and the fix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_samplers.integrations import k_diffusion as K

from .denoisers import SHAPE, denoiser, start

NAN = float("nan")
SIGMAS = [3.0, 2.0, 1.0, 0.0]


def run(solver: Any = "euler", model: Any = denoiser, x: Any = None, sigmas: Any = SIGMAS, **options: Any) -> Tensor:
    return K.sample(solver, model, start(3.0) if x is None else x, sigmas, **options)


@pytest.mark.parametrize(
    ("sigmas", "flow", "message"),
    [
        ([3.0, NAN, 0.0], False, r"sigmas\[1\]=nan; give finite noise levels, 0 or more"),
        ([float("inf"), 1.0], False, r"sigmas\[0\]=inf; give finite noise levels"),
        ([3.0, 1.0, -0.5], False, r"sigmas\[2\]=-0.5; give finite noise levels"),
        ([3.0, 1.0, 1.0, 0.0], False, r"sigmas\[2\]=1.0 after 1.0; give levels that all fall"),
        ([3.0, 1.0, 2.0], False, r"sigmas\[2\]=2.0 after 1.0; give levels that all fall"),
        ([1.0, 1.0], False, r"sigmas\[1\]=1.0 after 1.0; give levels that all fall"),
        ([0.0, 1.0, 3.0], False, r"sigmas\[0\]=0.0: clean data determine no noise to go on with; start above 0"),
        ([[3.0, 1.0]], False, r"sigmas: shape \(1, 2\); give the noise levels in 1-D"),
        ([3.0, 1.0, 0.0], True, r"sigmas\[0\]=3.0 with flow=True; its levels are shares of noise, 0..1"),
    ],
)
def test_wrong_levels_are_named(sigmas: list[float], flow: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(sigmas=torch.tensor(sigmas), flow=flow)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"solver": "dpmp_2m"}, ValueError, r"solver='dpmp_2m'; did you mean dpmpp_2m"),
        ({"solver": 3}, ValueError, "solver=3; choose one of"),
        ({"solver": "genie_ttm2"}, ValueError, "solver: the plan reads .* which a denoiser does not give"),
        ({"solver": "ddim", "etta": 0.5}, ValueError, "ddim has no 'etta'; choose from .*eta"),
        ({"solver": "ddim", "eta": 7.0}, ValueError, "eta=7.0 asks for more noise"),
        ({"solver": "auto", "order": 3}, ValueError, "'auto' chooses them; name a solver"),
        ({"x": torch.zeros(2, 3, dtype=torch.int64)}, TypeError, r"x: torch.int64; give a tensor of floats \[B, ...\]"),
        ({"x": [1.0]}, TypeError, "x: list; give a tensor of floats"),
        ({"x": torch.zeros(3)}, ValueError, r"x: shape \(3,\); need \[b, ...\]"),
        ({"model": None}, TypeError, r"model: NoneType is not callable; give model\(x, sigma"),
        ({"model": lambda x, s: x[:, :1]}, ValueError, "model: .*shape"),
        ({"seed": -1}, ValueError, "seed=-1; need 64 bits"),
        ({"seed": 1, "noise_sampler": denoiser}, ValueError, "seed=1, noise_sampler: both given"),
        ({"noise_sampler": 3}, TypeError, "noise_sampler: int; give a function"),
        ({"s_noise": NAN}, ValueError, "s_noise=nan; give a finite number, 0 or more"),
        ({"solver": "ddpm", "noise_sampler": lambda a, b: torch.zeros(2)}, ValueError, "draws: in row 0.*shape"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        run(**arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: K.sample_euler(denoiser, start(), SIGMAS, s_churn=5.0), "s_churn=5.0: sample_euler is deterministic"),
        (lambda: K.sample_dpm_2(denoiser, start(), SIGMAS, s_churn=5.0), "s_churn=5.0: sample_dpm_2 is deterministic"),
        (lambda: K.sample_dpmpp_2m_sde(denoiser, start(), SIGMAS, solver_type="heun"), "solver_type='heun'; choose"),
        (lambda: K.sample_lms(denoiser, start(), SIGMAS, order=5), "order=5; choose one of 1, 2, 3, 4"),
        (lambda: K.sample_ipndm(denoiser, start(), SIGMAS, max_order=0), "max_order=0; choose one of 1, 2, 3, 4"),
        (lambda: K.sample_unipc(denoiser, start(), SIGMAS, order=4), "order=4; choose one of 1, 2, 3"),
        (lambda: K.sample_heun(denoiser, start(), [0.5, 0.0], s_churn=1.0, flow=True), "flow_heun has no 's_churn'"),
        (lambda: K.sample_dpm_fast(denoiser, start(), 0.0, 3.0, 5), "sigma_min=0.0, sigma_max=3.0; give 0 <"),
        (lambda: K.sample_dpm_fast(denoiser, start(), 0.1, 3.0, 0), "n=0: give 1 or more"),
        (
            lambda: K.sample_dpm_fast(denoiser, start(), 0.1, 3.0, 5, eta=1.0),
            "eta=1.0: sample_dpm_fast is deterministic",
        ),
    ],
)
def test_a_wrong_option_of_a_method_is_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_method_that_is_not_here_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match="sample_dpmpp_sde: no registered solver is this method; the nearest is"):
        K.sample_dpmpp_sde  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'sample_nothing'"):
        K.sample_nothing  # noqa: B018


# --- plans

EDM_PLAN = gs.make_plan("dpmpp_2m", gs.schedules.edm(), nfe=5, prediction="x0")
FLOW_PLAN = gs.make_plan("dpmpp_2m", gs.schedules.flow(), nfe=5, prediction="x0")


@pytest.mark.parametrize(
    ("plan", "flow", "message"),
    [
        (FLOW_PLAN, False, "plan: of schedule 'flow', but the model's path is k-diffusion's; make it with edm"),
        (EDM_PLAN, True, "plan: of schedule 'edm', but the model's path is flow's; make it with a flow schedule"),
        (EDM_PLAN.guided(2.0), False, "plan: is guided, but guidance is the denoiser's own"),
        (EDM_PLAN, False, r"sigmas: 0.5, .., 0 in 2 steps are not the last levels of the plan's grid, 80, .., 0"),
        (gs.make_plan("genie_ttm2", gs.schedules.edm(), nfe=2), False, "solver: the plan reads"),
    ],
)
def test_a_plan_that_does_not_fit_is_named(plan: gs.Plan, flow: bool, message: str) -> None:
    sigmas = K.sigmas_of(plan) if "reads" in message else [0.5, 0.2, 0.0]
    with pytest.raises(ValueError, match=message):
        run(plan, sigmas=sigmas, flow=flow)


def test_a_plan_has_its_own_options() -> None:
    with pytest.raises(ValueError, match="eta: given beside a plan, which has its own options"):
        run(EDM_PLAN, sigmas=K.sigmas_of(EDM_PLAN), eta=0.5)


def test_a_plan_from_infinite_sigma_has_no_levels() -> None:
    betas = gs.schedules.from_betas(gs.schedules.linear_betas(100), zero_terminal_snr=True)
    plan = gs.make_plan("ddim", betas, nfe=4, prediction="v")
    with pytest.raises(ValueError, match=r"plan: its schedule .* is at infinite sigma"):
        K.sigmas_of(plan)
    with pytest.raises(ValueError, match=r"plan: its schedule .* is at infinite sigma"):
        run(plan)


def test_a_plan_without_a_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="plan: has no recipe"):
        run(replace(EDM_PLAN, recipe=None))


def test_every_shape_but_one_without_samples_is_taken() -> None:
    assert run(x=torch.randn(2, 3)).shape == (2, 3)
    assert run(x=torch.randn(1, 2, 3, 4, 5)).shape == (1, 2, 3, 4, 5)
    with pytest.raises(ValueError, match="at least one sample"):
        run(x=torch.zeros(0, *SHAPE[1:]))
