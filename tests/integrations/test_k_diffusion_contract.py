"""What a user of k-diffusion relies on: dtypes, ranges, callbacks, noise, plans, and that nothing is read back."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers.integrations import denoiser_plans
from genie_samplers.integrations import k_diffusion as K
from genie_samplers.solvers.registry import option_names

from . import textbook
from .denoisers import KARRAS, SHAPE, denoiser, start

SIGMAS = torch.tensor([*KARRAS, 0.0])
FLOW_SIGMAS = torch.tensor([1.0, 0.9, 0.75, 0.5, 0.25, 0.1, 0.0])
OF_PREDICTIONS = [
    name for name, of in gs.SOLVERS.items() if not of.langevin and "derivative_below" not in option_names(of)
]


def single(x: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
    return denoiser(x, sigma)


# --- every registered solver


def reported(name: str, sigmas: Tensor, *, flow: bool) -> list[dict[str, Any]]:
    seen = []
    x = K.sample(name, single, start(float(sigmas[0]), torch.float32), sigmas, None, seen.append, flow=flow)
    assert x.shape == SHAPE and bool(x.isfinite().all())
    return seen


@pytest.mark.parametrize(
    ("sigmas", "flow"), [(SIGMAS, False), (SIGMAS[2:5], False), (FLOW_SIGMAS[1:], True)], ids=["sigma", "part", "flow"]
)
@pytest.mark.parametrize("name", [*OF_PREDICTIONS, *K.METHODS, "auto"])
@pytest.mark.each_value
def test_every_solver_reports_each_step_once(name: str, sigmas: Tensor, flow: bool) -> None:
    seen = reported(name, sigmas, flow=flow)
    assert [each["i"] for each in seen] == list(range(len(sigmas) - 1))
    assert torch.equal(torch.stack([each["sigma"] for each in seen]), sigmas[:-1])


@pytest.mark.parametrize("name", [*K.METHODS, "auto", "ipndm4", "deis_log_ab2", "unipc3"])
def test_a_flow_run_starts_in_pure_noise(name: str) -> None:
    first, *_ = reported(name, FLOW_SIGMAS, flow=True)
    assert float(first["sigma_hat"]) == 1.0


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "edm_heun", "unipc3"])
def test_the_samples_are_those_of_sample(name: str) -> None:
    """The same rows on the same schedule: the same bits."""
    x, sigmas = start(dtype=torch.float32), SIGMAS
    plan = gs.make_plan(
        name, gs.schedules.edm(), times=sigmas.double().numpy(), prediction="x0", options=K_OPTIONS[name]
    )
    assert_same_bits(K.sample(name, single, x, sigmas), gs.sample(single, plan, state=x))


K_OPTIONS = {"ddim": {}, "dpmpp_2m": {"lower_order_final": False}, "edm_heun": {}, "unipc3": {}}


# --- levels


@pytest.mark.parametrize("sigmas", [torch.zeros(0), torch.tensor([3.0])], ids=["none", "one"])
def test_no_step_returns_x(sigmas: Tensor) -> None:
    x = start()
    assert K.sample("euler", single, x, sigmas) is x
    assert K.sample_dpmpp_2m(single, x, sigmas) is x


def test_a_run_in_two_parts_is_one_of_a_method_without_memory() -> None:
    x = start(dtype=torch.float32)
    half = K.sample_heun(single, x, SIGMAS[:4])
    assert_same_bits(K.sample_heun(single, half, SIGMAS[3:]), K.sample_heun(single, x, SIGMAS))


@pytest.mark.parametrize("name", ["euler", "lms", "dpm_2", "dpmpp_2m"])
def test_rising_levels_encode(name: str) -> None:
    levels = [0.05, 0.1, 0.3, 0.7, 2.0, 9.0]
    expected = getattr(textbook, name)(lambda x, s: denoiser(x, torch.tensor([s], dtype=x.dtype)), start(0.05), levels)
    got = K.sample(name, single, start(0.05), levels)
    assert float((got - expected).abs().max()) <= 1e-11 * float(expected.abs().max())


def test_levels_may_be_a_list() -> None:
    assert_same_bits(
        K.sample("lms", single, start(), [2.0, 1.0, 0.0]), K.sample("lms", single, start(), torch.tensor([2.0, 1, 0]))
    )


def test_a_plan_is_built_once() -> None:
    denoiser_plans._plan_on.cache_clear()
    K.sample("lms", single, start(), SIGMAS)
    K.sample("lms", single, start(), SIGMAS.clone())
    assert (denoiser_plans._plan_on.cache_info().hits, denoiser_plans._plan_on.cache_info().misses) == (1, 1)


# --- what the model is given


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_model_is_given_xs_dtype_and_the_result_has_it(dtype: torch.dtype) -> None:
    given = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        given.append((x.dtype, sigma.dtype, sigma.shape))
        return denoiser(x, sigma)

    x = K.sample("dpmpp_2m", model, start(dtype=dtype), SIGMAS)
    assert x.dtype == dtype
    assert set(given) == {(dtype, dtype, torch.Size([3]))}


def test_a_half_precision_state_is_kept_in_float32() -> None:
    x = start(dtype=torch.float16)
    expected = K.sample("lms", lambda x, s: denoiser(x.half(), s.half()), x.float(), SIGMAS)
    assert_same_bits(K.sample("lms", denoiser, x, SIGMAS), expected.half())


def test_extra_arguments_reach_every_call() -> None:
    given = []

    def model(x: Tensor, sigma: Tensor, *, gain: float, seed: int) -> Tensor:
        given.append((gain, seed))
        return denoiser(x, sigma, gain)

    K.sample_heun(model, start(), SIGMAS, extra_args={"gain": 0.5, "seed": 3})
    assert given == [(0.5, 3)] * (2 * 6 + 1)


def test_a_model_may_keep_and_change_what_it_is_given() -> None:
    kept, copies = [], []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        kept.append(x)
        copies.append(x.clone())
        return denoiser(x, sigma)

    def careless(x: Tensor, sigma: Tensor) -> Tensor:
        result = denoiser(x, sigma)
        x.zero_()
        sigma.zero_()
        return result

    x = K.sample("dpmpp_2m", model, start(), SIGMAS)
    assert torch.equal(torch.stack(kept), torch.stack(copies))
    assert_same_bits(K.sample("dpmpp_2m", careless, start(), SIGMAS), x)


def test_x_is_left_alone_and_may_record_gradients() -> None:
    x = start().requires_grad_()
    before = x.detach().clone()
    y = K.sample("euler", single, x, SIGMAS)
    assert torch.equal(x.detach(), before)
    assert not y.requires_grad


def test_it_runs_in_inference_mode_and_on_strided_states() -> None:
    x = start(dtype=torch.float32).transpose(1, 2)
    with torch.inference_mode():
        y = K.sample("dpmpp_2m", single, x, SIGMAS)
    assert_same_bits(y.clone(), K.sample("dpmpp_2m", single, x.contiguous(), SIGMAS))


class _Reads(TorchDispatchMode):
    """How often a number is read from a tensor: on a GPU each waits for the device."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += "_local_scalar_dense" in str(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["euler_ancestral", "heun", "dpmpp_2m"])
