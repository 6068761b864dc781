"""Competitors timed in turns (A B C A B C ...), so that what disturbs one disturbs all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .case import Competitor, Settings

__all__ = ["Times", "interleave"]

_LEAST_ROUNDS = 3


@dataclass(frozen=True)
class Times:
    """Seconds per unit, one number per round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def minimum(self) -> float:
        return min(self.seconds)


def interleave(competitors: Sequence[Competitor], settings: Settings) -> dict[str, Times]:
    """One block of each competitor per round."""
    device = torch.device(settings.device)
    counts = [_repetitions(c, device, settings.block_seconds) for c in competitors]
    seconds: list[list[float]] = [[] for _ in competitors]
    begin = time.perf_counter()
    for done in range(settings.rounds):
        late = time.perf_counter() - begin > settings.case_seconds
        if late and done >= _LEAST_ROUNDS:
            break
        for competitor, count, measured in zip(competitors, counts, seconds, strict=True):
            measured.append(_block(competitor, count, device) / (count * competitor.units))
    return {c.name: Times(tuple(s)) for c, s in zip(competitors, seconds, strict=True)}


def _repetitions(competitor: Competitor, device: torch.device, block_seconds: float) -> int:
    """Calls that fill a block; warms the competitor up on the way."""
    count = 1
    while _block(competitor, count, device) < block_seconds and competitor.repeatable:
        count *= 2
    return count


def _block(competitor: Competitor, count: int, device: torch.device) -> float:
    """Seconds of ``count`` calls: the device's own clock on a GPU, waits for the host included."""
    competitor.prepare()
    if device.type != "cuda":
        begin = time.perf_counter()
        for _ in range(count):
            competitor.run()
        return time.perf_counter() - begin
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    start.record()
    for _ in range(count):
        competitor.run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3
