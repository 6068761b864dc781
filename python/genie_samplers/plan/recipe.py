"""What rebuilds a plan on another grid; immutable all the way down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

from .. import grids
from .._arguments import shown
from ..schedules import Schedule
from ..schedules import from_dict as schedule_from_dict
from .frozen import FrozenMapping, frozen, is_text

__all__ = ["Recipe", "schedule_of", "written_schedule"]

T = TypeVar("T")
_KEPT = 64


class _Written(FrozenMapping):
    """What a schedule's ``to_dict`` gave, beside the schedule itself."""

    __slots__ = ("schedule",)


@lru_cache(_KEPT)
def written_schedule(schedule: Schedule) -> FrozenMapping:
    """``schedule.to_dict()``, immutable; made and checked once, since a table has a thousand numbers."""
    written = _Written(schedule.to_dict(), "schedule")
    schedule_from_dict(written)
    written.schedule = schedule
    return written


def schedule_of(written: Mapping[str, object]) -> Schedule:
    """The schedule that this describes; ValueError or TypeError where ``schedules.from_dict`` knows none."""
    return written.schedule if isinstance(written, _Written) else schedule_from_dict(written)


@dataclass(frozen=True)
class Recipe:
    """Registry name, options, schedule (of ``Schedule.to_dict``) and times.

    Mappings, at any depth, become :class:`FrozenMapping`, lists tuples. ValueError for a schedule that
    ``schedules.from_dict`` does not know, times that are no grid of it, and options that JSON cannot hold;
    TypeError for options of other types.
    """

    solver: str
    schedule: Mapping[str, object]
    grid: tuple[float, ...]
    options: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not is_text(self.solver):
            raise ValueError(f"solver={shown(self.solver)}: give the name of a solver")
        for name in ("schedule", "options"):
            if not isinstance(getattr(self, name), Mapping):
                raise TypeError(f"{name}={shown(getattr(self, name))}: give a mapping")
            object.__setattr__(self, name, frozen(getattr(self, name), name))
        schedule = self._made("schedule", lambda: schedule_of(self.schedule))
        times = self._made("grid", lambda: grids.given(schedule, self.grid))
        object.__setattr__(self, "grid", tuple(times.tolist()))

    def _made(self, name: str, make: Callable[[], T]) -> T:
        try:
            return make()
        except (TypeError, ValueError, ArithmeticError) as error:  # a value of another type, or one that overflows
            raise ValueError(f"{name}: {error}") from error
