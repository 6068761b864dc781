"""Langevin samplers through the engine on Gaussian data: with a linear score each run is an affine map, whose law is
compared with the recursion, and without one number drawn.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import genie_samplers as gs
from genie_samplers import Plan, PlanState, Program
from genie_samplers.plan import Gain, Row
from genie_samplers.run import run_rows
from genie_samplers.solvers.annealed_langevin import level_transfer
from genie_samplers.tdas.transforms import matrix

from ..plans.langevin_recursion import SNR, geometric, pds_mask, radial, spectrum, variances

Array = NDArray[np.float64]

VE = gs.schedules.ve()
ONE = np.ones(1024)
R, M = radial(0.948, 0.895).ravel(), pds_mask().ravel()
V = spectrum().ravel()
ROUNDINGS = 1e-11  # 100 steps of some ten roundings each, and levels between 50 and 0.01


class Affine:
    """The linear network of Gaussian data in its own modes: epsilon = sigma x / (v + sigma^2)."""

    def __init__(self, v: Array, schedule: gs.schedules.Schedule = VE) -> None:
        self.v, self.schedule = torch.from_numpy(v), schedule

    def __call__(self, x: Tensor, time: float) -> Tensor:
        sigma = float(self.schedule.sigma(time))
        return sigma * x / (self.v + sigma**2)


def multiplying(factors: Array) -> Any:
    """A filter in its own modes."""
    factor = torch.from_numpy(factors)

    def operator(value: Tensor, index: int, out: Tensor) -> None:
        torch.mul(value, factor, out=out)

    return operator


def coefficients(plan: Plan, network: Any, modes: int, **named: Any) -> Array:
    """[1 + draws, modes]: of the first noise and of every draw, in the last state; one impulse per sample."""
    draws = sum(len(row.draws) for row in plan.rows)
    program = Program.of(plan, dtype=torch.float64, **named)
    impulses = torch.eye(1 + draws, dtype=torch.float64)[:, :, None].expand(-1, -1, modes)
    state = PlanState(program, start(program, impulses[:, 0]))

    def draw(call: Any) -> Sequence[Tensor]:
        return [impulses[:, 1 + d].contiguous() for d in plan.rows[call.row].draws]

    return run_rows(state, lambda call, state: network(state.model_input, call.time), draw=draw).x.numpy()


def start(program: Program, z: Tensor) -> Tensor:
    """scale * M z; the start of a state that is given is the caller's."""
    init, noise = program.plan.init, z.contiguous()
    if init.operator is not None:
        out = torch.empty_like(noise)
        program.operators[init.operator](noise, 0, out)
        noise = out
    return init.scale * noise


def law(plan: Plan, v: Array, **named: Any) -> Array:
    """The variance of each mode in the last state."""
    return np.square(coefficients(plan, Affine(v), len(v), **named)).sum(axis=0)


def pc(count: int, **options: Any) -> Plan:
    times = VE.time_of_gamma(geometric(count))
    return gs.solvers.predictor_corrector(VE, times, snr=SNR, **options)


def filters(mode: str | None, factors: Array) -> dict[str, Any]:
    operator = multiplying(factors)
    return {"operators": {None: {}, "tdas": {"filter": operator}}.get(
        mode, {"filter": operator, "filter_adjoint": operator})}  # fmt: skip


CASES: dict[str, tuple[str | None, Array, Array]] = {
    "vanilla": (None, ONE, ONE), "tdas": ("tdas", R, ONE), "pds": ("pds", M, M**2), "scalar": ("tdas", 0.95 * ONE, ONE)
}  # fmt: skip
every_case = pytest.mark.parametrize(("mode", "noise", "score"), CASES.values(), ids=CASES)


@every_case
def test_predictor_corrector_with_fixed_steps_has_the_law_of_the_recursion(
    mode: str | None, noise: Array, score: Array
) -> None:
    plan = pc(30, corrector="ald", filter=mode)
    expected = variances(geometric(30), V, noise, score, ald=True).last
    np.testing.assert_allclose(law(plan, V, **filters(mode, noise)), expected, rtol=ROUNDINGS)


@every_case
def test_predictor_corrector_with_expected_norms_has_the_law_of_the_recursion(
    mode: str | None, noise: Array, score: Array
) -> None:
    """The published table: N = 100 levels, the signal-to-noise step from expected norms in place of the sample's."""
    exact = variances(geometric(100), V, noise, score)
    plan = with_reduction(pc(100, filter=mode), "expected")
    steps = itertools.count()

    def expected(sources: Sequence[Tensor], parameters: Sequence[float]) -> Tensor:
        step = exact.steps[next(steps)]
        numbers = torch.tensor([[-step / parameters[2], (2.0 * step) ** 0.5]], dtype=torch.float64)
        return numbers.expand(len(sources[0]), -1)

    found = law(plan, V, gains={"expected": expected}, **filters(mode, noise))
    np.testing.assert_allclose(found, exact.last, rtol=ROUNDINGS)


