"""The one list of benchmarks."""

from __future__ import annotations

from .case import Benchmark
from .ops import fused_step, normal_fill
from .steps import against_diffusers

__all__ = ["BENCHMARKS"]

BENCHMARKS: dict[str, Benchmark] = {
    module.BENCHMARK.name: module.BENCHMARK for module in (fused_step, normal_fill, against_diffusers)
}
