"""rk45: scipy's steps exactly, the same samples in any batch, and the contract of sample()."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers.adaptive import driver
from genie_samplers.adaptive.active import _sum_by_halves
from genie_samplers.models.guidance import classifier_free
from genie_samplers.numerics import VARIABLES
from genie_samplers.predictions import PREDICTIONS
from genie_samplers.schedules import Schedule

from ..plans.problems import DISCRETE, EDM, GOLDEN_MIXTURE, VP, X_T, prediction_of
from .conftest import Place
from .exact_times import Network
from .fakes import FakeModel

Array = NDArray[np.float64]

every_variable = pytest.mark.parametrize("variable", VARIABLES)


def batch(count: int = 3) -> Tensor:
    """[count, 5]; the samples need different steps."""
    return torch.from_numpy(np.stack([X_T * (1.0 + 0.7 * i) for i in range(count)]))


# --- the steps


class Scipy:
    """solve_ivp's RK45 on dv/du of mixture data, with the end of every attempt."""

    def __init__(self, variable: str, tol: float, ends: tuple[float, float], x: Array) -> None:
        self.variable, self.calls = variable, []
        u = {"t": lambda t: t, "gamma": VP.gamma, "log_gamma": VP.log_gamma}[variable]
        self.low, self.high = sorted(ends)
        v = x.ravel() / VP.alpha(ends[0])
        self.solution = solve_ivp(self.slope, tuple(float(u(t)) for t in ends), v, rtol=tol, atol=tol)
        self.x = (self.solution.y[:, -1] * VP.alpha(ends[1])).reshape(x.shape)
        self.ends = np.array(self.calls[7::6])  # after two calls, the last of every six
        self.ends[-1] = self.solution.t[-1]  # where the last call was, up to rounding
        self.accepted = np.isin(self.ends, self.solution.t)

    def slope(self, u: float, v: Array) -> Array:
        self.calls.append(u)
        if self.variable == "t":
            t = u
            slope = VP.diffusion_squared(t) / (2.0 * VP.alpha(t) * VP.sigma(t))
        elif self.variable == "gamma":
            t = VP.time_of_gamma(np.minimum(u, VP.gamma(VP.t_max)))
            slope = 1.0
        else:
            t = VP.time_of_half_log_snr(np.maximum(-u, VP.half_log_snr(VP.t_max)))
            slope = np.exp(u)
        t = float(np.clip(t, self.low, self.high))
        return slope * GOLDEN_MIXTURE.epsilon(VP, VP.alpha(t) * v, t)


@every_variable
@pytest.mark.parametrize("tol", [1e-3, 1e-5, 1e-8])
@pytest.mark.parametrize("ends", [(1.0, 1e-3), (1e-3, 1.0)], ids=["sample", "encode"])
@pytest.mark.each_value
def test_one_step_for_the_batch_takes_the_steps_of_scipy(variable: str, tol: float, ends: tuple[float, float]) -> None:
    x = batch(2) if ends[0] == 1.0 else 0.5 * batch(2)
    expected = Scipy(variable, tol, ends, x.numpy())
    result = gs.rk45(
        Network(), VP, state=x, t_start=ends[0], t_end=ends[1], rtol=tol, atol=tol, variable=variable, norm="batch"
    )
    assert result.nfe.tolist() == [expected.solution.nfev] * 2
    assert [bool(a.accepted[0]) for a in result.attempts] == expected.accepted.tolist()
    assert result.accepted.tolist() == [expected.accepted.sum()] * 2
    assert result.rejected.tolist() == [(~expected.accepted).sum()] * 2


@every_variable
def test_the_times_and_states_are_those_of_scipy(variable: str) -> None:
    tol = 1e-5
    expected = Scipy(variable, tol, (1.0, 1e-3), batch(2).numpy())
    result = gs.rk45(Network(), VP, state=batch(2), rtol=tol, atol=tol, variable=variable, norm="batch")
    u = {"t": np.asarray, "gamma": VP.gamma, "log_gamma": VP.log_gamma}[variable]
    reached = u(np.concatenate([a.next_time for a in result.attempts]))
    # an error norm of size 1 in units of tol is known to eps / tol, a step to a fifth of that, per attempt
    relative = len(reached) * 0.2 * 7 * 2.0**-52 / tol
    assert np.abs(reached - expected.ends).max() <= relative * np.abs(np.diff(u(np.array([1.0, 1e-3])))).max()
    assert np.abs(result.x.numpy() - expected.x).max() <= relative * np.abs(expected.x).max()


