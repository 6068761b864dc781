"""What rebuilds a plan on another grid; immutable all the way down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from .. import grids
from .._arguments import shown
from ..schedules import from_dict as schedule_from_dict
from .frozen import frozen, is_text

__all__ = ["Recipe"]

T = TypeVar("T")


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
        schedule = self._made("schedule", lambda: schedule_from_dict(self.schedule))
        times = self._made("grid", lambda: grids.given(schedule, self.grid))
        object.__setattr__(self, "grid", tuple(times.tolist()))

    def _made(self, name: str, make: Callable[[], T]) -> T:
        try:
            return make()
        except (TypeError, ValueError, ArithmeticError) as error:  # a value of another type, or one that overflows
            raise ValueError(f"{name}: {error}") from error
