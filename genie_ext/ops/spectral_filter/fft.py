"""Large filters by a library's FFT: scipy's or else numpy's, and torch's on a GPU and for gradients.

scipy and numpy transform each line of an image by itself, so its bits depend neither on the batch nor on the threads.
What torch calls on the CPU promises no such thing: the bits of a small image change with its threads.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .parts import Parts

__all__ = ["filter_in_place", "filtered"]

_PLANE = (-2, -1)
_AT_ONCE = 2**16  # elements
LineTransform = Callable[[Tensor], Tensor]  # the complex FFT of the last axis


def filtered(y: Tensor, gain: Tensor, parts: Parts) -> Tensor:
    """By torch, differentiable: T^-1[R . T[y]] for y [B, C, H, W] of the compute dtype, or T^-1[R . y]."""
    if parts.transform == "dct":
        return _dct_filtered(y, gain, torch.fft.fft, forward=not parts.skip_forward)
    if parts.skip_forward:
        return _hartley(torch.fft.fft2(gain * y, norm="ortho"), parts.mirrored)
    return torch.fft.irfft2(torch.fft.rfft2(y) * gain, s=parts.size)


def filter_in_place(y: Tensor, gain: Tensor, parts: Parts) -> None:
    """The same on the CPU, of y [B, C, H, W], dense within a sample, a few samples at a time that stay in the cache."""
    library = _scipy_fft()
    gains = gain.numpy()
    for some in y.split(max(1, _AT_ONCE // y[0].numel())):
        image = some.numpy()
        if parts.transform == "dft":
            result = _dft_by(library, image, gains, parts)
        elif library is None:
            result = _dct_filtered(some, gain, _numpy_lines, forward=not parts.skip_forward).numpy()
        else:
            result = _dct_by(library, image, gains, forward=not parts.skip_forward)
        if not np.may_share_memory(result, image):
            np.copyto(image, result)


@cache
def _scipy_fft() -> ModuleType | None:
    try:
        return importlib.import_module("scipy.fft")
    except ImportError:
        return None


def _dct_by(library: ModuleType, image: Any, gains: Any, *, forward: bool) -> Any:
    options: dict[str, Any] = {"axes": _PLANE, "norm": "ortho", "workers": torch.get_num_threads(), "overwrite_x": True}
    plane = library.dctn(image, **options) if forward else image
    return library.idctn(np.multiply(plane, gains, out=plane), **options)


def _dft_by(library: ModuleType | None, image: Any, gains: Any, parts: Parts) -> Any:
    """Half of the plane is enough: R is point-symmetric, so the inverse is real."""
    options: dict[str, Any] = {"workers": torch.get_num_threads()} if library else {}
    fft: Any = library or np.fft
    if parts.skip_forward:
        spectrum = torch.from_numpy(fft.fft2(gains * image, norm="ortho", **options))
        return _hartley(spectrum, parts.mirrored).numpy()
    half = fft.rfft2(image, **options)
    return fft.irfft2(np.multiply(half, gains, out=half), s=parts.size, **options)


def _numpy_lines(values: Tensor) -> Tensor:
    return torch.from_numpy(np.fft.fft(values.numpy())).to(values.dtype.to_complex())


def _hartley(spectrum: Tensor, mirrored: bool) -> Tensor:
    """The inverse of the Hartley transform in two dimensions, Re F - Im F, which is its own inverse.

    Where R is even in each axis, of the separable one, as the matrix products have it: half the sum of the four
    reflections, that in both axes subtracted.
    """
    image = spectrum.real - spectrum.imag
    if not mirrored:
        return image
    upside, across = (image.flip(axis).roll(1, axis) for axis in _PLANE)
    return ((image + upside) + (across - across.flip(-2).roll(1, -2))) / 2


def _dct_filtered(y: Tensor, gain: Tensor, lines: LineTransform, *, forward: bool) -> Tensor:
    plane = _dct(_dct(y, -1, lines), -2, lines) if forward else y
    return _idct(_idct(gain * plane, -2, lines), -1, lines)


def _dct(y: Tensor, axis: int, lines: LineTransform) -> Tensor:
    """Orthonormal DCT-II along an axis: the FFT of the even samples followed by the odd ones in reverse."""
    y = y.movedim(axis, -1)
    spectrum = lines(torch.cat([y[..., ::2], y[..., 1::2].flip(-1)], -1))
    return (spectrum * _twiddle(y)).real.movedim(-1, axis)


def _idct(plane: Tensor, axis: int, lines: LineTransform) -> Tensor:
    """The transpose of ``_dct``, which is its inverse."""
    plane = plane.movedim(axis, -1)
    values = lines(plane * _twiddle(plane)).real
    n = values.shape[-1]
    order = torch.arange(n, device=values.device)
    # where sample m of the image is: even ones first, then odd ones in reverse
    return values[..., torch.where(order % 2 == 0, order // 2, n - 1 - order // 2)].movedim(-1, axis)


def _twiddle(like: Tensor) -> Tensor:
    """s_k exp(-i pi k / (2 n)), complex of like's precision."""
    n = like.shape[-1]
    scale = torch.full((n,), math.sqrt(2.0 / n), dtype=torch.float64)
    scale[0] = math.sqrt(1.0 / n)
    angles = torch.arange(n, dtype=torch.float64) * (-math.pi / (2 * n))
    return torch.polar(scale, angles).to(like.device, like.dtype.to_complex())
