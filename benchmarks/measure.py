"""From a benchmark to plain data: every case checked first, then timed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import torch

from .case import Benchmark, Case, Settings
from .machine import ISAS, isa
from .registry import BENCHMARKS
from .timing import Times, interleave

__all__ = ["measure", "measure_case"]

_VARIABLE = "GENIE_EXT_ISA"


def measure(name: str, settings: Settings) -> dict[str, Any]:
    """All cases of a benchmark; where it asks for that, once per vector unit of the CPU."""
    benchmark = BENCHMARKS[name]
    results = []
    for level in _isas(benchmark, settings):
        if level is None or level == isa():
            results += _measure_here(name, settings)
        else:
            results += _measure_in_child(name, settings, level)
    return {
        "benchmark": name,
        "unit": benchmark.unit,
        "summary": benchmark.summary,
        "cases": results,
    }


def measure_case(case: Case, settings: Settings) -> dict[str, Any]:
    """Seconds per unit and ratios other / ours. No time is taken while outputs disagree."""
    with _threads(case.threads) as threads:
        disagreement = case.disagreement()
        times = {} if disagreement else interleave(case.competitors, settings)
    ours = times.get(case.competitors[0].name)
    return {
        "case": case.name,
        "threads": threads,
        "isa": isa(),
        "disagreement": disagreement,
        "bytes": case.bytes,
        "seconds": {name: _seconds(t) for name, t in times.items()},
        "ratios": {name: _ratio(t, ours) for name, t in times.items() if ours and t is not ours},
        "absent": dict(case.absent),
    }


def _seconds(times: Times) -> dict[str, float | int]:
    return {"median": times.median, "minimum": times.minimum, "rounds": len(times.seconds)}


def _ratio(other: Times, ours: Times) -> dict[str, float]:
    return {
        "of_medians": other.median / ours.median,
        "of_minima": other.minimum / ours.minimum,
    }


def _isas(benchmark: Benchmark, settings: Settings) -> list[str | None]:
    """The best instruction set alone, or every vector unit; a choice by the user stands."""
    best = isa()
    asked = benchmark.every_isa and settings.device == "cpu" and _VARIABLE not in os.environ
    if best is None or not asked:
        return [best]
    return [*ISAS[1 : ISAS.index(best)], best]


@torch.no_grad()
def _measure_here(name: str, settings: Settings) -> list[dict[str, Any]]:
    return [measure_case(case, settings) for case in BENCHMARKS[name].cases(settings)]


def _measure_in_child(name: str, settings: Settings, level: str) -> list[dict[str, Any]]:
    """In a new process: the native core chooses its instruction set once, at its first call."""
    spawn = get_context("spawn")
    # putenv reaches the native core and, unlike os.environ, can be sent to the child
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=os.putenv, initargs=(_VARIABLE, level)) as child:
        return child.submit(_measure_here, name, settings).result()


@contextmanager
def _threads(count: int | None) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