def with_reduction(plan: Plan, name: str) -> Plan:
    def renamed(row: Row) -> Row:
        gains = tuple(
            Gain(name, *(getattr(gain, of) for of in ("sources", "columns", "parameters"))) for gain in row.gains
        )
        return dataclasses.replace(row, gains=gains) if gains else row

    return dataclasses.replace(plan, rows=tuple(map(renamed, plan.rows)), recipe=None)


def test_the_scope_of_corrections_leaves_predictions_and_start_alone() -> None:
    """Scope "corrector": M M^T and M in the corrections; predictions and start as without a filter."""
    plan = pc(4, corrector="ald", filter="pds", scope="corrector")
    sigmas, exact = geometric(4), 50.0**2 * ONE
    for sigma, following in itertools.pairwise(sigmas.tolist()):
        u, e, a = V + sigma**2, 2.0 * (SNR * sigma) ** 2, sigma**2 - following**2
        exact = (1.0 - e * M**2 / u) ** 2 * exact + 2.0 * e * M**2
        exact = (1.0 - a / u) ** 2 * exact + (a if following else 0.0)
    np.testing.assert_allclose(law(plan, V, **filters("pds", M)), exact, rtol=ROUNDINGS)


@pytest.mark.parametrize("flow", [False, True])
def test_preconditioning_on_vp_takes_the_whole_drift(flow: bool) -> None:
    """x_mean = x - M M^T f with f = (sqrt(1 - b) - 1) x - b s, as released."""
    vp = gs.schedules.vp_linear()
    times = gs.grids.uniform_t(vp, 5)
    plan = gs.solvers.predictor_corrector(vp, times, corrector="none", filter="pds", probability_flow=flow)
    alpha, sigma = vp.alpha(times), vp.sigma(times)
    exact = (M * plan.init.scale) ** 2
    for k in range(5):
        ratio = alpha[k] / alpha[k + 1]
        b, u = 1.0 - ratio**2, alpha[k] ** 2 * V + sigma[k] ** 2
        drift = (ratio - 1.0) + b * (0.5 if flow else 1.0) / u
        exact = (1.0 - M**2 * drift) ** 2 * exact + (0.0 if flow else b * M**2)

    def network(x: Tensor, time: float) -> Tensor:
        a, s = float(vp.alpha(time)), float(vp.sigma(time))
        return s * x / (a**2 * torch.from_numpy(V) + s**2)

    found = np.square(coefficients(plan, network, 1024, **filters("pds", M))).sum(axis=0)
    np.testing.assert_allclose(found, exact, rtol=ROUNDINGS)


# --- in pixels, where filter and covariance do not commute

D = 6
RANDOM = np.random.default_rng(5)
PRECISION = (lambda a: a @ a.T + np.eye(D))(RANDOM.normal(size=(D, D)))
B = np.eye(D) + 0.2 * RANDOM.normal(size=(D, D))
SIGMA, STEP = 0.5, 0.05


def linear(matrix: Array) -> Any:
    given = torch.from_numpy(matrix)

    def operator(value: Tensor, index: int, out: Tensor) -> None:
        torch.matmul(value, given.T, out=out)

    return operator


def one_step(mode: str | None) -> tuple[Array, Array]:
    """A and N of x' = A x + N z, a Langevin step of size STEP at SIGMA with the score -P x."""
    schedule = gs.schedules.edm()
    plan = gs.solvers.annealed_langevin(
        schedule, [SIGMA, 0.4], steps=1, step_size=STEP * (0.4 / SIGMA) ** 2, init="normal", filter=mode
    )
    plan = dataclasses.replace(
        plan, rows=plan.rows[: next(n for n, row in enumerate(plan.rows) if row.time != SIGMA)], recipe=None
    )
    named = {None: {}, "tdas": {"filter": linear(B)}, "pds": {"filter": linear(B), "filter_adjoint": linear(B.T)}}[mode]
    program = Program.of(plan, dtype=torch.float64, operators=named)
    eye, nothing = torch.eye(D, dtype=torch.float64), torch.zeros(D, D, dtype=torch.float64)
    precision = torch.from_numpy(PRECISION)
    state = PlanState(program, torch.cat([eye, nothing]))
    run_rows(
        state,
        lambda call, state: SIGMA * state.model_input @ precision,
        draw=lambda call: [torch.cat([nothing, eye])],
    )
    a, n = state.x.numpy().reshape(2, D, D)
    return a.T, n.T


