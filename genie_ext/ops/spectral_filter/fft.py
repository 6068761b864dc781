"""Large filters by the FFT of a library: scipy's DCT where scipy is installed, else torch.

Each line of an image is transformed by itself, so an image's bits depend neither on the batch nor on the threads.
"""

from __future__ import annotations

import importlib
import math
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .parts import Parts

__all__ = ["filtered"]

_PLANE = (-2, -1)


def filtered(y: Tensor, gain: Tensor, parts: Parts, *, differentiable: bool = False) -> Tensor:
    """T^-1[R . T[y]] for y [B, C, H, W] of the compute dtype; with skip_forward T^-1[R . y]."""
    if parts.transform == "dft":
        return _dft_inverse(gain * y, parts.mirrored) if parts.skip_forward else _dft_filtered(y, gain)
    scipy_fft = None if differentiable or y.device.type != "cpu" else _scipy_fft()
    if scipy_fft is None:
        return _idct(_idct((gain * (y if parts.skip_forward else _dct(_dct(y, -1), -2))), -2), -1)
    options: dict[str, Any] = {"axes": _PLANE, "norm": "ortho", "workers": torch.get_num_threads()}
    plane = y if parts.skip_forward else torch.from_numpy(scipy_fft.dctn(y.numpy(), **options))
    return torch.from_numpy(scipy_fft.idctn((gain * plane).numpy(), overwrite_x=True, **options))


@cache
def _scipy_fft() -> ModuleType | None:
    try:
        return importlib.import_module("scipy.fft")
    except ImportError:
        return None


def _dft_filtered(y: Tensor, gain: Tensor) -> Tensor:
    """R is point-symmetric, so the inverse is real and half of the plane is enough."""
    half = torch.fft.rfft2(y)
    half = half * gain[..., : half.shape[-1]]
    return torch.fft.irfft2(half, s=y.shape[-2:])


def _dft_inverse(plane: Tensor, mirrored: bool) -> Tensor:
    """The inverse of the Hartley transform in two dimensions, Re F - Im F, which is its own inverse.

    Where R is even in each axis, of the separable one, as the matrix products have it: half the sum of the four
    reflections, that in both axes subtracted.
    """
    spectrum = torch.fft.fft2(plane, norm="ortho")
    image = spectrum.real - spectrum.imag
    if not mirrored:
        return image
    upside, across = (image.flip(axis).roll(1, axis) for axis in _PLANE)
    return ((image + upside) + (across - across.flip(-2).roll(1, -2))) / 2


def _dct(y: Tensor, axis: int) -> Tensor:
    """Orthonormal DCT-II along an axis: the FFT of the even samples followed by the odd ones in reverse."""
    y = y.movedim(axis, -1)
    n = y.shape[-1]
    spectrum = torch.fft.fft(torch.cat([y[..., ::2], y[..., 1::2].flip(-1)], -1))
    return (spectrum * _twiddle(n, -1.0, y)).real.movedim(-1, axis)


def _idct(plane: Tensor, axis: int) -> Tensor:
    """The transpose of ``_dct``, which is its inverse."""
    plane = plane.movedim(axis, -1)
    n = plane.shape[-1]
    spectrum = torch.fft.fft(plane * _twiddle(n, -1.0, plane)).real
    even = (n + 1) // 2
    image = torch.empty_like(spectrum)
    image[..., ::2] = spectrum[..., :even]
    image[..., 1::2] = spectrum[..., even:].flip(-1)
    return image.movedim(-1, axis)


def _twiddle(n: int, sign: float, like: Tensor) -> Tensor:
    """s_k exp(sign i pi k / (2 n)), complex of like's precision."""
    k = torch.arange(n, dtype=torch.float64)
    scale = torch.full((n,), math.sqrt(2.0 / n), dtype=torch.float64)
    scale[0] = math.sqrt(1.0 / n)
    twiddle = torch.polar(scale, sign * math.pi / (2 * n) * k)
    return twiddle.to(like.device, torch.complex128 if like.dtype == torch.float64 else torch.complex64)
