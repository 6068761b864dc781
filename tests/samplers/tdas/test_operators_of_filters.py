"""Filters and gains as a run is given them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_ext import Noise
from genie_samplers import tdas
from genie_samplers.plan import filtered
from genie_samplers.run import run_rows

RNG = np.random.default_rng(2)
SPEC = tdas.FilterSpec("dct", 0.5 + RNG.random((6, 5)), 0.5 + RNG.random((2, 6, 5)))
GAINS = tdas.NoiseGains("dft", np.stack([np.ones((6, 5)), 2.0 * np.ones((6, 5)), np.zeros((6, 5))]))
VALUE = torch.from_numpy(RNG.standard_normal((3, 2, 6, 5)))


def applied(operator: tdas.FilterOperator, value: torch.Tensor = VALUE, index: int = 0) -> torch.Tensor:
    out = torch.full_like(value, torch.nan)
    assert operator(value, index, out) is None
    return out


def test_a_filter_and_its_adjoint_have_names() -> None:
    found = tdas.operators(SPEC, adjoint=True)
    assert list(found) == ["filter", "filter_adjoint"]
    assert np.abs(applied(found["filter"]).numpy() - SPEC.apply(VALUE.numpy())).max() <= 1e-14
    expected = SPEC.apply(VALUE.numpy(), adjoint=True)
    assert np.abs(applied(found["filter_adjoint"]).numpy() - expected).max() <= 1e-14


def test_a_filter_is_the_same_for_every_index() -> None:
    (operator,) = tdas.operators(SPEC, name="tdas").values()
    assert torch.equal(applied(operator, index=7), applied(operator))


def test_gains_are_a_bank_by_the_number_of_the_draw() -> None:
    (operator,) = tdas.operators(GAINS).values()
    assert applied(operator, index=0).numpy() == pytest.approx(VALUE.numpy(), abs=1e-14)
    assert applied(operator, index=1).numpy() == pytest.approx(2.0 * VALUE.numpy(), abs=1e-14)
    assert float(applied(operator, index=2).abs().max()) == 0.0


def test_a_gain_of_zero_takes_its_frequency_out_and_no_other() -> None:
    """In float64: nothing of the frequency is left but rounding, where 1e-6 of it used to be."""
    bank = np.ones((1, 6, 5))
    bank[0, 2, 3] = 0.0
    (operator,) = tdas.operators(tdas.NoiseGains("dct", bank)).values()
    before, after = (tdas.power_spectrum(x.numpy()) for x in (VALUE, applied(operator)))
    assert after[:, 2, 3].max() <= 1e-28
    left = np.ones((6, 5), dtype=bool)
    left[2, 3] = False
    assert after[:, left] == pytest.approx(before[:, left], rel=1e-12)


# --- further planes


@pytest.mark.parametrize("filters", [SPEC, tdas.FilterSpec("dft", SPEC.frequency), GAINS], ids=["own", "one", "bank"])
@pytest.mark.parametrize("adjoint", [False, True])
def test_each_frame_of_a_video_is_filtered_by_itself(filters: tdas.FilterSpec | tdas.NoiseGains, adjoint: bool) -> None:
    operator = tdas.FilterOperator(filters, adjoint=adjoint)
    video = torch.from_numpy(RNG.standard_normal((3, 2, 4, 6, 5)))
    frames = [applied(operator, frame.contiguous(), index=1) for frame in video.unbind(2)]
    assert torch.equal(applied(operator, video, index=1), torch.stack(frames, dim=2))


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("adjoint", [False, True])
def test_the_filter_on_the_host_knows_videos_too(channels: int, adjoint: bool) -> None:
    """Also of as many frames as channels, which would broadcast."""
    spec = tdas.FilterSpec("dct", 0.5 + RNG.random((channels, 6, 5)), 0.5 + RNG.random((channels, 6, 5)))
    video = RNG.standard_normal((3, channels, 4, 6, 5))
    found = applied(tdas.FilterOperator(spec, adjoint=adjoint), torch.from_numpy(video))
    assert np.abs(found.numpy() - spec.apply(video, adjoint=adjoint)).max() <= 1e-14


def test_a_video_of_other_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"filter is for samples \[..., 2, 6, 5\], the model's are \[3, 4, 2, 6, 5\]"):
        applied(tdas.FilterOperator(SPEC), torch.zeros(3, 4, 2, 6, 5))


def test_samples_of_a_video_network_are_filtered() -> None:
    plan = filtered(gs.make_plan("ddpm", gs.schedules.vp_linear(), 3), "filter")
    ones = tdas.FilterSpec("dct", np.ones((6, 5)))
    shape = (2, 2, 4, 6, 5)

    def made(spec: tdas.FilterSpec) -> torch.Tensor:
        return gs.sample(lambda x, t: 0.5 * x, plan, shape=shape, operators=tdas.operators(spec))

    assert torch.equal(made(ones), gs.sample(lambda x, t: 0.5 * x, plan_of_white(), shape=shape))
    assert not torch.equal(made(SPEC), made(ones))


def plan_of_white() -> gs.Plan:
    return gs.make_plan("ddpm", gs.schedules.vp_linear(), 3)


# --- gradients


@pytest.mark.parametrize("mode", ["tdas", "pds"])
@pytest.mark.parametrize("corrector", ["langevin", "ald"])
def test_gradients_go_through_a_filtered_plan(mode: str, corrector: str) -> None:
    """Of the first state, against differences; of float64, and a network that is not linear."""
    options = {"filter": mode, "corrector": corrector}
    plan = gs.make_plan("predictor_corrector", gs.schedules.ve(sigma_max=2.0), 4, options=options)
    program = gs.Program.of(plan, dtype=torch.float64, operators=tdas.operators(SPEC, adjoint=mode == "pds"))
    noise = Noise(torch.tensor([3]), torch.tensor([0]), 1)

    def end(x: torch.Tensor) -> torch.Tensor:
        state = gs.PlanState(program, x, noise, in_place=False)
        return run_rows(state, lambda call, state: torch.tanh(state.model_input)).x

    x = VALUE[:1].clone().requires_grad_()
    assert torch.autograd.gradcheck(end, (x,), fast_mode=True)
    assert torch.autograd.gradcheck(end, (x,), fast_mode=True, check_forward_ad=True, check_backward_ad=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_operator_serves_both_compute_dtypes(dtype: torch.dtype) -> None:
    (operator,) = tdas.operators(SPEC).values()
    applied(operator, VALUE.float())
    assert applied(operator, VALUE.to(dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: applied(tdas.FilterOperator(SPEC), VALUE[:, :, :5]),
            ValueError,
            r"filter is for samples \[..., 2, 6",
        ),
        (lambda: applied(tdas.FilterOperator(GAINS), VALUE[..., :4]), ValueError, r"gains are for samples \[..., 6, 5"),
        (lambda: tdas.operators(np.ones((6, 5))), TypeError, "filters: ndarray; give a FilterSpec or NoiseGains"),  # type: ignore[arg-type]
    ],
)
def test_bad_input_is_refused_with_the_fix(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
