"""spectral_filter in plain torch: the definition. In matrix products all is rounded once, in order."""

from __future__ import annotations

import torch
from torch import Tensor

from ..normal_fill.reference import normals
from ..rounding import round_to
from . import fft
from .contract import SpectralFilterCall
from .folding import Fold, fold, unfold
from .parts import Parts, Products

__all__ = ["filtered", "run"]


def run(call: SpectralFilterCall) -> None:
    call.out.copy_(filtered(call))


def filtered(call: SpectralFilterCall, *, differentiable: bool = False) -> Tensor:
    """What the call writes, in out's dtype; differentiable by z in both modes."""
    parts, shape = call.parts, call.out.shape
    image = _source(call).to(parts.dtype).reshape(shape[0], -1, *shape[-2:])
    # 1 space
    if parts.space is not None and not call.space_last:
        image = parts.space * image
    if call.gains is not None:
        if parts.products is None:
            image = _by_fft(image, call.gains[0], parts, differentiable)
        else:
            image = _by_products(image, call.gains, parts.products, parts)
    # 10 space
    if parts.space is not None and call.space_last:
        image = parts.space * image
    return round_to(image.reshape(shape), call.out.dtype)


def _source(call: SpectralFilterCall) -> Tensor:
    if call.z is not None:
        return call.z
    noise = call.noise
    if noise is None:
        raise ValueError("noise: missing; a call without z draws its own")
    return normals(noise.seed, noise.sample_ids, call.draw, noise.stream, call.out[0].numel())


def _by_fft(image: Tensor, gain: Tensor, parts: Parts, differentiable: bool) -> Tensor:
    if differentiable or parts.device.type != "cpu":
        return fft.filtered(image, gain, parts)
    image = image.clone()
    fft.filter_in_place(image, gain, parts)
    return image


def _by_products(image: Tensor, gains: tuple[Tensor, ...], products: Products, parts: Parts) -> Tensor:
    wrapped = parts.transform == "dft"
    by_rows, by_columns = (Fold.of(n, wrapped=wrapped) for n in parts.size)
    # 2 fold
    if parts.skip_forward and not wrapped:
        folded = [image[..., p::2, q::2] for p in (0, 1) for q in (0, 1)]  # even and odd frequencies alternate
    else:
        folded = [part for rows in fold(image, -2, by_rows) for part in fold(rows, -1, by_columns)]
    back: list[Tensor] = []
    for number, (part, gain) in enumerate(zip(folded, gains, strict=True)):
        rows, columns = products.rows[number // 2], products.columns[number % 2]
        block = part
        if not parts.skip_forward:
            # 3 rows
            wide = _product(rows.matrix, part)
            # 4 columns
            block = _product(wide, columns.transposed)
        # 5 gain
        block = gain * block
        # 6 rows
        tall = _product(rows.transposed, block)
        # 7 columns
        back.append(_product(tall, columns.matrix))
    # 8 unfold
    even, odd = (unfold(back[p], back[p + 1], -1, by_columns) for p in (0, 2))
    result = unfold(even, odd, -2, by_rows)
    # 9 keep
    return image + result if products.keeps else result


def _product(left: Tensor, right: Tensor) -> Tensor:
    """The matrix product whose sums run over ascending k, beginning at zero."""
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    total = right.new_zeros((*batch, left.shape[-2], right.shape[-1]))
    for k in range(left.shape[-1]):
        total = total + left[..., :, k, None] * right[..., k, None, :]
    return total
