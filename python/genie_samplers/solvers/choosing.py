"""The best of many plans for a schedule and a number of evaluations, by their score on data whose flow is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..plan import Plan
from ..schedules import AlphasCumprod, Remembered, Schedule
from .fitting import fitted
from .registry import UnreachableNFE, find, option_names, rebuild
from .scoring import Score, grid_of, score

__all__ = ["AUTO", "FURTHER", "Candidate", "Choice", "Options", "fitting_grids", "ranked", "ranked_on"]

Array = NDArray[np.float64]

_INSTEAD = "v"  # whatever the network predicts: scores are those of exact arithmetic, and v is finite at both ends
_KEPT = 256
_MODERATE = 200.0


class Options(Mapping[str, object]):
    """A solver's options as they were given, hashable: 1 is not True, and infinity is allowed."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self._given = dict(given)
        self._text = repr(sorted(self._given.items()))

    def __getitem__(self, name: str) -> object:
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


class Candidate(NamedTuple):
    """A registered solver with options."""

    solver: str
    options: Options = Options({})


class Choice(NamedTuple):
    """A candidate on a grid, and what it scored."""

    solver: str
    options: Options
    grid: str
    score: Score

    def __str__(self) -> str:
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.solver}{f' ({options})' if options else ''} on {self.grid}"


def _candidates(*families: tuple[str, Sequence[Mapping[str, object]]]) -> tuple[Candidate, ...]:
    return tuple(Candidate(name, Options(options)) for name, each in families for options in each)


_WARMUPS = ({}, {"warmup": "gradual"})
_FINALS = ({"lower_order_final": True}, {"lower_order_final": False})

AUTO = _candidates(
    ("ddim", ({},)),
    ("deis_tab1", ({},)), ("deis_tab2", ({},)), ("deis_tab3", ({},)),
    ("deis_log_ab1", ({},)), ("deis_log_ab2", ({},)), ("deis_log_ab3", _WARMUPS),
    ("ipndm2", ({},)), ("ipndm3", _WARMUPS), ("ipndm4", _WARMUPS),
    ("flow_ab2", ({},)), ("flow_ab3", ({},)), ("flow_ab4", ({},)),
)  # fmt: skip
"""What "auto" chooses from: deterministic solvers of one evaluation per step that read predictions alone."""

FURTHER = _candidates(("unipc2", _FINALS), ("unipc3", _FINALS), ("dpmpp_2m", _FINALS))
"""What a measurement chooses from besides: with few steps networks keep less of what their score promises."""


def fitting_grids(schedule: Schedule, *, denoise: bool, wide: bool = False) -> tuple[str, ...]:
    """The grids among which a plan of this schedule is chosen; ``wide``: all among which one may be measured.

    The natural one and Karras' where the schedule starts at a moderate gamma: with few steps networks are better on
    these than on grids that are better on exact data (docs/auto.md). Where Karras' grid leaps, from larger gammas, all.
    """
    natural = "shifted_t" if schedule.preferred_grid == "shifted_t" else "uniform_t"
    discrete = ("trailing",) if denoise and isinstance(schedule, AlphasCumprod) else ()
    if not wide and schedule.gamma(schedule.t_max) <= _MODERATE:
        return (natural, "karras", *discrete)
    return (natural, "quadratic_t", "karras", "log_snr", *discrete)


@lru_cache(_KEPT)
def ranked(
    candidates: tuple[Candidate, ...],
    schedule: Schedule,
    nfe: int,
    grids: tuple[str, ...],
    denoise: bool = False,
    shift: float | None = None,
    end: float | None = None,
) -> tuple[Choice, ...]:
    """Every candidate on every grid that it can be built on with exactly ``nfe`` evaluations, the best first.

    The order is that of :meth:`Score.total`. Empty where there is none. Kept, so that the same question costs nothing.
    """
    remembered: dict[bytes, Remembered] = {}

    def on(times: Array) -> Remembered:
        key = times.tobytes()
        if key not in remembered:
            remembered[key] = Remembered(schedule, times)
        return remembered[key]

    def made(candidate: Candidate, grid: str) -> Plan | None:
        shifted = shift if grid == "shifted_t" else None
        options = _scored_options(candidate)
        try:
            return fitted(
                find(candidate.solver), schedule, nfe, grid, options, denoise=denoise, shift=shifted, end=end, on=on
            )
        except UnreachableNFE:
            return None

    cells = ((candidate, grid, made(candidate, grid)) for grid in grids for candidate in candidates)
    choices = [
        Choice(*candidate, grid, score(plan, on(np.array(grid_of(plan)))))
        for candidate, grid, plan in cells
        if plan is not None
    ]
    return tuple(sorted(choices, key=lambda choice: choice.score.total(nfe)))


@lru_cache(_KEPT)
def ranked_on(candidates: tuple[Candidate, ...], schedule: Schedule, times: tuple[float, ...]) -> tuple[Choice, ...]:
    """As :func:`ranked`, on the caller's own times, whatever number of evaluations the candidates make of them."""
    on = Remembered(schedule, times)
    plans = [rebuild(name, on, times, _scored_options(Candidate(name, options))) for name, options in candidates]
    scored = zip(candidates, (score(plan, on) for plan in plans), strict=True)
    choices = [Choice(*candidate, "the times given", each) for candidate, each in scored]
    return tuple(sorted(choices, key=lambda choice: choice.score.total(len(times) - 1)))


def _scored_options(candidate: Candidate) -> dict[str, object]:
    """Corrections of a head are scored as the exact derivatives that they stand for."""
    exact = {"derivative": "exact"} if "derivative" in option_names(find(candidate.solver)) else {}
    return {**candidate.options, **exact, "prediction": _INSTEAD}
