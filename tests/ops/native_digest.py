"""Prints what the cpu backend computes as JSON; test_native_cpu.py runs it in its own processes.

python native_digest.py THREADS [flush]: with flush, the whole process flushes subnormals to zero.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Literal

import torch
from torch import Tensor

import genie_ext
from genie_ext import _C
from genie_ext.testing import LossCase, StepCase, run_loss, run_step

F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
# normal inputs and coefficients, which a flushing process can make, and a subnormal result
SUBNORMAL = (("p1", 0.0), ("Q1.1", 1e-20), ("W0.x", 0.0), ("W0.y1", 1e-19))
STEPS = {
    "many_terms": StepCase(history=16, outputs=(F32,) * 8, converted=2, draws=(3, F32), length=30011),
    "float64": StepCase(state=F64, outputs=(F32, F64), draws=(1,), aux=True, aux_out=True, length=20011),
    "narrow": StepCase(state=BF16, outputs=(F16, BF16), x_in=F16, clamped=True, length=30011),
    "subnormal": StepCase(outputs=(F32,), length=30011, coefficients=SUBNORMAL),
}


LOSSES = {
    "loss": LossCase(shape=(3, 2, 5001)),
    "loss_float64": LossCase(F64, F32, shape=(3, 1, 4001)),
    "loss_narrow": LossCase(BF16, F16, shape=(3, 2, 5001)),
    "loss_subnormal": LossCase(shape=(3, 2, 5001), scale=1e-20),
}


def md5(tensors: list[Tensor]) -> str:
    return hashlib.md5(b"".join(t.contiguous().view(torch.uint8).numpy().tobytes() for t in tensors)).hexdigest()


def filtered(dtype: torch.dtype, transform: Literal["dct", "dft"], backend: str, scale: float = 1.0) -> Tensor:
    """Odd sizes, a block of changed frequencies, and normals that are drawn by the kernel."""
    line = torch.minimum(torch.arange(37), 37 - torch.arange(37))
    frequency = torch.where(torch.arange(37)[:, None] + torch.arange(29)[None, :] > 50, 0.75, 1.0)
    if transform == "dft":
        frequency = torch.where(line > 9, 0.75, 1.0)[:, None].expand(37, 29)
    space = torch.linspace(0.5, 1.5, 37 * 29).view(37, 29) * scale
    filter_ = genie_ext.SpectralFilter(frequency, space, transform=transform, dtype=dtype, backend=backend)
    noise = genie_ext.Noise(torch.tensor([5]), torch.arange(5), 11)
    return filter_.fill(torch.empty(5, 3, 37, 29, dtype=dtype), noise=noise, draw=3)


def squares(backend: str) -> Tensor:
    x = genie_ext.normal_fill(
        torch.empty(3, 30011), noise=genie_ext.Noise(torch.tensor([5]), torch.arange(3)), backend=backend
    )
    return genie_ext.sum_of_squares(x * 1e-20, backend=backend)


def digests(backend: str) -> dict[str, str]:
    noise = genie_ext.Noise(torch.tensor([5]), torch.tensor([7]), 11)
    normals = genie_ext.normal_fill(torch.empty(1, 2**20), noise=noise, draw=3, backend=backend)
    steps = {name: md5(list(run_step(case, backend).values())) for name, case in STEPS.items()}
    losses = {name: md5(list(run_loss(case, backend).values())) for name, case in LOSSES.items()}
    filters = {f"filter_{t}_{d}": md5([filtered(d, t, backend)]) for t in ("dct", "dft") for d in (F32, F64)}
    filters["filter_subnormal"] = md5([filtered(F32, "dct", backend, 1e-37)])
    sums = {"squares": md5([squares(backend)])}
    return {"normals": md5([normals]), **steps, **losses, **filters, **sums}


def main() -> None:
    threads, *flush = sys.argv[1:]
    torch.set_flush_denormal(bool(flush))  # before any thread is started: they inherit the mode
    torch.set_num_threads(int(threads))
    print(json.dumps({"isa": _C.isa(), "digests": digests("cpu")}))


if __name__ == "__main__":
    main()
