"""Which run of a scheduler a step belongs to: the thread's own, or the one that made the sample."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Any

from torch import Tensor

from .run import Run

__all__ = ["Threads"]

_NOTHING: tuple[Run | None, Run | None] = None, None
_MOST_WAITING = 8  # generations that nobody goes on with are forgotten


class Threads:
    """The run of every thread. latest: the one that set_timesteps made last, in whichever thread.

    A copy holds the run of the thread that makes it.
    """

    def __init__(self) -> None:
        self.latest: Run | None = None
        self._own = threading.local()
        self._lock = threading.Lock()
        self._runs: weakref.WeakSet[Run] = weakref.WeakSet()
        self._waiting: deque[Run] = deque(maxlen=_MOST_WAITING)  # whose thread went on with another

    def begin(self, run: Run) -> None:
        """The run that set_timesteps made in this thread; it is what other threads go by from now on."""
        self.latest = run
        self._hold(run, None)

    def take(self, run: Run, lent_from: Run | None) -> None:
        """This thread goes on with this run; its own, where that is on its way, waits for the sample that it made.

        lent_from: the latest run, of a thread that did not call set_timesteps itself.
        """
        before, _ = self._taken
        self._hold(run, lent_from)
        with self._lock:
            if run in self._waiting:
                self._waiting.remove(run)
            if before is not None and before is not run and before.is_on_its_way and before.is_of_this_thread:
                self._waiting.append(before)

    def _hold(self, run: Run, lent_from: Run | None) -> None:
        self._own.taken = run, lent_from
        with self._lock:
            self._runs.add(run)

    @property
    def _taken(self) -> tuple[Run | None, Run | None]:
        return getattr(self._own, "taken", _NOTHING)

    def own(self) -> Run | None:
        """This thread's run; None where it has none, and where it was lent one before set_timesteps was called anew."""
        try:
            run, lent_from = self._own.taken
        except AttributeError:
            return None
        return run if lent_from is None or lent_from is self.latest else None

    def lend(self, latest: Run) -> Run:
        """A run of the plan made last, for a thread that did not call set_timesteps."""
        run = latest.fresh()
        run.lent, run.expected = True, latest.begin
        self.take(run, lent_from=latest)
        return run

    def run_of(self, run: Run, sample: Tensor, timestep: float | Tensor) -> Run:
        """For a step of this thread, whose run is ``run``: that of the step that made the sample, to go on with this
        time; or another one, where it begins a generation while ``run`` is on the way of one.
        """
        other = self._of_sample(sample)
        if other is not None and other is not run and other.index is not None and other.place(timestep) == other.index:
            self.take(other, lent_from=self.latest)
            return other
        if not run.is_on_its_way or (place := run.place(timestep)) is None or place == run.index:
            return run
        if run.is_of_this_thread and place != (run.begin or 0):
            return run
        another = run.fresh()
        another.begin, another.expected = run.begin, run.expected
        another.lent = run.lent or not run.is_of_this_thread
        self.take(another, lent_from=self._taken[1])
        return another

    def _of_sample(self, sample: Tensor) -> Run | None:
        """The run whose last step made this tensor."""
        with self._lock:
            runs = list(self._runs)
        return next((run for run in runs if run.left is sample), None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Threads:
        return self.copied()

    def copied(self, *, apart: bool = False) -> Threads:
        """apart: of another scheduler, whose ``timesteps`` are a tensor of their own."""
        twin, run = Threads(), self.own() or self.latest
        if run is not None:
            twin.begin(run.copied(apart=apart))
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        run = self.own() or self.latest
        return _restored, (None if run is None else run.copied(),)


def _restored(run: Run | None) -> Threads:
    threads = Threads()
    if run is not None:
        threads.begin(run)
    return threads