@every_variable
@pytest.mark.parametrize("norm", ["sample", "batch"])
@pytest.mark.each_value
def test_the_error_is_proportional_to_the_tolerance(variable: str, norm: str) -> None:
    exact = np.stack([GOLDEN_MIXTURE.flow(VP, x, 1.0, 1e-3) for x in batch(2).numpy()])

    def error(tol: float) -> float:
        result = gs.rk45(Network(), VP, state=batch(2), rtol=tol, atol=tol, variable=variable, norm=norm)
        return float(np.abs(result.x.numpy() - exact).max())

    assert 1e2 < error(1e-5) / error(1e-8) < 1e4
    assert error(1e-8) < 1e-7


@pytest.mark.parametrize("schedule", [VP, EDM, DISCRETE], ids=["vp_linear", "edm", "discrete"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_point_mass_is_transported_exactly_in_gamma(schedule: Schedule, prediction: str) -> None:
    data, noise = np.array([0.3, -0.7]), np.array([1.2, -0.4])

    def network(schedule: Schedule, x: Array, t: float) -> Array:
        return prediction_of(prediction, schedule, t, data, noise)

    def state(t: float) -> Array:
        return np.array([schedule.alpha(t) * data + schedule.sigma(t) * noise])

    start, end = schedule.time_of_gamma([2.0, 0.5]).tolist()
    result = gs.rk45(
        Network(network, schedule), schedule, state=torch.from_numpy(state(start)), t_start=start, t_end=end,
        variable="gamma", prediction=prediction, norm="batch",
    )  # fmt: skip
    # epsilon is constant; the roundings of a stage, fewer than 20, grow by at most sum |a| h / gamma = 75
    assert np.abs(result.x.numpy() - state(end)).max() <= 20 * 75 * 2.0**-53 * np.abs(state(start)).max()
    assert result.rejected.tolist() == [0]


@every_variable
def test_every_sample_takes_the_steps_that_it_takes_alone_as_a_batch(variable: str) -> None:
    result = gs.rk45(Network(), VP, state=batch(), variable=variable, norm="sample")
    alone = [gs.rk45(Network(), VP, state=x[None], variable=variable, norm="batch") for x in batch()]
    assert result.nfe.tolist() == [r.nfe[0] for r in alone]
    assert len(set(result.nfe.tolist())) > 1
    assert_same_bits(result.x, torch.cat([r.x for r in alone]))


def test_attempts_tell_the_whole_story() -> None:
    result = gs.rk45(Network(), VP, state=batch(), rtol=1e-4, variable="gamma")
    of_last = [a for a in result.attempts if 2 in a.samples]
    place = [a.samples.tolist().index(2) for a in of_last]
    path = [(a.time[i], a.next_time[i], a.accepted[i], a.error[i]) for a, i in zip(of_last, place, strict=True)]
    assert (path[0][0], path[-1][1], path[-1][2]) == (VP.t_max, VP.t_end, True)
    assert all(after[0] == (here[1] if here[2] else here[0]) for here, after in pairwise(path))
    assert all(accepted == (error < 1.0) for _, _, accepted, error in path)
    assert sum(a[2] for a in path) == result.accepted[2] and len(path) == result.accepted[2] + result.rejected[2]
    assert result.rejected[2] > 0


# --- independent of the batch


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_variable
def test_a_sample_has_the_same_bits_in_any_batch(variable: str, dtype: torch.dtype, quick_place: Place) -> None:
    options: dict[str, Any] = {"variable": variable, "dtype": dtype, "rtol": 1e-4, "denoise": True}
    together = gs.rk45(Network(), VP, shape=(4, 37), seed=3, **options, **quick_place._asdict())
    alone = gs.rk45(Network(), VP, shape=(1, 37), seed=3, sample_ids=[2], backend="reference", **options)
    assert_same_bits(together.x[2:3].cpu(), alone.x)
    assert together.nfe[2] == alone.nfe[0]
    assert together.x.dtype == dtype


@pytest.mark.parametrize("count", [1, 2, 3, 7, 37, 784])
def test_the_norm_adds_by_halves(count: int) -> None:
    values = np.random.default_rng(count).random((3, count))

    def halved(row: Array) -> float:
        if len(row) == 1:
            return row[0]
        half = len(row) // 2
        return halved(np.append(row[:half] + row[half : 2 * half], row[2 * half :]))

    assert _sum_by_halves(torch.from_numpy(values)).tolist() == [halved(row) for row in values]


def test_finished_samples_leave_the_batch() -> None:
    network = Network()
    result = gs.rk45(network, VP, state=batch())
    assert sum(network.batches) == result.nfe.sum()
    assert network.batches == sorted(network.batches, reverse=True)
    assert network.batches[-1] < 3 and len(network.batches) == result.nfe.max()


def test_the_noise_is_that_of_sample() -> None:
    adaptive, fixed = FakeModel(), FakeModel()
    gs.rk45(adaptive, VP, shape=(2, 3), seed=11, sample_ids=[5, 2])
    gs.sample(fixed, gs.make_plan("ddim", VP, 2), shape=(2, 3), seed=11, sample_ids=[5, 2])
    assert_same_bits(adaptive.calls[0].x, fixed.calls[0].x)


# --- the contract of sample()


@pytest.mark.parametrize("norm", ["sample", "batch"])
def test_conditioning_follows_its_sample(norm: str) -> None:
    def network(x: Tensor, t: Tensor, scale: Tensor, nested: dict[str, Tensor], same: Tensor) -> Tensor:
        assert len(scale) == len(nested["scale"]) == len(x) and same.shape == (7,)
        return scale[:, None] * nested["scale"][:, None] * x / (1.0 + x * x)

    a, b = torch.tensor([0.1, 1.0, 0.5]), torch.tensor([0.5, 1.0, 2.0])
    cond, shared = {"scale": a, "nested": {"scale": b}}, {"same": torch.ones(7)}
    together = gs.rk45(network, VP, shape=(3, 4), cond=cond, shared=shared, norm=norm)
    own = {"scale": a[1:2], "nested": {"scale": b[1:2]}}
    alone = gs.rk45(network, VP, shape=(1, 4), cond=own, shared=shared, sample_ids=[1])
    # with norm="batch" the two differ by what the tolerances allow, a wrong scale by more than 0.1
    assert torch.allclose(together.x[1], alone.x[0], rtol=0.0, atol=0.0 if norm == "sample" else 1e-3)


def test_guidance_mixes_the_pair_with_the_scale_of_the_sample() -> None:
    def epsilon(x: Tensor, t: Tensor) -> Tensor:
        return x / (1.0 + x * x)

    pair = FakeModel(lambda x, t, c: (c[:, None] * epsilon(x, t), 0.0 * x), outputs=("epsilon", "uncond.epsilon"))
    start = torch.tensor([[0.1, 0.2], [3.0, -2.0], [1.0, 0.5]])
    shares, scales = torch.tensor([0.5, 0.25, 0.125]), [2.0, 4.0, 8.0]  # exact products
    guided = gs.rk45(pair, VP, state=start, guidance=scales, cond={"c": shares})
    plain = gs.rk45(epsilon, VP, state=start)
    assert_same_bits(guided.x, plain.x)
    assert guided.nfe.tolist() == plain.nfe.tolist()
    assert len(set(plain.nfe.tolist())) > 1


@pytest.mark.parametrize("length", [1, 2])
def test_shared_conditioning_stays_shared_when_so_many_samples_are_left(length: int) -> None:
    seen: list[tuple[int, Tensor, Tensor]] = []

    def network(x: Tensor, t: Tensor, labels: Tensor, table: Tensor, nested: dict[str, Tensor]) -> Tensor:
        seen.append((len(x), table, nested["table"]))
        return x / (1.0 + x * x)

    model = classifier_free(gs.models.wrap(network, VP), null={"labels": 10})
    start, table = torch.tensor([[0.1, 0.2], [3.0, -2.0], [1.0, 0.5]]), torch.ones(length, 7)
    shared = {"table": table, "nested": {"table": table.clone()}}
    gs.rk45(model, VP, state=start, guidance=1.0, cond={"labels": torch.arange(3)}, shared=shared)
    assert {both for both, _, _ in seen} >= {6, 2 * length}
    assert {tuple(v.shape) for _, *values in seen for v in values} == {(length, 7)}


@pytest.mark.parametrize("norm", ["sample", "batch"])
def test_one_guidance_scale_serves_every_sample(norm: str) -> None:
    pair = FakeModel(lambda x, t: (0.25 * x, 0.0 * x), outputs=("epsilon", "uncond.epsilon"))
    guided = gs.rk45(pair, VP, shape=(2, 3), guidance=2.0, norm=norm)
    assert_same_bits(guided.x, gs.rk45(lambda x, t: 0.5 * x, VP, shape=(2, 3), norm=norm).x)


@every_variable
def test_encoding_is_undone_by_sampling(variable: str) -> None:
    images = 0.5 * batch()
    tight: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9, "variable": variable}
    latent = gs.rk45(Network(), VP, state=images, t_start=VP.t_end, t_end=VP.t_max, **tight)
    back = gs.rk45(Network(), VP, state=latent.x, **tight)
    assert latent.times.tolist() == [VP.t_max] * 3 and back.times.tolist() == [VP.t_end] * 3
    assert (latent.x - images).abs().max() > 0.1
    # there and back, some hundred steps, each with an error below 1e-9 (1 + |v|) in an |x| below 1
    assert (back.x - images).abs().max() < 1e-7


def test_denoising_returns_the_data_predicted_at_the_end_for_no_evaluation() -> None:
    plain = gs.rk45(Network(), VP, state=batch(), norm="batch")
    denoised = gs.rk45(Network(), VP, state=batch(), norm="batch", denoise=True)
    alpha, sigma = VP.alpha(VP.t_end), VP.sigma(VP.t_end)
    epsilon = np.stack([GOLDEN_MIXTURE.epsilon(VP, x, VP.t_end) for x in plain.x.numpy()])
    expected = (plain.x.numpy() - sigma * epsilon) / alpha
    assert np.abs(denoised.x.numpy() - expected).max() <= 8 * 2.0**-53 * np.abs(plain.x.numpy() / alpha).max()
    assert denoised.nfe.tolist() == plain.nfe.tolist()
    assert denoised.times.tolist() == [VP.t_zero] * 3


def test_gamma_zero_is_an_end_like_any_other_in_gamma() -> None:
    def network(schedule: Schedule, x: Array, t: float) -> Array:
        return GOLDEN_MIXTURE.epsilon(schedule, x, t)

    tight: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-8, "variable": "gamma"}
    result = gs.rk45(Network(network), VP, state=batch(1), t_end=VP.t_zero, **tight)
    exact = GOLDEN_MIXTURE.flow(VP, batch(1).numpy()[0], VP.t_max, VP.t_zero)
    assert np.abs(result.x.numpy()[0] - exact).max() < 1e-7


