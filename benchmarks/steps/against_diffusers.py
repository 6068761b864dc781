"""A whole sampler step without the network, against the diffusers schedulers of the same methods.

Ours is ``genie_samplers.sample`` divided by its rows, with everything in it: checks, labels, the
copies of the start and of the result, the check of the outputs, the step, the look at the
finiteness flags. Beside it "first", where the thread has kept nothing of an earlier run, so that
table, memory and prepared rows are made; and "state", a ``PlanState`` that is restarted for each
run, as a loop of one's own has it.
Theirs is ``scheduler.step(...).prev_sample`` alone; ``set_timesteps`` is not timed. Both get
the same start, the same outputs in place of a network, and run the whole grid in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import diffusers
import torch
from torch import Tensor

import genie_samplers as gs
from genie_samplers.plan import Plan
from genie_samplers.run import run_rows
from genie_samplers.run.workspace import KEPT
from genie_samplers.schedules import Schedule

from ..case import Benchmark, Case, Competitor, Settings, shape_text

__all__ = ["BENCHMARK"]

_OUTPUTS = 4  # different ones, or every multistep method would be DDIM
# A step rounds some ten times. Another method is off by 1e-2, a slip in a coefficient by more.
_ROUNDINGS_PER_STEP = 10


@dataclass(frozen=True)
class _Method:
    """A scheduler of diffusers, where its grid ends, and the solver that is the same method."""

    name: str
    scheduler: str
    options: dict[str, object]
    last_time: float  # -1 is clean data, 0 the first noise level
    build: Callable[[Schedule, Sequence[float]], Plan]


_METHODS = (
    _Method("DDIM", "DDIMScheduler", {"clip_sample": False}, -1.0, gs.solvers.ddim),
    _Method("DEIS-3", "DEISMultistepScheduler", {"solver_order": 3}, 0.0, partial(gs.solvers.deis_log_ab, order=2)),
    _Method(
        "DPM++2M", "DPMSolverMultistepScheduler", {"solver_order": 2}, -1.0, partial(gs.solvers.dpmpp, order=2)
    ),
)  # fmt: skip


class _Replay:
    """Given outputs one after another in place of a network's."""

    def __init__(self, replies: Sequence[Tensor]) -> None:
        self.replies, self.calls, self.device = replies, 0, replies[0].device

    def reset(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        return self.replies[(self.calls - 1) % len(self.replies)]


def _cases(settings: Settings) -> Iterator[Case]:
    for method in _METHODS:
        scheduler = getattr(diffusers, method.scheduler)(**method.options)
        scheduler.set_timesteps(settings.steps)
        grid = [*map(float, scheduler.timesteps), method.last_time]
        alphas_cumprod = scheduler.alphas_cumprod.double().numpy()
        schedule = gs.schedules.from_alphas_cumprod(alphas_cumprod)
        plan = method.build(schedule, grid)
        for shape in settings.shapes:
            start, *outputs = torch.randn(1 + _OUTPUTS, *shape, device=settings.device)
            yield _case(f"{method.name} {shape_text(shape)}", plan, scheduler, start, outputs)


def _case(name: str, plan: Plan, scheduler: Any, start: Tensor, outputs: list[Tensor]) -> Case:
    model, steps = _Replay(outputs), len(plan.rows)
    ours = partial(gs.sample, model, plan, state=start, progress=False)
    first = partial(_run_first, ours)
    state = partial(_run_state, gs.PlanState(gs.Program.of(plan, device=start.device), start), model, start)
    theirs = partial(_run_scheduler, scheduler, model, start)
    restart = partial(_restart, scheduler, model, steps, start.device)
    # their schedulers count steps, so each run needs a restart
    competitors = [
        Competitor("sample", ours, prepare=restart, units=steps),
        Competitor("first", first, prepare=restart, units=steps),
        Competitor("state", state, prepare=restart, units=steps),
        Competitor("diffusers", theirs, prepare=restart, units=steps, repeatable=False),
    ]
    return Case(name, competitors, partial(_disagreement, ours, (first, state, theirs), restart, steps))


def _restart(scheduler: Any, model: _Replay, steps: int, device: torch.device) -> None:
    scheduler.set_timesteps(steps, device=device)
    model.reset()


def _run_first(sample: Callable[[], Tensor]) -> Tensor:
    KEPT.held.clear()
    return sample()


def _run_state(state: gs.PlanState, model: _Replay, x: Tensor) -> Tensor:
    state.restart(x)
    return run_rows(state, lambda call, at: model(at.model_input, x)).x


def _run_scheduler(scheduler: Any, model: _Replay, x: Tensor) -> Tensor:
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, t), t, x).prev_sample
    return x


def _disagreement(
    ours: Callable[[], Tensor],
    others: Sequence[Callable[[], Tensor]],
    restart: Callable[[], None],
    steps: int,
) -> str | None:
    """The last is theirs; a first run and a state that is driven by hand have our bits."""
    results = []
    for run in (ours, *others):
        restart()
        results.append(run().double())
    mine, first, state, other = results
    if not torch.equal(mine, first) or not torch.equal(mine, state):
        return "first, state: other bits than those of sample"
    error = float((mine - other).abs().max() / mine.abs().max())
    allowed = steps * _ROUNDINGS_PER_STEP * 2.0**-24
    if error <= allowed:
        return None
    return f"diffusers: the last state differs by {error:.3g} of its largest entry"


BENCHMARK = Benchmark(
    "sampler_step",
    unit="step",
    summary=f"a whole step without the network, against diffusers {diffusers.__version__}, float32",
    cases=_cases,
)
