"""The one list of benchmarks."""

from __future__ import annotations

from importlib.util import find_spec

from .case import Benchmark
from .ops import fused_step, jvp_distill_loss, normal_fill, spectral_filter

__all__ = ["BENCHMARKS"]

_OPS = (fused_step, normal_fill, jvp_distill_loss, spectral_filter)
BENCHMARKS: dict[str, Benchmark] = {module.BENCHMARK.name: module.BENCHMARK for module in _OPS}

if find_spec("diffusers"):  # a machine without it still measures the ops
    from .steps import against_diffusers, plan_building

    BENCHMARKS |= {module.BENCHMARK.name: module.BENCHMARK for module in (against_diffusers, plan_building)}
