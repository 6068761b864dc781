"""The step size, per trajectory: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, II.4."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["StepControl", "first_guess", "first_step"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SAFETY, LEAST_FACTOR, MOST_FACTOR = 0.9, 0.2, 10.0
LEAST_SPACINGS = 10.0  # a step is at least this many spacings of float64 at u


def first_guess(size: float, slope: float, length: float) -> float:
    """A step after which an Euler step moved the state by 1 %; size and slope are error norms of v and dv/du."""
    guess = 1e-6 if min(size, slope) < 1e-5 else 0.01 * size / slope
    return min(guess, length)


def first_step(guess: float, slope: float, curvature: float, length: float, error_order: int) -> float:
    """The step whose error is about 0.01 of the tolerance; curvature is the error norm of d2v/du2."""
    largest = max(slope, curvature)
    step = max(1e-6, 1e-3 * guess) if largest <= 1e-15 else (0.01 / largest) ** (1.0 / (error_order + 1))
    return min(100.0 * guess, step, length)


@dataclass
class StepControl:
    """Trajectories [g] on their way to ``end``, each with its own u and step.

    An attempt is accepted if its error norm is below 1; the next step is 0.9 error^(-1/(error_order + 1)) times this
    one, at least 0.2 and at most 10 times, and no longer right after a rejection.
    """

    u: Array
    end: float
    error_order: int
    step: Array = field(init=False)  # > 0; the caller sets the first one
    retry: Mask = field(init=False)  # whether the last attempt was rejected

    def __post_init__(self) -> None:
        self.step, self.retry = np.zeros(self.u.shape), np.zeros(self.u.shape, dtype=np.bool_)

    @property
    def done(self) -> Mask:
        return self.u == self.end

    @property
    def underflow(self) -> Mask:
        """Where the error asks for a step that float64 cannot tell from none."""
        return self.retry & (self.step < self._least())

    def proposal(self) -> Array:
        """u after the next attempt."""
        step = np.maximum(self.step, self._least())
        direction = np.sign(self.end - self.u)
        ahead = self.u + direction * step
        return np.where(direction * (ahead - self.end) > 0.0, self.end, ahead)

    def judge(self, proposal: Array, errors: Array) -> Mask:
        """Which attempts are accepted; moves those on, and sets every next step."""
        accepted = errors < 1.0
        # numbers of Python: a vectorised power may round otherwise for other batch sizes
        pairs = zip(errors.tolist(), self.retry.tolist(), strict=True)
        self.step = np.abs(proposal - self.u) * [self._factor(error, retry) for error, retry in pairs]
        self.u = np.where(accepted, proposal, self.u)
        self.retry = ~accepted
        return accepted

    def keep(self, kept: Mask) -> None:
        self.u, self.step, self.retry = self.u[kept], self.step[kept], self.retry[kept]

    def _least(self) -> Array:
        return LEAST_SPACINGS * np.abs(np.nextafter(self.u, np.inf * np.sign(self.end - self.u)) - self.u)

    def _factor(self, error: float, retry: bool) -> float:
        if error == 0.0:
            return 1.0 if retry else MOST_FACTOR
        factor = SAFETY * error ** (-1.0 / (self.error_order + 1))
        return min(max(factor, LEAST_FACTOR), 1.0 if retry and error < 1.0 else MOST_FACTOR)
