"""From a filter's numbers to what a kernel reads: the method, and its matrices or its gains, made once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .matrices import transform_matrix
from .methods import LARGEST_BLOCK, MULTIPLICATIONS, multiplications

__all__ = ["Parts", "Products", "make_parts"]

_PAD_BYTES = 64  # kSpectralPad of csrc/spectral_filter/spectral_filter.h


@dataclass(frozen=True, slots=True)
class Products:
    """T restricted to the block of frequencies that is changed: m_h rows and m_w columns of the plane.

    rows [m_h, H], columns [m_w, W] and their transposes; rows of what is read as vectors are padded with zeros, the
    padding being hidden by a view: columns, columns_transposed, and the gains. keeps: the gains are R - 1 and the image
    is added; else the block is everything and the gains are R.
    """

    rows: Tensor
    rows_transposed: Tensor
    columns: Tensor
    columns_transposed: Tensor
    keeps: bool


@dataclass(frozen=True, slots=True)
class Parts:
    """A bank of n filters on one device, in one compute dtype.

    gains: per filter [1 or C, m_h, m_w] of ``products``, or R for the FFT, [1 or C, H, W] or half
    of it for a real one, or None where R = 1.
    space: [1 or C, H, W], or None where A = 1. products: None where the FFT is the method.
    mirrored: for "dft", whether R is even in each axis by itself, so that the separable Hartley transform serves.
    """

    transform: str
    size: tuple[int, int]
    channels: int | None
    skip_forward: bool
    mirrored: bool
    dtype: torch.dtype
    device: torch.device
    space: Tensor | None
    gains: tuple[Tensor | None, ...]
    products: Products | None


def make_parts(
    frequency: Tensor,
    space: Tensor | None,
    *,
    transform: str,
    skip_forward: bool,
    method: str | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Parts:
    """frequency: float64 [n, 1 or C, H, W] on the CPU; space: float64 [1 or C, H, W] on the CPU or None."""
    _, channels, height, width = frequency.shape
    if space is not None and bool((space == 1).all()):
        space = None
    if space is not None:
        channels = max(channels, space.shape[0])
    mirrored = True
    if transform == "dft":
        frequency = (frequency + _reversed(frequency, (-2, -1))) / 2  # exact where R is point-symmetric already
        mirrored = all(torch.equal(frequency, _reversed(frequency, (axis,))) for axis in (-2, -1))
    changed = [not bool((filter_ == 1).all()) for filter_ in frequency]
    block, keeps = _block(frequency, skip_forward)
    products = None
    if _takes_products(transform, method, (height, width), block, skip_forward, mirrored, device):
        products = _products(transform, (height, width), block, keeps, dtype, device)
        gains = frequency[..., block[0][:, None], block[1]] - float(keeps)
    elif transform == "dft" and not skip_forward:
        gains = frequency[..., : width // 2 + 1]  # of a real image the other half of the plane is the conjugate
    else:
        gains = frequency
    return Parts(
        transform=transform,
        size=(height, width),
        channels=channels if channels > 1 else None,
        skip_forward=skip_forward,
        mirrored=mirrored,
        dtype=dtype,
        device=device,
        space=None if space is None else space.to(device, dtype).contiguous(),
        gains=tuple(_padded(g, dtype, device) if c else None for g, c in zip(gains, changed, strict=True)),
        products=products,
    )


def _takes_products(
    transform: str,
    method: str | None,
    size: tuple[int, int],
    block: tuple[Tensor, Tensor],
    skip_forward: bool,
    mirrored: bool,
    device: torch.device,
) -> bool:
    if method == "fft":
        return False
    possible = device.type == "cpu" and mirrored
    if method == "products" and not possible:
        cause = "R is not even in each axis" if not mirrored else f"on {device.type} there is no kernel of it"
        raise ValueError(f"method='products': {cause}; choose 'fft' or None")
    count = multiplications(*size, (len(block[0]), len(block[1])), forward=not skip_forward)
    return possible and (method == "products" or count <= MULTIPLICATIONS[transform])


def _reversed(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Index k becomes -k modulo n along each axis."""
    return values.flip(axes).roll([1] * len(axes), axes)


def _block(frequency: Tensor, skip_forward: bool) -> tuple[tuple[Tensor, Tensor], bool]:
    """Rows and columns outside of which every filter is 1, and whether they are few enough to keep the rest."""
    height, width = frequency.shape[-2:]
    changed = (frequency != 1).flatten(0, 1).any(0)
    rows, columns = changed.any(1).nonzero()[:, 0], changed.any(0).nonzero()[:, 0]
    if not skip_forward and 0 < len(rows) * len(columns) <= LARGEST_BLOCK * height * width:
        return (rows, columns), True
    return (torch.arange(height), torch.arange(width)), False


def _products(
    transform: str,
    size: tuple[int, int],
    block: tuple[Tensor, Tensor],
    keeps: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> Products:
    rows, columns = (transform_matrix(transform, n)[which] for n, which in zip(size, block, strict=True))
    return Products(
        rows=rows.to(device, dtype).contiguous(),
        rows_transposed=rows.T.to(device, dtype).contiguous(),
        columns=_padded(columns, dtype, device),
        columns_transposed=_padded(columns.T, dtype, device),
        keeps=keeps,
    )


def _padded(values: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A view of a copy whose rows are padded with zeros to whole vectors of the widest kind."""
    values = values.to(device, dtype)
    padding = -values.shape[-1] % (_PAD_BYTES // values.element_size())
    return torch.nn.functional.pad(values, (0, padding)).contiguous()[..., : values.shape[-1]]
