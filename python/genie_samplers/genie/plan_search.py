"""Plans that use the exact derivative, and plans that do not, against a fine solution from the same latents."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..models import WrappedModel
from ..plan import Plan
from ..run import NonFiniteError, sample
from ..solvers.make import make_plan
from ..uses.compare import fine_plan, rmse
from .exact import exact

__all__ = ["GRIDS", "MULTISTEP", "THRESHOLDS", "Candidate", "Measured", "candidates", "measure"]

MULTISTEP = ("ipndm", "deis_log_ab", "unipc")
THRESHOLDS = (2.0, 10.0, math.inf)
GRIDS = ("karras", "log_snr", "quadratic_t")


@dataclass(frozen=True)
class Candidate:
    """What :func:`make_plan` takes; the derivative, where options name one, is the exact one."""

    solver: str
    grid: str
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """rmse: of the final states to the fine solution, inf where they are not finite. seconds: derivatives included."""

    candidate: Candidate
    rmse: float
    seconds: float


def candidates(threshold: float = 0.0) -> list[Candidate]:
    """genie_hermite3 with the exact derivative below each of THRESHOLDS and ``threshold``, and MULTISTEP; all of GRIDS.

    threshold: for example ``Diagnosis.derivative_below``, where 0 is none.
    """
    thresholds = sorted({*THRESHOLDS, threshold} - {0.0})
    ways: list[tuple[str, dict[str, object]]] = [
        *(("genie_hermite3", {"derivative": "exact", "derivative_below": below}) for below in thresholds),
        *((name, {}) for name in MULTISTEP),
    ]
    return [Candidate(solver, grid, options) for (solver, options), grid in itertools.product(ways, GRIDS)]


@torch.no_grad()
def measure(
    model: WrappedModel,
    chosen: Sequence[Candidate],
    nfe: int,
    *,
    shape: Sequence[int],
    seed: int = 0,
    cond: Mapping[str, object] | None = None,
    device: torch.device | str | None = None,
    fine_steps: int = 200,
    on_result: Callable[[Measured], None] | None = None,
) -> list[Measured]:
    """Run every candidate at ``nfe`` evaluations, from noise to t_end; the best first.

    A derivative is not counted as an evaluation: see ``seconds``. The fine solution: deis_tab3 on the Karras grid,
    ``fine_steps`` steps. seed, cond, device: as of :func:`genie_samplers.sample`. ValueError or TypeError for bad
    arguments.
    """
    plans = [_plan(model, candidate, nfe) for candidate in chosen]
    network = exact(model)  # plain in rows that read no derivative

    def run(plan: Plan) -> Tensor:
        return sample(network, plan, shape=shape, seed=seed, cond=cond, device=device, progress=False)

    fine, found = run(fine_plan(model.schedule, fine_steps, prediction=model.outputs[0])), []
    for candidate, plan in zip(chosen, plans, strict=True):
        start = time.perf_counter()
        try:
            error = rmse(run(plan), fine)  # waits for the device
        except NonFiniteError:
            error = math.inf
        found.append(Measured(candidate, error, time.perf_counter() - start))
        if on_result is not None:
            on_result(found[-1])
    return sorted(found, key=lambda measured: measured.rmse)


def _plan(model: WrappedModel, candidate: Candidate, nfe: int) -> Plan:
    return make_plan(
        candidate.solver, model.schedule, nfe, grid=candidate.grid, prediction=model.outputs[0], denoise=False,
        options=candidate.options,
    )  # fmt: skip