def test_no_step_reads_a_number_back(name: str) -> None:
    x, seen = start(dtype=torch.float32), []
    with _Reads() as reads:
        K.sample(name, single, x, SIGMAS, None, seen.append)
    assert len(seen) == 7
    assert reads.count == 0


# --- callbacks


def test_sigma_hat_is_the_level_that_the_model_is_asked_at() -> None:
    seen = []
    K.sample_heun(single, start(), SIGMAS.double(), None, seen.append, s_churn=7 * 0.1, s_tmin=1.0, s_tmax=10.0)
    rates = [float(each["sigma_hat"] / each["sigma"]) for each in seen]
    assert rates == pytest.approx([1.0, 1.1, 1.1, 1.1, 1.0, 1.0, 1.0], rel=1e-12)


def test_what_a_callback_keeps_stays() -> None:
    seen, copies = [], []

    def callback(each: dict[str, Any]) -> None:
        seen.append(each)
        copies.append((each["x"].clone(), each["denoised"].clone()))

    K.sample("dpmpp_2m", single, start(), SIGMAS, None, callback)
    assert [
        torch.equal(each["x"], x) and torch.equal(each["denoised"], d)
        for each, (x, d) in zip(seen, copies, strict=True)
    ] == [True] * 7


def test_an_exception_of_a_callback_ends_the_run() -> None:
    def interrupt(each: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        K.sample("euler", single, start(), SIGMAS, None, interrupt)


def test_the_progress_bar_can_be_had_and_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    K.sample_heun(single, start(), SIGMAS, disable=True)
    assert capsys.readouterr().err == ""
    K.sample_heun(single, start(), SIGMAS)  # no terminal
    assert capsys.readouterr().err == ""
    K.sample_heun(single, start(), SIGMAS, disable=False)
    assert "0/7" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["heun", "lms", "dpm_2", "f_pndm"])
def test_the_progress_bar_counts_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    bar = nullcontext(SimpleNamespace(update=lambda: counted.append(1)))
    monkeypatch.setattr(K, "progress_bar", lambda total, **_: counted.append(total) or bar)
    K.sample(name, single, start(), SIGMAS)
    assert counted == [7, *[1] * 7]


def test_the_bar_counts_no_step_for_churn_before_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    bar = nullcontext(SimpleNamespace(update=lambda: counted.append(1)))
    monkeypatch.setattr(K, "progress_bar", lambda total, **_: bar)
    K.sample_heun(single, start(), SIGMAS, s_churn=3.0)
    assert len(counted) == 7


# --- noise


