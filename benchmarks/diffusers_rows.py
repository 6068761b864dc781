"""diffusers' schedulers as tables: what each makes of a unit impulse, beside the plan that it should be.

    python -m benchmarks.diffusers_rows

A scheduler is linear, so starting it from one basis vector and answering its k-th question with another reads off its
whole coefficient row, states included. Their tables are float32; a deviation beyond 1e-5 is another formula. Sampling
goes on to sigma = 0 where the scheduler can.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import Plan

__all__ = ["COMPARISONS", "Comparison", "deviation"]

Array = NDArray[np.float64]

BETAS = np.linspace(1e-4, 2e-2, 1000)
SCHEDULE = gs.schedules.from_alphas_cumprod(np.cumprod(1.0 - BETAS))


@dataclass(frozen=True)
class Comparison:
    """A scheduler of diffusers, its options, and the solver that it is compared with on the same times."""

    scheduler: str
    options: dict[str, object]
    solver: str
    build: Callable[[Array], Plan]

    @property
    def name(self) -> str:
        options = ", ".join(f"{key}={value}" for key, value in self.options.items() if key != "final_sigmas_type")
        return f"{self.scheduler}({options})"


def _solver(function: Callable[..., Plan], **options: object) -> Callable[[Array], Plan]:
    return functools.partial(function, SCHEDULE, **options)


_ZERO = {"final_sigmas_type": "zero"}
_DPM, _UNIPC, _DEIS = (f"{name}MultistepScheduler" for name in ("DPMSolver", "UniPC", "DEIS"))
COMPARISONS = (
    Comparison(_DPM, {"solver_order": 1, **_ZERO}, "dpmpp_1m", _solver(gs.solvers.dpmpp, order=1)),
    Comparison(_DPM, {"solver_order": 2, **_ZERO}, "dpmpp_2m", _solver(gs.solvers.dpmpp, order=2)),
    Comparison(
        _DPM, {"solver_order": 3, **_ZERO}, "dpmpp_3m(variant=published)",
        _solver(gs.solvers.dpmpp, order=3, variant="published"),
    ),
    Comparison(
        _DPM, {"solver_order": 3, **_ZERO}, "dpmpp_3m", _solver(gs.solvers.dpmpp, order=3)
    ),
    Comparison(_UNIPC, {"solver_order": 1, **_ZERO}, "unipc1", _solver(gs.solvers.unipc, order=1)),
    Comparison(_UNIPC, {"solver_order": 2, **_ZERO}, "unipc2", _solver(gs.solvers.unipc, order=2)),
    Comparison(_UNIPC, {"solver_order": 3, **_ZERO}, "unipc3", _solver(gs.solvers.unipc, order=3)),
    Comparison(
        _UNIPC, {"solver_order": 3, "solver_type": "bh1", "final_sigmas_type": "sigma_min"},
        "unipc3(variant=bh1)", _solver(gs.solvers.unipc, order=3, variant="bh1"),
    ),
    Comparison(_DEIS, {"solver_order": 2}, "deis_log_ab1", _solver(gs.solvers.deis_log_ab, order=1)),
    Comparison(_DEIS, {"solver_order": 3}, "deis_log_ab2", _solver(gs.solvers.deis_log_ab, order=2)),
    Comparison(_DEIS, {"solver_order": 3}, "deis_tab2", _solver(gs.solvers.deis_tab, order=2)),
)  # fmt: skip


def deviation(comparison: Comparison, steps: int) -> float:
    """Largest difference of a state's coefficients over the state's largest coefficient."""
    theirs, times = _impulse_rows(comparison, steps)
    linear = comparison.build(times).unrolled()
    ours = np.concatenate([linear.state[:, None], linear.output[:, :, 0]], axis=1)
    return float((np.abs(theirs - ours).max(axis=1) / np.abs(ours).max(axis=1)).max())


def _impulse_rows(comparison: Comparison, steps: int) -> tuple[Array, Array]:
    """Every state's coefficients [steps + 1, 1 + steps] of (start, outputs), and the times of the states."""
    import diffusers

    scheduler: Any = getattr(diffusers, comparison.scheduler)(trained_betas=BETAS, **comparison.options)
    scheduler.set_timesteps(steps)
    basis = torch.eye(1 + steps, dtype=torch.float64)[..., None, None, None]  # a batch of basis entries
    states = [basis[0]]
    for output, t in zip(basis[1:], scheduler.timesteps, strict=True):
        states.append(scheduler.step(output, t, states[-1]).prev_sample)
    end = SCHEDULE.time_of_gamma(float(scheduler.sigmas[-1]))
    return torch.stack(states).flatten(1).double().numpy(), np.append(scheduler.timesteps.double().numpy(), end)


def main(steps: int = 25) -> None:
    warnings.simplefilter("ignore")
    print(f"{steps} steps, 1000 linear betas\n\n| diffusers | ours | largest deviation |\n|---|---|---|")
    for comparison in COMPARISONS:
        print(f"| `{comparison.name}` | `{comparison.solver}` | {deviation(comparison, steps):.1e} |")


if __name__ == "__main__":
    main()
