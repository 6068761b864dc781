"""From a filter's numbers to what a kernel reads: the method, and its matrices or its gains, made once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .matrices import frequencies, part_matrix
from .methods import LARGEST_BLOCK, MULTIPLICATIONS, multiplications

__all__ = ["Axis", "Parts", "Products", "make_parts"]

_PAD_BYTES = 64  # kSpectralPad of csrc/spectral_filter/spectral_filter.h


class Axis(NamedTuple):
    """The changed frequencies of one parity by the samples of that part, and the transpose."""

    matrix: Tensor
    transposed: Tensor


@dataclass(frozen=True, slots=True)
class Products:
    """The transform's rows of the frequencies that are changed, of the even and the odd part of each axis.

    Rows that are read as vectors, those of ``columns`` and of the gains, are padded with zeros, which a view hides.
    keeps: the gains are R - 1 and the image is added; else the gains are R and all frequencies are there.
    """

    rows: tuple[Axis, Axis]
    columns: tuple[Axis, Axis]
    keeps: bool


@dataclass(frozen=True, slots=True)
class Parts:
    """A bank of n filters on one device, in one compute dtype.

    gains: per filter None where R = 1, else one tensor for the FFT, R [1 or C, H, W] or half of it for a real one, and
    four for products, [1 or C, rows, columns] of each parity: even even, even odd, odd even, odd odd.
    space: [1 or C, H, W], or None where A = 1. products: None where the FFT is the method.
    mirrored: for "dft", whether R is even in each axis by itself, so that a separable transform serves.
    """

    transform: str
    size: tuple[int, int]
    channels: int | None
    skip_forward: bool
    mirrored: bool
    dtype: torch.dtype
    device: torch.device
    space: Tensor | None
    gains: tuple[tuple[Tensor, ...] | None, ...]
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
    block = _block(frequency, transform, skip_forward)
    products = None
    if _takes_products(method, block, device, mirrored=mirrored, forward=not skip_forward):
        products = block.products(dtype, device, normalized=not skip_forward)
        gains = [block.gains(filter_) for filter_ in frequency]
    elif transform == "dft" and not skip_forward:
        gains = [(half,) for half in frequency[..., : width // 2 + 1]]  # the other half is the conjugate
    else:
        gains = [(filter_,) for filter_ in frequency]
    unchanged = (frequency == 1).flatten(1).all(1).tolist()
    return Parts(
        transform=transform,
        size=(height, width),
        channels=channels if channels > 1 else None,
        skip_forward=skip_forward,
        mirrored=mirrored,
        dtype=dtype,
        device=device,
        space=None if space is None else space.to(device, dtype).contiguous(),
        gains=tuple(
            None if ones else tuple(_padded(gain, dtype, device) for gain in four)
            for ones, four in zip(unchanged, gains, strict=True)
        ),
        products=products,
    )


class _Block(NamedTuple):
    """Frequencies outside of which every filter is 1, by parity; keeps: they are few enough to keep the rest."""

    transform: str
    size: tuple[int, int]
    rows: tuple[Tensor, Tensor]
    columns: tuple[Tensor, Tensor]
    keeps: bool

    def gains(self, filter_: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            filter_[..., rows[:, None], columns] - float(self.keeps) for rows in self.rows for columns in self.columns
        )

    def products(self, dtype: torch.dtype, device: torch.device, *, normalized: bool) -> Products:
        def axis(n: int, parity: int, chosen: Tensor, padded: bool) -> Axis:
            matrix = part_matrix(self.transform, n, parity, normalized)
            matrix = matrix[torch.isin(frequencies(self.transform, n, parity), chosen)]
            if padded:
                return Axis(_padded(matrix, dtype, device), _padded(matrix.T, dtype, device))
            return Axis(matrix.to(device, dtype).contiguous(), matrix.T.to(device, dtype).contiguous())

        height, width = self.size
        return Products(
            rows=(axis(height, 0, self.rows[0], False), axis(height, 1, self.rows[1], False)),
            columns=(axis(width, 0, self.columns[0], True), axis(width, 1, self.columns[1], True)),
            keeps=self.keeps,
        )

    def multiplications(self, *, forward: bool) -> float:
        rows, columns = ((len(part[0]), len(part[1])) for part in (self.rows, self.columns))
        return multiplications(self.size, rows, columns, wrapped=self.transform == "dft", forward=forward)


def _block(frequency: Tensor, transform: str, skip_forward: bool) -> _Block:
    height, width = frequency.shape[-2:]
    changed = (frequency != 1).flatten(0, 1).any(0)
    rows, columns = changed.any(1), changed.any(0)
    keeps = not skip_forward and 0 < int(rows.sum()) * int(columns.sum()) <= LARGEST_BLOCK * height * width
    if not keeps:
        rows, columns = torch.ones_like(rows), torch.ones_like(columns)

    def by_parity(which: Tensor) -> tuple[Tensor, Tensor]:
        even, odd = (frequencies(transform, len(which), parity) for parity in (0, 1))
        return even[which[even]], odd[which[odd]]

    return _Block(transform, (height, width), by_parity(rows), by_parity(columns), keeps)


def _takes_products(method: str | None, block: _Block, device: torch.device, *, mirrored: bool, forward: bool) -> bool:
    if method == "fft":
        return False
    possible = device.type == "cpu" and mirrored
    if method == "products" and not possible:
        cause = "R is not even in each axis" if not mirrored else f"on {device.type} there is no kernel of it"
        raise ValueError(f"method='products': {cause}; choose 'fft' or None")
    few = block.multiplications(forward=forward) <= MULTIPLICATIONS[block.transform]
    return possible and (method == "products" or few)


def _reversed(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Index k becomes -k modulo n along each axis."""
    return values.flip(axes).roll([1] * len(axes), axes)


def _padded(values: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A view of a copy whose rows are padded with zeros to whole vectors of the widest kind."""
    values = values.to(device, dtype)
    padding = -values.shape[-1] % (_PAD_BYTES // values.element_size())
    return torch.nn.functional.pad(values, (0, padding)).contiguous()[..., : values.shape[-1]]