def test_a_noise_sampler_is_asked_for_each_interval_that_draws() -> None:
    asked = []

    def sampler(sigma: Tensor, sigma_next: Tensor) -> Tensor:
        asked.append((float(sigma), float(sigma_next)))
        return torch.zeros(SHAPE)

    K.sample_dpmpp_2m_sde(single, start(dtype=torch.float32), SIGMAS, noise_sampler=sampler)
    levels = SIGMAS.tolist()
    assert asked == list(itertools.pairwise(levels[:-1]))  # none in the step to 0


def test_torchs_generator_is_left_alone_where_nothing_is_drawn() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    K.sample_heun(single, start(), SIGMAS)
    K.sample_euler_ancestral(single, start(), SIGMAS, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["euler_ancestral", "dpmpp_2m_sde", "ddpm"])
def test_with_a_seed_a_sample_does_not_depend_on_its_batch(name: str) -> None:
    x = start(dtype=torch.float32)
    together = K.sample(name, single, x, SIGMAS, seed=11)
    assert_same_bits(K.sample(name, single, x[:1], SIGMAS, seed=11), together[:1])
    assert not torch.equal(K.sample(name, single, x, SIGMAS, seed=12), together)


def test_a_seed_draws_what_sample_draws() -> None:
    x = start(dtype=torch.float32)
    plan = gs.make_plan("ddpm", gs.schedules.edm(), times=SIGMAS.double().numpy(), prediction="x0")
    assert_same_bits(
        K.sample("ddpm", single, x, SIGMAS, seed=2**64 - 1), gs.sample(single, plan, state=x, seed=2**64 - 1)
    )


def test_s_noise_multiplies_every_draw() -> None:
    x, ones = start(), torch.ones(SHAPE)
    louder = K.sample_euler_ancestral(single, x, SIGMAS, s_noise=0.5, noise_sampler=lambda a, b: ones)
    assert_same_bits(louder, K.sample_euler_ancestral(single, x, SIGMAS, noise_sampler=lambda a, b: 0.5 * ones))


# --- plans


def test_a_plan_runs_on_the_levels_of_its_grid() -> None:
    plan = gs.make_plan("deis_tab2", gs.schedules.edm(), nfe=6, denoise=True)
    x = start(80.0, torch.float32)
    sigmas = K.sigmas_of(plan)
    x0_plan = gs.make_plan("deis_tab2", gs.schedules.edm(), times=plan.recipe.grid, prediction="x0")  # type: ignore[union-attr]
    assert_same_bits(K.sample(plan, single, x, sigmas), gs.sample(single, x0_plan, state=x))


def test_a_plan_starts_later_on_its_last_levels() -> None:
    plan = gs.make_plan("deis_tab2", gs.schedules.edm(), nfe=6, denoise=True, prediction="x0")
    x, sigmas = start(20.0, torch.float32), K.sigmas_of(plan)
    assert_same_bits(K.sample(plan, single, x, sigmas[2:]), gs.sample(single, gs.starting_at(plan, 2), state=x))


@pytest.mark.parametrize("name", ["deis_tab2", "dpmpp_2m", "ddpm", "edm_heun"])
@pytest.mark.parametrize("end", [[], [0.0]], ids=["ends in noise", "to zero"])
def test_a_plan_of_a_networks_table_runs_on_its_state_over_alpha(name: str, end: list[float]) -> None:
    """Tolerance: both sides are float64, and divide by alpha at other places. The times are exact in float32."""
    schedule, times = gs.schedules.vp_linear(), [1.0, 0.75, 0.5, 0.25, 0.125, *end]
    plan = gs.make_plan(name, schedule, times=times)
    z = start(1.0)

    def epsilon_network(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (float(of(float(t[0]))) for of in (schedule.alpha, schedule.sigma))
        return (x - alpha * denoiser(x / alpha, torch.full((len(x),), sigma / alpha, dtype=x.dtype))) / sigma

    model = gs.models.wrap(epsilon_network, schedule, label=lambda t: t)
    expected = gs.sample(model, plan, state=float(schedule.sigma(1.0)) * z, seed=3, dtype=torch.float64)
    x = float(schedule.sigma(1.0)) / float(schedule.alpha(1.0)) * z
    got = float(schedule.alpha(times[-1])) * K.sample(plan, denoiser, x, schedule.gamma(times), seed=3)
    assert float((got - expected).abs().max()) < 1e-11 * float(expected.abs().max())


def test_a_flow_plan_runs_on_a_flow_model() -> None:
    plan = gs.make_plan("flow_ab3", gs.schedules.flow(shift=3.0), nfe=6, prediction="flow")
    x, sigmas = start(1.0, torch.float32), K.sigmas_of(plan)
    assert (float(sigmas[0]), float(sigmas[-1])) == (1.0, 0.0)
    on_its_times = plan.recipe.grid  # type: ignore[union-attr]
    assert_same_bits(
        K.sample(plan, denoiser, x, sigmas, flow=True), K.sample("flow_ab3", denoiser, x, on_its_times, flow=True)
    )
