"""The loop of an adaptive run: attempt, judge, let finished samples go."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..run import NonFiniteError
from .active import ActiveSamples
from .attempt_plan import AttemptPlan, Numbers
from .control import StepControl, first_guess, first_step
from .step_variable import StepVariable
from .tableau import DOPRI5, EULER_CHANGE

__all__ = ["Attempt", "Limits", "Run"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Limits(NamedTuple):
    rtol: float
    atol: float
    per_sample: bool  # a step for every sample, or one for the batch
    max_evaluations: int  # per sample


class Attempt(NamedTuple):
    """One attempted step. Arrays are [1] with norm="batch", else one entry per sample that was still under way."""

    samples: NDArray[np.intp]  # positions in the batch
    time: Array
    next_time: Array
    error: Array  # the step is accepted if this is below 1
    accepted: Mask


class Run:
    """One call of :func:`rk45`. Steps are arrays [g]: g = b samples under way, or 1 where they share the step."""

    def __init__(
        self,
        active: ActiveSamples,
        variable: StepVariable,
        prediction: str,
        guidance: Array | None,
        limits: Limits,
        *,
        denoise: bool,
    ) -> None:
        """guidance: one scale, or one per sample, of a model that returns a guided pair."""
        self.active, self.variable, self.guidance, self.limits, self.denoise = (
            active,
            variable,
            guidance,
            limits,
            denoise,
        )
        self.steps, self.probe = (
            AttemptPlan(tableau, variable, prediction, guidance is not None) for tableau in (DOPRI5, EULER_CHANGE)
        )
        count = active.inputs.count
        self.result = torch.empty_like(active.x)
        self.finished: list[int] = []
        self.nfe, self.accepted, self.rejected = (np.zeros(count, dtype=np.int64) for _ in range(3))
        self.attempts: list[Attempt] = []
        groups = count if limits.per_sample else 1
        self.control = StepControl(np.full(groups, variable.start), variable.end, DOPRI5.error_order)
        self.control.step = self._first_steps(self.control.u)

    def to_the_end(self, bar: Any) -> None:
        """``bar`` counts percents of the way in u of the sample that is furthest behind."""
        percent = 0
        while self.active.index.size:
            self._attempt()
            self._let_go()
            behind = np.abs(self.variable.end - self.control.u).max(initial=0.0)
            reached = int(100.0 * (1.0 - behind / abs(self.variable.end - self.variable.start)))
            for _ in range(percent, reached):
                bar.update()
            percent = reached

    def _first_steps(self, u: Array) -> Array:
        """Two evaluations: at the start, and after an Euler step whose length is a guess."""
        away = self.variable.end - self.variable.start
        t, order = self.variable.t_start, DOPRI5.error_order
        numbers = self.steps.evaluation(t, self._scales())
        epsilon = self.active.evaluate(self.steps, numbers)
        self.nfe[self.active.index] += 1
        sizes, slopes = self._norms(numbers, self.active.x, epsilon)
        slopes = slopes * numbers.scale * np.abs(self.variable.slope(np.array([t])))
        pairs = list(zip(sizes.tolist(), slopes.tolist(), strict=True))
        guesses = np.array([first_guess(size, slope, abs(away)) for size, slope in pairs])
        numbers = self.probe.attempt(u, u + np.sign(away) * guesses, self._scales())
        self._run(self.probe, numbers)
        (changes,) = self._norms(numbers, self.active.error)
        triples = zip(guesses.tolist(), slopes.tolist(), (changes / guesses**2).tolist(), strict=True)
        return np.array([first_step(guess, slope, curve, abs(away), order) for guess, slope, curve in triples])

    def _attempt(self) -> None:
        self._check_limits()
        u, proposal = self.control.u, self.control.proposal()
        numbers = self.steps.attempt(u, proposal, self._scales())
        self._run(self.steps, numbers)
        (errors,) = self._norms(numbers, self.active.error, new_too=True)
        accepted = self.control.judge(proposal, errors)
        self.active.accept(accepted, self.steps)
        self.accepted[self.active.index] += accepted
        self.rejected[self.active.index] += ~accepted
        self.attempts.append(Attempt(self.active.index, numbers.times[0], numbers.times[-1], errors, accepted))

    def _run(self, steps: AttemptPlan, numbers: Numbers) -> None:
        self.active.run(steps, numbers)
        self.nfe[self.active.index] += steps.tableau.stages - 1  # the first epsilon is known

    def _scales(self) -> Array | None:
        """The guidance of the samples under way, [1] or [b]."""
        if self.guidance is None or len(self.guidance) == 1:
            return self.guidance
        return self.guidance[self.active.index]

    def _norms(self, numbers: Numbers, *values: Tensor, new_too: bool = False) -> Array:
        """RMS of each value over its tolerance at the rows' end, times the scale there: [values, g]."""
        others = (self.active.next,) if new_too else ()
        floor = self.limits.atol * numbers.scale
        sums = [self.active.squares(v, numbers.ratio, floor, self.limits.rtol, *others) for v in values]
        squares, bad = self.active.read(*sums)
        if bad.any():
            self._raise_nonfinite("model: the state or its error estimate", np.flatnonzero(bad))
        elements = self.active.x[0].numel()
        return np.sqrt(squares / elements if self.limits.per_sample else squares.mean(axis=1, keepdims=True) / elements)

    def _let_go(self) -> None:
        """Finished samples leave the batch, denoised where that was asked for."""
        done = np.broadcast_to(self.control.done, self.active.index.shape)
        if not done.any():
            return
        final = self.active.x
        if self.denoise:
            numbers = self.steps.transfer(self.variable.t_end, self.variable.schedule.t_zero)
            self.active.run(self.steps, numbers)
            final = self.active.next
            bad = done & ~final.isfinite().flatten(1).all(1).cpu().numpy()
            if bad.any():
                self._raise_nonfinite("model: the denoised state", np.flatnonzero(bad))
        rows = torch.from_numpy(np.flatnonzero(done)).to(final.device)
        self.result[torch.from_numpy(self.active.index[done]).to(final.device)] = final[rows]
        self.finished += self.active.index[done].tolist()
        self.active.keep(~done)
        self.control.keep(~self.control.done)

    def _check_limits(self) -> None:
        nfe = self.nfe[self.active.index] + DOPRI5.stages - 1
        if (nfe > self.limits.max_evaluations).any():
            fix = "raise it, or loosen rtol and atol"
            spent = f"max_evaluations={self.limits.max_evaluations}: spent"
            self._raise(spent, np.flatnonzero(nfe > self.limits.max_evaluations), fix)
        if self.control.underflow.any():
            tolerances = f"rtol={self.limits.rtol}, atol={self.limits.atol}"
            fix = "loosen them, or check that the network is smooth in x and t"
            stuck = np.flatnonzero(np.broadcast_to(self.control.underflow, self.active.index.shape))
            self._raise(f"{tolerances}: the step fell below the spacing of float64", stuck, fix)

    def _raise(self, what: str, active: NDArray[np.intp], fix: str) -> None:
        """ValueError with the state of these of the samples under way; details are the first one's."""
        raise ValueError(self._message(what, active, fix))

    def _raise_nonfinite(self, what: str, active: NDArray[np.intp]) -> None:
        fix = "check the network's output there, its dtype (float16 overflows) and its prediction type"
        ids = self.active.inputs.all_ids
        finished = sorted(self.finished)
        raise NonFiniteError(
            self._message(f"{what} became inf or NaN", active, fix), row=None,
            sample_ids=[ids[i] for i in self.active.index[active]],
            finished=self.result[finished], finished_ids=[ids[i] for i in finished],
        )  # fmt: skip

    def _message(self, what: str, active: NDArray[np.intp], fix: str) -> str:
        samples = self.active.index[active]
        ids = [self.active.inputs.all_ids[i] for i in samples[:8]]
        shown = f"{ids}{' ...' if len(samples) > 8 else ''}"
        first = samples[0]
        reached = float(self.variable.times(np.broadcast_to(self.control.u, self.active.index.shape))[active[0]])
        return (
            f"{what} for sample ids {shown}, the first of them at t={reached!r} after {self.accepted[first]} accepted "
            f"and {self.rejected[first]} rejected steps; {fix}"
        )
