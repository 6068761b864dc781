"""A plan calibrated to a network: its times, labels and weights fitted to the network's own fine solution."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .._arguments import integer, real
from ..models import Model, as_model
from ..models.batches import map_batches, pick
from ..models.fingerprint import network_fingerprint, question_fingerprint
from ..models.fit import fitted
from ..plan import Plan
from ..run import AnyModel
from ..schedules import Schedule, check_schedule
from ..solvers.make import make_plan
from .descent import Descent, DescentOptions, Distance, mean_error, measured
from .learned import FREE, LearnedTable
from .memory import Fit, fit, frozen, graph_bytes
from .start import Start, start_of
from .targets import Guidance, Targets, guided_by

__all__ = ["CalibratedPlan", "plan"]

Report = Callable[[str], None]

_FILES = ("targets", "held_out")
_LEAST = 4  # latents to fit, and to check with
_CONVERGED = 0.2  # of the start's error
_HISTORY = 5


@dataclass(frozen=True)
class CalibratedPlan:
    """plan: at its best on the held-out latents, with a ``calibration`` record; start: what it began as.

    rmse, start_rmse: theirs from the fine solution, on the held-out latents. train_rmse: of the plan on those that it
    was fitted to. convergence: of the fine solution, see :class:`Targets`. checks: (step, distance of the latents of
    the steps before, that of the held-out ones). held_out: those latents, with their fine solutions.
    """

    plan: Plan
    start: Plan
    rmse: float
    start_rmse: float
    train_rmse: float
    convergence: float
    checks: tuple[tuple[int, float, float], ...]
    held_out: Targets

    @property
    def start_name(self) -> str:
        """Of its solver."""
        return self.start.recipe.solver if self.start.recipe else "plan"

    def __str__(self) -> str:
        gain = self.start_rmse / self.rmse if self.rmse else math.inf
        return (
            f"RMSE {self.rmse:.4g} on held-out latents, {gain:.2f} times better than its start "
            f"({self.start_rmse:.4g}); {self.train_rmse:.4g} on those it was fitted to, fine solution within "
            f"{self.convergence:.1g}"
        )


def plan(
    model: AnyModel,
    schedule: Schedule,
    nfe: int,
    *,
    shape: Sequence[int],
    start: str | Plan = "auto",
    count: int = 64,
    held_out: int = 32,
    seed: int = 1,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    guidance: Guidance = None,
    prediction: str | None = None,
    grid: str | None = None,
    free: Collection[str] = FREE,
    history: int | None = None,
    steps: int = 100,
    batch_size: int = 8,
    learning_rate: float = 0.15,
    distance: Distance | None = None,
    fine_steps: int = 60,
    memory: int = 2 << 30,
    folder: Path | None = None,
    progress: bool | None = None,
    report: Report = lambda line: None,
) -> CalibratedPlan:
    """Fit the numbers of a plan at ``nfe`` evaluations to the probability flow of ``model``, by gradient descent.

    From ``count`` latents the flow is solved finely; then times, labels and weights (``free``, see
    :class:`LearnedTable`) take ``steps`` steps of Adam, ``batch_size`` latents each, through the network. What is best
    on ``held_out`` other latents is kept. The result is an ordinary plan.

    shape: of one sample, (C, H, W). start: a solver's name, "auto", or a plan: deterministic, one evaluation at a time.
    grid: the start's. cond: as for ``sample``, of ``count + held_out`` samples, the held-out ones last. guidance: a
    scale, or a range (low, high) over which the plan is to serve, for a model with both outputs. history: how many
    earlier outputs a row reads, 5 or what the start reads by default. distance: of samples and fine ones [b, ...] to
    one number, in place of the mean of their root mean square errors: in a feature space, or a mixture. fine_steps: of
    the fine solution. memory: bytes that graphs may take; what does not fit is computed again. folder: keeps the fine
    solutions and a checkpoint every few steps; with the same arguments a run goes on there, to the same plan. report:
    told of each stage.

    ValueError or TypeError naming the argument: also for a fine solution that has not converged to a fifth of the
    start's error, gradients that are not finite, and a start that these numbers cannot say. After Gu et al.'s S4S
    (arXiv 2502.17423), LD3 (2405.15506) and bespoke solvers (2403.01329), in one table.
    """
    check_schedule(schedule)
    net, sizes = as_model(model), _sizes(count, held_out, batch_size)
    count, held_out = sizes
    nfe, seed, batch_size = integer(nfe, "nfe", least=1), integer(seed, "seed", least=0), int(batch_size)
    begun = start_of(_starting_plan(net, schedule, nfe, start, prediction, grid))
    guided = guided_by(guidance, 1, seed) is not None
    net = fitted(net, begun.plan.guided(1.0) if guided else begun.plan)  # without a head that the plan does not read
    known = network_fingerprint(net)
    with torch.inference_mode(False), torch.enable_grad(), frozen(net.network):
        targets, checked = (
            Targets.record(
                net, begun.plan, count=n, shape=shape, seed=seed + place, cond=part, shared=shared, guidance=guidance,
                steps=fine_steps, progress=progress, known_as=known,
                cache=None if folder is None else Path(folder) / f"{name}.safetensors",
            )
            for place, (name, n, part) in enumerate(zip(_FILES, sizes, _parts(cond, *sizes), strict=True))
        )  # fmt: skip
        convergence = max(targets.convergence, checked.convergence)
        report(f"fine solution of {count} + {held_out} latents: {fine_steps} steps, within {convergence:.2g}")
        table = LearnedTable(begun, history=_history(history, begun), free=free)
        best = _best_fit(net, begun, targets, batch_size, real(memory, "memory"))
        question = question_fingerprint(
            targets.question, checked.question, begun.plan.to_json(), guidance, sorted(free), table.history,
            _shown(distance or mean_error, checked),
        )  # fmt: skip
        options = DescentOptions(
            steps=integer(steps, "steps", least=0), learning_rate=learning_rate, warmup_steps=5, decay_fraction=0.9,
            ema_decay=0.9, seed=seed, save_every=10, batch_size=batch_size, chunk_size=best.chunk_size,
            recompute=best.recompute, question=question,
        )  # fmt: skip
        descent = Descent(
            None if folder is None else Path(folder), net, table, targets, checked, options, distance=distance,
            show=progress,
        )  # fmt: skip
        start_rmse = checked.rmse(net, begun.plan)
        _refuse_unconverged(convergence, start_rmse, fine_steps)
        report(f"start {begun.recipe.solver}: {start_rmse:.4f} on the held-out latents")
        descent.run()
        found = descent.averaged(descent.best).plan()
        train_rmse, held_rmse = targets.rmse(net, found), checked.rmse(net, found)
    record = {
        "network": known, "start": begun.recipe.solver, "nfe": nfe, "latents": count, "seed": seed,
        "guidance": list(guidance) if isinstance(guidance, tuple) else guidance, "steps": descent.step,
        "start_rmse": start_rmse, "rmse": held_rmse,
    }  # fmt: skip
    return CalibratedPlan(
        replace(found, calibration=record), begun.plan, held_rmse, start_rmse, train_rmse, convergence,
        tuple(descent.checks), checked,
    )  # fmt: skip


def _sizes(count: int, held_out: int, batch_size: int) -> tuple[int, int]:
    for name, value in (("count", count), ("held_out", held_out)):
        if integer(value, name) < _LEAST:
            raise ValueError(f"{name}={value}: too few latents; give {_LEAST} or more, 64 and 32 to trust it")
    if integer(batch_size, "batch_size", least=1) > count:
        raise ValueError(f"batch_size={batch_size}: more than the {count} latents; give fewer")
    return int(count), int(held_out)


def _starting_plan(
    model: Model, schedule: Schedule, nfe: int, start: str | Plan, prediction: str | None, grid: str | None
) -> Plan:
    if not isinstance(start, Plan):
        return make_plan(start, schedule, nfe, model=model, prediction=prediction, grid=grid)
    if grid is not None or prediction is not None:
        raise ValueError("grid, prediction: a plan is given as start, which has its own; leave them out")
    if start.schedule != schedule or start.nfe != nfe:
        raise ValueError(f"start: a plan of {start.nfe} evaluations on {start.schedule}; need {nfe} on {schedule}")
    return start


def _parts(cond: Mapping[str, object] | None, count: int, held_out: int) -> list[dict[str, object]]:
    """Of the latents to fit, and of the held-out ones."""
    ranges = (range(count), range(count, count + held_out))

    def part(name: str, batch: Any, ids: range) -> Any:
        if len(batch) != count + held_out:
            raise ValueError(
                f"cond[{name!r}]: {len(batch)} entries; give {count + held_out}, of the {count} latents to fit and, "
                f"after them, of the {held_out} held-out ones, or pass what all samples share in shared="
            )
        return pick(batch, ids)

    given = dict(cond or {}).items()
    return [{name: map_batches(v, partial(part, name, ids=ids)) for name, v in given} for ids in ranges]


def _shown(distance: Distance, targets: Targets) -> str:
    """By what it says of two sets of samples a function is told from another."""
    with torch.no_grad():
        return f"{float(measured(distance, targets.latents.double(), targets.samples.double())):.5e}"


def _history(history: int | None, start: Start) -> int:
    """What the start reads, or 5 where it is less."""
    if history is not None:
        return integer(history, "history", least=0)
    count = len(start.weights)
    read = [i - j for i in range(count) for j in range(i + 1) if start.weights[i, j].any()]
    return min(max(_HISTORY, *read), count - 1)


def _best_fit(model: Model, start: Start, targets: Targets, batch_size: int, memory: float) -> Fit:
    device = targets.latents.device
    x = targets.latents[:1].to(model.dtype or torch.float32)
    label = torch.as_tensor(model.labels(start.plan))[:1].to(device, torch.float32)
    asked = targets.asked(model, targets.guided(start.plan, [0]))
    return fit(batch_size, start.plan.nfe, graph_bytes(asked, x, label, targets.cond_of([0])), int(memory))


def _refuse_unconverged(convergence: float, start_rmse: float, fine_steps: int) -> None:
    if not convergence <= _CONVERGED * start_rmse:
        raise ValueError(
            f"fine_steps={fine_steps}: the fine solution changes by {convergence:.3g} from two thirds of its steps, "
            f"where the start is {start_rmse:.3g} from it: it has not converged; give more fine_steps, or more "
            "evaluations"
        )
