"""The call that every backend of ``spectral_filter`` receives, and its checks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..._checks import (
    check_apart,
    check_dense_samples,
    check_float,
    check_like,
    check_memory,
    check_same_device,
    check_word,
)
from ..noise import Noise, check_noise
from .parts import Parts

__all__ = ["SpectralFilterCall", "check", "check_filter", "check_image", "compute_dtype"]

TRANSFORMS = ("dct", "dft")


@dataclass(slots=True)
class SpectralFilterCall:
    """out = T^-1[R . T[A . z]] with filter number ``index`` of ``parts``; adjoint: A . T^-1[R . T[z]].

    z [B, H, W] or [B, C, H, W], or None for draw number ``draw`` of ``noise`` in the compute dtype. out is of z's shape
    and dtype (or any float dtype for a draw), and may be exactly z.
    """

    z: Tensor | None
    parts: Parts
    index: int
    adjoint: bool
    noise: Noise | None
    draw: int
    out: Tensor

    @property
    def gains(self) -> tuple[Tensor, ...] | None:
        return self.parts.gains[self.index]

    @property
    def space_last(self) -> bool:
        """Whether A multiplies the result."""
        return self.adjoint or self.parts.skip_forward


def compute_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def check(call: SpectralFilterCall) -> None:
    if call.z is None:
        _check_image("out", call.out, call.parts)
        if call.noise is not None:
            check_noise(call.noise, call.out)
        check_word("draw", call.draw)
    else:
        _check_image("z", call.z, call.parts)
        check_like("out", call.out, call.z, call.z.dtype, "z")
    read = [("z", call.z), ("space", call.parts.space)]
    if call.noise is not None:
        read += [("noise.seed", call.noise.seed), ("noise.sample_ids", call.noise.sample_ids)]
    check_apart([("out", call.out)], read, in_place="z", exceptions="; out may be exactly z")
    if not 0 <= call.index < len(call.parts.gains):
        raise ValueError(
            f"index: {call.index}; this bank has {len(call.parts.gains)} filters, numbered 0 to "
            f"{len(call.parts.gains) - 1}"
        )
    if call.adjoint and call.parts.skip_forward:
        raise ValueError(
            "adjoint: with skip_forward z lies in the transform's plane, and the adjoint leads there; build the filter "
            "without skip_forward"
        )


def check_image(name: str, image: Tensor) -> None:
    """What its compute dtype and its device are asked of."""
    check_memory(name, image)
    check_float(name, image)


def _check_image(name: str, image: Tensor, parts: Parts) -> None:
    check_image(name, image)
    if image.ndim not in (3, 4) or image.shape[0] < 1 or tuple(image.shape[-2:]) != parts.size:
        height, width = parts.size
        raise ValueError(
            f"{name}: shape {tuple(image.shape)}; this filter of {height} x {width} needs [B, {height}, {width}] or "
            f"[B, C, {height}, {width}] with at least one sample"
        )
    channels = image.shape[1] if image.ndim == 4 else 1
    if parts.channels is not None and channels != parts.channels:
        raise ValueError(
            f"{name}: shape {tuple(image.shape)} has {channels} channels; this filter was given {parts.channels}"
        )
    check_same_device(name, image, parts.device, "the filter")
    check_dense_samples(name, image)
    if compute_dtype(image) != parts.dtype:
        raise TypeError(
            f"{name}: dtype {image.dtype}; this filter computes in {parts.dtype}: build it with "
            f"dtype={compute_dtype(image)}"
        )


def check_filter(frequency: Tensor, space: Tensor | None, transform: object, skip_forward: bool) -> None:
    """What a filter is built from: shapes, positive and finite values; gains of a bank may be 0."""
    if transform not in TRANSFORMS:
        raise ValueError(f"transform={transform!r}; choose 'dct' or 'dft'")
    _check_values("frequency", frequency, zero=frequency.ndim == 4)
    if frequency.ndim not in (2, 3, 4) or 0 in frequency.shape:
        raise ValueError(
            f"frequency: shape {tuple(frequency.shape)}; pass [H, W], [C, H, W] or a bank [n, C, H, W], "
            "where C may be 1"
        )
    if space is None:
        return
    _check_values("space", space, zero=False)
    channels = frequency.shape[-3] if frequency.ndim > 2 else 1
    same = space.ndim in (2, 3) and space.shape[-2:] == frequency.shape[-2:]
    if not same or (space.ndim == 3 and 1 not in (channels, space.shape[0]) and space.shape[0] != channels):
        raise ValueError(
            f"space: shape {tuple(space.shape)} for a frequency of shape {tuple(frequency.shape)}; pass [H, W] or "
            "[C, H, W] of the same sizes"
        )
    if skip_forward and bool((space != space[..., :1, :1]).any()):
        raise ValueError(
            "space: varies within a channel, so the transform of A . z is not white and may not be skipped; pass a "
            "space that is constant per channel, or skip_forward=False"
        )


def _check_values(name: str, values: Tensor, *, zero: bool) -> None:
    check_memory(name, values)
    check_float(name, values)
    if values.requires_grad:
        raise ValueError(f"{name}: requires grad, and a filter is constant; pass .detach()")
    if values.is_meta:
        raise ValueError(f"{name}: on meta, where it has no values; pass a tensor that holds its values")
    wrong = ~(values.isfinite() & ((values >= 0) if zero else (values > 0)))
    if bool(wrong.any()):
        where = tuple(wrong.nonzero()[0].tolist())
        need = "finite and 0 or more" if zero else "positive and finite; a bank [n, C, H, W] of gains may hold 0"
        raise ValueError(f"{name}: {values[where].item()} at {where}; every value must be {need}")
