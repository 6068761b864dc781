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
_MOST_WAITING = 32  # generations that nobody goes on with are forgotten


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
        with self._lock:
            self._waiting.clear()
        self.take(run)

    def take(self, run: Run, lent_from: Run | None = None) -> None:
        """This thread's run. lent_from: the latest run, of a thread that did not call set_timesteps itself."""
        before = self.own()
        self._own.taken = run, lent_from
        with self._lock:
            self._runs.add(run)
            if run in self._waiting:
                self._waiting.remove(run)
            if lent_from is not None and before is not None and before is not run and self._waits(before):
                self._waiting.append(before)

    @staticmethod
    def _waits(run: Run) -> bool:
        """Whether it is on its way, and no other thread took it over."""
        return run.is_on_its_way and run.thread == threading.get_ident()

    def own(self) -> Run | None:
        """This thread's run; None where it has none, and where it was lent one before set_timesteps was called anew."""
        run, lent_from = getattr(self._own, "taken", _NOTHING)
        return run if lent_from is None or lent_from is self.latest else None

    def lend(self, latest: Run) -> Run:
        """A run of the plan made last, for a thread that did not call set_timesteps."""
        run = latest.fresh()
        run.lent = True
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
        if self.latest is not None and self._begins_another(run, timestep):
            return self.lend(self.latest)
        return run

    def _of_sample(self, sample: Tensor) -> Run | None:
        """The run whose last step made this tensor."""
        with self._lock:
            runs = list(self._runs)
        return next((run for run in runs if run.left is sample), None)

    def _begins_another(self, run: Run, timestep: float | Tensor) -> bool:
        """Where another thread took the run over and is elsewhere, and where a thread of a pool has a first step."""
        taken_over = run.thread != threading.get_ident()
        lent = getattr(self._own, "taken", _NOTHING)[1] is not None
        if not run.is_on_its_way or not (taken_over or lent):
            return False
        place = run.place(timestep)
        return place is not None and place != run.index and (taken_over or place == 0)

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
