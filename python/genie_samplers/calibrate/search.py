"""The search for a solver's grid: local errors, then the network itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import grids
from .._arguments import integer
from ..plan import Plan, Recipe
from ..run import AnyModel
from ..schedules import Schedule
from ..solvers.fitness import UnfitWarning
from ..solvers.make import make_plan
from ..solvers.registry import rebuild
from .least_squares import least_squares
from .local_error import LocalErrors, factor, is_multistep
from .reference import Reference
from .shortest_path import shortest_path

__all__ = ["SHORTEST_PATH", "Calibrated", "grid", "search"]

Array = NDArray[np.float64]
Report = Callable[[str], None]

SHORTEST_PATH = "shortest_path"
_MEMORY = 2  # earlier nodes in the state of the dynamic programme
_CLOSEST = 0.03  # two nodes, in log gamma; more than a difference quotient moves one


@dataclass(frozen=True)
class Calibrated:
    """A grid found for a solver. RMSE: of the final states to the flow's, over the calibration latents.

    starts: the plans that were compared, by grid name, with "shortest_path" where the solver is a multistep one;
    start_rmse: theirs. plan: the best of them with its nodes refined, and its rmse. path_cost: root of the sum of
    squared, weighted local errors along the shortest path. runs: plans run with the network, the starts included.
    """

    plan: Plan
    rmse: float
    starts: Mapping[str, Plan]
    start_rmse: Mapping[str, float]
    path_cost: float | None
    runs: int


def grid(
    model: AnyModel,
    schedule: Schedule,
    solver: str,
    nfe: int,
    *,
    shape: Sequence[int],
    seed: int = 1,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    prediction: str | None = None,
    options: Mapping[str, object] | None = None,
    nodes: int = 20,
    runs: int = 60,
) -> Calibrated:
    """The grid of a deterministic registered solver that comes closest to the probability flow of ``model``.

    shape: [B, ...] of the calibration latents, seed theirs; cond, shared as for ``sample``. options: of the solver.
    nodes, runs: as for :meth:`Reference.record` and :func:`search`. Record a :class:`Reference` and call :func:`search`
    to try several solvers on the same latents. Errors: theirs.
    """
    reference = Reference.record(
        model, schedule, shape=shape, seed=seed, cond=cond, shared=shared, prediction=prediction, nodes=nodes
    )
    return search(reference, solver, nfe, options=options, runs=runs)


def search(
    reference: Reference,
    solver: str,
    nfe: int,
    *,
    options: Mapping[str, object] | None = None,
    runs: int = 60,
    report: Report = lambda line: None,
) -> Calibrated:
    """Calibrate to a recorded reference: the best of the named grids and the shortest path, refined.

    The shortest path through the recorded nodes has the least sum of squared local errors, weighted by how a flow of
    Gaussian data of this size carries them to the end (dynamic programming over a recorded trajectory: Chen et al.,
    arXiv 2405.11326); multistep solvers only. It does not see how errors return through the network; so the nodes of
    the best start are then moved by least squares on the real final states. Both ends of the grid stay.
    runs: of the plan with the network, at most, besides the starts. report: told of each result, one line.

    Raises ValueError or TypeError naming the argument; UnreachableNFE as make_plan.
    """
    integer(runs, "runs", least=0)
    with warnings.catch_warnings():  # of grids that are only candidates
        warnings.simplefilter("ignore", UnfitWarning)
        starts = {
            name: make_plan(
                solver, reference.schedule, nfe, grid=name, prediction=reference.prediction, options=options
            )
            for name in grids.GRIDS
        }
    some = next(iter(starts.values()))
    if some.stochastic:
        raise ValueError(
            f"solver={solver!r} draws noise: a grid is calibrated to the deterministic flow, choose an ODE solver"
        )
    path_cost = None
    if is_multistep(some):
        times, path_cost = _shortest_path(reference, _recipe(some))
        starts[SHORTEST_PATH] = _on(_recipe(some), reference.schedule, times)
        report(f"shortest path: cost {path_cost:.4f}")
    residuals = {}
    for name, plan in starts.items():
        residuals[name] = reference.residual(plan)
        report(f"{name:14s} rmse {_rms(residuals[name]):.4f}")
    start_rmse = {name: _rms(residual) for name, residual in residuals.items()}
    best = min(start_rmse, key=start_rmse.__getitem__)
    plan, rmse, used = _refined(reference, starts[best], residuals[best], runs)
    report(f"{'refined':14s} rmse {rmse:.4f} after {used} runs, from {best}")
    return Calibrated(plan, rmse, starts, start_rmse, path_cost, len(starts) + used)


def _shortest_path(reference: Reference, recipe: Recipe) -> tuple[Array, float]:
    schedule, steps = reference.schedule, len(recipe.grid) - 1
    count = len(reference.times) if recipe.grid[-1] == schedule.t_zero else len(reference.times) - 1
    times, states = reference.times[:count], reference.states[:count].double().numpy()
    prediction = "flow" if schedule.starts_in_pure_noise else "epsilon"  # epsilon determines nothing there
    outputs = reference.flow if schedule.starts_in_pure_noise else reference.epsilon
    options = {**recipe.options, "prediction": prediction}
    if "warmup" in options:
        options["warmup"] = "lower_order"  # the slower starts change first rows only, which a short chain cannot tell
    errors = LocalErrors(
        times, factor(states, outputs.double().numpy()),
        lambda grid: rebuild(recipe.solver, schedule, grid, options),
    )  # fmt: skip
    gain = _gain(schedule, times, float(np.sqrt(np.mean(states[-1] ** 2))))
    path, cost = shortest_path(
        lambda *nodes: float(gain[nodes[-1]] * errors(*nodes)) ** 2,
        last=count - 1, steps=steps, memory=min(errors.memory, _MEMORY),
    )  # fmt: skip
    return times[list(path)], float(np.sqrt(cost))


def _gain(schedule: Schedule, times: Array, data_scale: float) -> Array:
    """How much of a change of x at each time is left at gamma = 0, if the data were N(0, data_scale^2)."""
    return data_scale / np.hypot(data_scale * schedule.alpha(times), schedule.sigma(times))


def _refined(reference: Reference, plan: Plan, residual: Array, runs: int) -> tuple[Plan, float, int]:
    """The plan with its inner nodes moved, its RMSE and the runs made; as it is where nodes are too close to move."""
    recipe, schedule = _recipe(plan), reference.schedule
    log_gamma = schedule.log_gamma(recipe.grid)

    def moved(inner: Array) -> Plan:
        times = np.array(recipe.grid)
        times[1:-1] = schedule.time_of_half_log_snr(-inner)
        return _on(recipe, schedule, times)

    def allowed(inner: Array) -> bool:
        return bool(np.all(np.diff([log_gamma[0], *inner, log_gamma[-1]]) <= -_CLOSEST))

    start = log_gamma[1:-1]
    if runs <= len(start) or len(start) == 0 or not allowed(start):
        return plan, _rms(residual), 0
    solution = least_squares(
        lambda inner: reference.residual(moved(inner)), start, residual, allowed=allowed, evaluations=runs
    )
    return moved(solution.point), _rms(solution.residual), solution.evaluations


def _on(recipe: Recipe, schedule: Schedule, times: Array) -> Plan:
    return rebuild(recipe.solver, schedule, times, recipe.options)


def _recipe(plan: Plan) -> Recipe:
    if plan.recipe is None:
        raise ValueError("plan: a registered solver made one without a recipe; set it")
    return plan.recipe


def _rms(residual: Array) -> float:
    return float(np.sqrt(np.mean(residual**2)))
