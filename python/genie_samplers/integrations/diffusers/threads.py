"""Which run of a scheduler a step belongs to: the thread's own, or the one that made the sample."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from torch import Tensor

from .run import Run

__all__ = ["Threads"]

_NOTHING: tuple[Run | None, Run | None] = None, None


class Threads:
    """The run of every thread. latest: the one that set_timesteps made last, in whichever thread.

    A copy holds the run of the thread that makes it.
    """

    def __init__(self) -> None:
        self.latest: Run | None = None
        self._own = threading.local()
        self._lock = threading.Lock()
        self._runs: weakref.WeakSet[Run] = weakref.WeakSet()

    def begin(self, run: Run) -> None:
        """The run that set_timesteps made in this thread; it is what other threads go by from now on."""
        self.latest = run
        self.take(run)

    def take(self, run: Run, lent_from: Run | None = None) -> None:
        """This thread's run. lent_from: the latest run, of a thread that did not call set_timesteps itself."""
        self._own.taken = run, lent_from
        with self._lock:
            self._runs.add(run)

    def own(self) -> Run | None:
        """This thread's run; None where it has none, and where it was lent one before set_timesteps was called anew."""
        run, lent_from = getattr(self._own, "taken", _NOTHING)
        return run if lent_from is None or lent_from is self.latest else None

    def of_sample(self, sample: Tensor) -> Run | None:
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
