"""What the samplers by Langevin steps share: their rows, with filters on noise and score."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike, NDArray

from .._arguments import boolean, choice
from ..plan import Apply, Combination, Conversion, Gain, HistoryEntry, Row, Source
from ..schedules import Schedule
from .building import PlanBuilder, checked_grid, refuse_pure_noise

__all__ = ["ADJOINT", "FILTER", "Filtering", "LangevinBuilder", "checked_falling_grid"]

FILTER, ADJOINT = "filter", "filter_adjoint"  # the names of the operators M and M^T that a run is given
MODES, SCOPES, NORMS = (None, "tdas", "pds"), ("both", "corrector"), ("filtered", "raw")


@dataclass(frozen=True)
class Filtering:
    """Where the operator M enters: nowhere (None), in the noise ("tdas"), or as M M^T in the drift too ("pds").

    predictor: whether in the predictor's steps, too. initial: whether in the first state. raw_norms: whether the
    Langevin step goes by |z| and |s| before M instead of after.
    """

    mode: str | None = None
    predictor: bool = True
    initial: bool = True
    raw_norms: bool = False

    @classmethod
    def of(cls, mode: str | None, scope: str, initial: bool | None, snr_norm: str) -> Filtering:
        """Checked; ValueError or TypeError naming the option ``filter``, ``scope``, ``filter_init`` or ``snr_norm``."""
        if mode is not None:
            choice(mode, "filter", MODES[1:])
        both = choice(scope, "scope", SCOPES) == "both"
        raw = choice(snr_norm, "snr_norm", NORMS) == "raw"
        first = both if initial is None else boolean(initial, "filter_init")
        return cls(mode, both, first, raw)

    @property
    def operator(self) -> str | None:
        """Of the first state."""
        return FILTER if self.mode is not None and self.initial else None


def checked_falling_grid(schedule: Schedule, grid: ArrayLike, solver: str) -> NDArray:
    """Times that fall, from noise of finite gamma; ValueError for others."""
    times = checked_grid(schedule, grid)
    if times[1] > times[0]:
        raise ValueError(f"{solver} on a rising grid: it draws noise, so it cannot encode; give times that fall")
    refuse_pure_noise(schedule, times, solver, "a solver of the flow, as flow_euler")
    return times


class LangevinBuilder(PlanBuilder):
    """Rows x' = a x + w epsilon + c eta with eta = z or M z, and with M M^T before epsilon where ``filtering`` says."""

    def __init__(self, schedule: Schedule, *, prediction: str, filtering: Filtering) -> None:
        super().__init__(schedule, prediction=prediction, quantity="epsilon")
        self.filtering = filtering

    def step(self, time: float, *, a: float, epsilon: float, noise: float, filtered: bool) -> None:
        """x' = a x + epsilon * (the predicted noise) + noise * eta; in "pds" with M M^T before all that changes x."""
        if filtered and self.filtering.mode == "pds":
            self._preconditioned(time, a, epsilon, noise)
            return
        weights = {} if not (noise and filtered and self.filtering.mode) else {self._eta(time)[0]: noise}
        self.add(time, {**weights, self.next: epsilon}, x=a, noise=0.0 if weights else noise)

    def _preconditioned(self, time: float, a: float, epsilon: float, noise: float) -> None:
        eta = self._eta(time)[0] if noise else None
        if a == 1.0:  # the change is a multiple of epsilon
            of_change = epsilon
            change = self._smoothed(Source.value(self._kept_epsilon(time)), time)
        else:
            of_change = 1.0
            change = self._smoothed(self._kept_change(time, a - 1.0, epsilon), time)
        terms = [(change, of_change), *([] if eta is None else [(eta, noise)])]
        self._combine(time, terms, ())

    def corrector(self, time: float, *, reduction: str, parameters: tuple[float, ...], coupled: bool) -> None:
        """A Langevin step whose size the named reduction makes of epsilon and eta: its columns are theirs, in order."""
        mode, raw = self.filtering.mode, self.filtering.raw_norms
        eta, z = self._eta(time) if mode else (None, None)
        kept = score = self._kept_epsilon(time)
        if mode == "pds":
            score = self._smoothed(Source.value(kept), time)
        of_score = Source.value(kept if raw else score)
        if eta is None:
            draws = self._draw(1.0)
            gain = Gain(reduction, (of_score, Source.draw(*draws)), ("history0", "draw0"), parameters, coupled)
            self._combine(time, [(score, -1.0)], draws, gain)
            return
        of_noise = Source.value(eta if z is None else z)
        gain = Gain(reduction, (of_score, of_noise), ("history0", "history1"), parameters, coupled)
        self._combine(time, [(score, -1.0), (eta, 1.0)], (), gain)

    def _combine(
        self, time: float, terms: list[tuple[int, float]], draws: tuple[int, ...], gain: Gain | None = None
    ) -> None:
        """x' = x + the terms (number of an instruction, weight), newest first, + draws."""
        history = tuple(HistoryEntry(row) for row, _ in terms)
        weights = Combination(x=1.0, history=tuple(weight for _, weight in terms), draws=(1.0,) * len(draws))
        gains = () if gain is None else (gain,)
        self.rows.append(Row(float(time), weights, history=history, draws=draws, calls=0, gains=gains))

    def _eta(self, time: float) -> tuple[int, int | None]:
        """The instruction that makes M z of the next draw and, where it is needed, the one that keeps z."""
        source, kept = Source.draw(self._draw(1.0)[0]), None
        if self.filtering.raw_norms:
            kept = self._apply(None, source, time)
            source = Source.value(kept)
        return self._apply(FILTER, source, time), kept

    def _smoothed(self, source: Source, time: float) -> int:
        """The instruction that makes M M^T of the source."""
        return self._apply(FILTER, Source.value(self._apply(ADJOINT, source, time)), time)

    def _apply(self, operator: str | None, source: Source, time: float) -> int:
        self.rows.append(Apply(operator, source, time=float(time)))
        return self.next - 1

    def _kept_epsilon(self, time: float) -> int:
        """The row that asks the network and leaves the state as it is."""
        self.add(time, {}, x=1.0)
        return self.next - 1

    def _kept_change(self, time: float, x: float, epsilon: float) -> Source:
        """x * state + epsilon * (the predicted noise), in the second state; the first stays."""
        conversion: Conversion = self._conversion("epsilon", time)
        change = Combination(x=x, y=(epsilon,))
        self.rows.append(Row(float(time), Combination(x=1.0, y=(0.0,)), aux=change, converted=(conversion,)))
        return Source.aux()
