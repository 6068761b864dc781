"""Where a result was measured: without this a number means nothing."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import torch

import genie_ext
from genie_ext._dispatch import native_module, resolve

__all__ = ["ISAS", "describe_machine", "describe_versions", "isa"]

ISAS = ("baseline", "avx2", "avx512")  # rising; the first has no wide vectors


def describe_machine(device: str) -> dict[str, object]:
    """CPU, threads, instruction set, backend, GPU, and how busy the machine was at the start."""
    where = torch.device(device)
    return {
        "cpu": _cpu_name(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "isa": isa(),
        "backend": resolve("fused_step", where)[0],
        "gpu": torch.cuda.get_device_name(where) if where.type == "cuda" else None,
        "load_average": [round(v, 2) for v in os.getloadavg()],
    }


def describe_versions() -> dict[str, str]:
    names = ("torch", "diffusers", "triton", "numpy")
    installed = {name: version for name in names if (version := _version(name))}
    return {"genie-ext": genie_ext.__version__, "python": platform.python_version(), **installed}


def isa() -> str | None:
    """The instruction set of the native core, None where it is not built."""
    module = native_module()
    return None if module is None else module.isa()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