def test_a_network_that_writes_into_its_input_is_refused() -> None:
    with pytest.raises(ValueError, match="model: wrote into its input x, t or history in row 0; work on a copy"):
        gs.rk45(lambda x, t: x.mul_(0.5), VP, shape=(2, 3))


def test_a_network_gets_its_own_dtype() -> None:
    model = FakeModel(dtype=torch.bfloat16)
    result = gs.rk45(model, VP, shape=(2, 3), rtol=1e-2, atol=1e-2)
    assert {call.x.dtype for call in model.calls} == {torch.bfloat16}
    assert result.x.dtype == torch.float32


def test_a_layer_that_is_called_label_is_no_map_from_times_to_labels() -> None:
    own = FakeModel(label=torch.nn.Embedding(10, 4))
    plain = gs.rk45(FakeModel(), VP, shape=(2, 3))
    assert_same_bits(gs.rk45(own, VP, shape=(2, 3)).x, plain.x)


def test_the_bar_counts_percents(monkeypatch: pytest.MonkeyPatch) -> None:
    updates: list[None] = []

    def bar(total: int, *, show: bool | None) -> AbstractContextManager[Any]:
        assert (total, show) == (100, True)
        return nullcontext(SimpleNamespace(update=lambda: updates.append(None)))

    monkeypatch.setattr(driver, "progress_bar", bar)
    gs.rk45(FakeModel(), VP, shape=(2, 3), progress=True)
    assert len(updates) == 100
