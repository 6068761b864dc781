"""normal_fill against torch.randn, both into a tensor that is there already."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from genie_ext import Noise, normal_fill

from ..case import Benchmark, Case, Competitor, Settings

__all__ = ["BENCHMARK"]

_SAMPLES = (1, 64)
_THREADS = (1, 2)
_PREFIX = 4096  # elements compared with the reference, which is slow
_SIGMAS = 6.0  # by chance one in 5e8 runs lies beyond


def _cases(settings: Settings) -> Iterator[Case]:
    threads = _THREADS if settings.device == "cpu" else (None,)
    for count in settings.normals:
        for samples in _SAMPLES:
            for n in threads:
                yield _case(count, samples, n, settings.device)


def _case(count: int, samples: int, threads: int | None, device: str) -> Case:
    out = torch.empty(samples, count // samples, device=device)
    noise = Noise(torch.tensor([5], device=device), torch.arange(samples, device=device))
    randn = partial(torch.randn, *out.shape, out=torch.empty_like(out))
    competitors = [
        Competitor("normal_fill", partial(normal_fill, out, noise=noise)),
        Competitor("torch.randn", randn),
    ]
    return Case(
        f"{samples} x {count // samples}",
        competitors,
        partial(_disagreement, out, noise, randn),
        bytes=out.numel() * out.element_size(),
        threads=threads,
    )


def _disagreement(out: Tensor, noise: Noise, randn: partial[Tensor]) -> str | None:
    """Both are standard normals by their first two moments, ours also by the reference's bits."""
    normal_fill(out, noise=noise)
    prefix = torch.empty_like(out[:, : max(1, _PREFIX // len(out))])
    normal_fill(prefix, noise=noise, backend="reference")
    if not torch.equal(out[:, : prefix.shape[1]].view(torch.int32), prefix.view(torch.int32)):
        return "normal_fill: its bits differ from the reference's"
    for name, z in (("normal_fill", out.double()), ("torch.randn", randn().double())):
        mean, square = float(z.mean()), float(z.square().mean())
        if abs(mean) > _SIGMAS / math.sqrt(z.numel()):
            return f"{name}: mean {mean:.3g} of {z.numel()} normals"
        if abs(square - 1.0) > _SIGMAS * math.sqrt(2.0 / z.numel()):
            return f"{name}: mean square {square:.3g} of {z.numel()} normals"
    return None


BENCHMARK = Benchmark(
    "normal_fill",
    unit="fill",
    summary="standard normals into a given float32 tensor, against torch.randn(out=)",
    cases=_cases,
    every_isa=True,
)
