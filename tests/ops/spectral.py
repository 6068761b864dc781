"""Filters of the tests of spectral_filter, and what they give by other libraries in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from genie_ext import Noise

F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16


def zones(height: int, width: int, transform: str) -> Tensor:
    """R = 1 at low frequencies, 0.9 and 0.7 in the corner (of the wrapped plane for "dft"): most of R is 1."""
    h, w = (torch.arange(n, dtype=F64) / n for n in (height, width))
    inner, outer = 0.781, 0.862
    if transform == "dft":
        h, w = torch.minimum(h, (1 - h) % 1), torch.minimum(w, (1 - w) % 1)
        inner, outer = 0.4, 0.455
    radius = ((h[:, None] ** 2 + w[None, :] ** 2) / 2).sqrt()
    return torch.where(radius <= inner, 1.0, torch.where(radius <= outer, 0.9, 0.7))


def mirrored(height: int, width: int) -> Tensor:
    """R other than 1 everywhere, even in each axis of the wrapped plane."""
    h, w = (torch.arange(n, dtype=F64).minimum(n - torch.arange(n, dtype=F64)) / n for n in (height, width))
    return 0.9 + h[:, None] + 0.7 * w[None, :] ** 2


def scattered(*shape: int, seed: int = 1) -> Tensor:
    """Positive numbers without any symmetry."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64) + 0.25


def white(*shape: int, dtype: torch.dtype = F64, seed: int = 2) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64).to(dtype)


def noise(batch: int) -> Noise:
    return Noise(torch.tensor([5]), torch.arange(7, 7 + batch), 3)


def expected(z: Tensor, frequency: Tensor, space: Tensor | float, transform: str) -> Tensor:
    """T^-1[R . T[A . z]] in float64, by scipy's DCT or torch's complex FFT."""
    y = space * z.double()
    if transform == "dft":
        return torch.fft.ifft2(frequency * torch.fft.fft2(y)).real
    from scipy import fft

    plane = frequency.numpy() * fft.dctn(y.numpy(), axes=(-2, -1), norm="ortho")
    return torch.from_numpy(fft.idctn(plane, axes=(-2, -1), norm="ortho"))


def rounding(dtype: torch.dtype, size: tuple[int, int], largest: float) -> float:
    """Bound of |error| / |A z| in the Euclidean norm, of filters whose R is at most ``largest``.

    A sum of n products of rounded factors is off by at most (n + 2) u times the sum of their absolute values; |P| has
    the norm sqrt(n) at most, and there are two such products per axis. An FFT of n points is far below that.
    """
    u = torch.finfo(dtype).eps / 2
    return sum(2 * (n + 4) * n**0.5 for n in size) * u * (1 + largest)