def stationary(mode: str | None) -> Array:
    """Of the unadjusted Langevin algorithm: (P - h/2 P K P)^-1 with K = 1 or M M^T; of TDAS from its Lyapunov sum."""
    h, p = STEP, PRECISION
    if mode == "tdas":
        a, q = np.eye(D) - h * p, 2.0 * h * B @ B.T
        return np.linalg.solve(np.eye(D * D) - np.kron(a, a), q.ravel()).reshape(D, D)
    k = np.eye(D) if mode is None else B @ B.T
    return np.linalg.inv(p - 0.5 * h * p @ k @ p)


@pytest.mark.parametrize("mode", [None, "tdas", "pds"])
def test_a_langevin_step_keeps_its_stationary_law(mode: str | None) -> None:
    a, n = one_step(mode)
    c = stationary(mode)
    np.testing.assert_allclose(a @ c @ a.T + n @ n.T, c, atol=1e-13 * float(np.abs(c).max()))


@pytest.mark.parametrize("mode", [None, "tdas", "pds"])
def test_the_mean_decays_by_the_preconditioned_precision(mode: str | None) -> None:
    """x' = (1 - h K P) x on average, K = M M^T of "pds"; stable as long as h K P is below 2."""
    a, _ = one_step(mode)
    k = B @ B.T if mode == "pds" else np.eye(D)
    np.testing.assert_allclose(a, np.eye(D) - STEP * k @ PRECISION, atol=1e-13)
    stable = bool(np.linalg.eigvals(STEP * k @ PRECISION).real.max() < 2.0)
    assert stable == bool(np.abs(np.linalg.eigvals(a)).max() < 1.0)


def test_only_tdas_changes_the_law_to_which_small_steps_tend() -> None:
    exact = np.linalg.inv(PRECISION)
    off = {mode: float(np.abs(stationary(mode) - exact).max()) for mode in (None, "tdas", "pds")}
    assert max(off[None], off["pds"]) < 0.5 * off["tdas"]


# --- theorem 2


@pytest.mark.parametrize("corrector", ["langevin", "ald"])
@pytest.mark.parametrize("transform", ["dct", "dft"])
def test_sampling_in_the_planes_of_a_transform_is_sampling_in_pixels(transform: str, corrector: str) -> None:
    """Pathwise, of any orthogonal T and any network: start, noise and score through T give T of the samples."""
    shape = (3, 1, 8, 8)
    u = torch.from_numpy(matrix(transform, 8).copy())
    generator = torch.Generator().manual_seed(0)
    plan = gs.make_plan("predictor_corrector", VE, 20, options={"corrector": corrector})
    program = Program.of(plan, dtype=torch.float64)
    start = 50.0 * torch.randn(shape, generator=generator, dtype=torch.float64)
    noises = [torch.randn(shape, generator=generator, dtype=torch.float64) for row in plan.rows for _ in row.draws]

    def forward(x: Tensor) -> Tensor:
        return (u @ x @ u.T).contiguous()

    def network(x: Tensor, time: float) -> Tensor:
        sigma = float(VE.sigma(time))
        return sigma * (x - 0.5 * torch.tanh(x + x.flip(-1))) / (0.25 + sigma**2)

    def run(on_way: Any, turned: Any) -> Tensor:
        """turned: of the state to pixels."""
        drawn = iter(noises)
        state = PlanState(program, on_way(start))

        def draw(call: Any) -> list[Tensor]:
            return [on_way(next(drawn)) for _ in plan.rows[call.row].draws]

        return run_rows(
            state, lambda call, state: on_way(network(turned(state.model_input), call.time)), draw=draw
        ).x  # fmt: skip

    pixels = run(lambda x: x, lambda x: x)
    plane = run(forward, lambda y: (u.T @ y @ u).contiguous())
    assert float((plane - forward(pixels)).abs().max()) <= ROUNDINGS


# --- levels of a point


@pytest.mark.parametrize("steps", [1, 5])
def test_levels_transfer_the_variance_of_a_point_as_published(steps: int) -> None:
    sigmas = [4.0, 2.0, 1.0]
    schedule, h = gs.schedules.edm(), 0.3
    plan = gs.solvers.annealed_langevin(schedule, sigmas, steps=steps, step_size=h, init="normal")
    point = np.zeros(1)
    found = np.square(coefficients(plan, Affine(point, schedule), 1)).sum()
    ratio = 1.0
    for before, level in itertools.pairwise([4.0, *sigmas]):
        ratio = level_transfer(h, ratio * before / level, steps) ** 0.5
    assert found == pytest.approx(ratio**2, rel=1e-13)
