"""spectral_filter in plain torch: the definition. In matrix products all is rounded once, in order."""

from __future__ import annotations

from torch import Tensor

from ..normal_fill.reference import normals
from ..rounding import round_to
from . import fft
from .contract import SpectralFilterCall
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
    if call.gain is not None:
        if parts.products is None:
            image = _by_fft(image, call.gain, parts, differentiable)
        else:
            image = _by_products(image, call.gain, parts.products, parts.skip_forward)
    # 8 space
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


def _by_products(image: Tensor, gain: Tensor, products: Products, skip_forward: bool) -> Tensor:
    block = image
    if not skip_forward:
        # 2 rows
        wide = _product(products.rows, image)
        # 3 columns
        block = _product(wide, products.columns_transposed)
    # 4 gain
    block = gain * block
    # 5 rows
    tall = _product(products.rows_transposed, block)
    # 6 columns
    result = _product(tall, products.columns)
    # 7 keep
    return image + result if products.keeps else result


def _product(left: Tensor, right: Tensor) -> Tensor:
    """The matrix product whose sums run over ascending k, beginning at zero."""
    total = left[..., :, :1] * right[..., :1, :] + 0.0
    for k in range(1, left.shape[-1]):
        total = total + left[..., :, k, None] * right[..., k, None, :]
    return total
