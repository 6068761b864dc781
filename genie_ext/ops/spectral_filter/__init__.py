"""spectral_filter: per channel, frequencies of an image times given factors."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._checks import check_optional_tensor, check_same_device, check_tensor
from .contract import check_image, compute_dtype
from .filters import SpectralFilter, Transform

__all__ = ["SpectralFilter", "spectral_filter"]


def spectral_filter(
    z: Tensor,
    frequency: Tensor,
    space: Tensor | None = None,
    *,
    transform: Transform = "dct",
    adjoint: bool = False,
    out: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """T^-1[R . T[A . z]] per channel, or with ``adjoint`` its transpose A . T^-1[R . T[z]].

    What :class:`SpectralFilter` does with z, prepared anew in each call: make one where the same filter runs again.

    z: [B, H, W] or [B, C, H, W], any float dtype (16 bits are widened to float32 and rounded once), each sample dense
        in row-major order. frequency: R, [H, W] or [C, H, W]; space: A, likewise, or None for ones; any float dtype,
        positive and finite, on z's device. transform: "dct" or "dft". out: like z, which it may be, or None to
        allocate; returned.

    Differentiable by z. Raises ValueError or TypeError naming the argument.
    """
    check_tensor("z", z)
    check_tensor("frequency", frequency)
    check_optional_tensor("space", space)
    check_optional_tensor("out", out)
    if torch.compiler.is_compiling():
        target = torch.empty_like(z, memory_format=torch.contiguous_format) if out is None else out
        torch.ops.genie_ext.spectral_filter(z, frequency, space, transform, False, None, 0, adjoint, target, backend)
        return target
    check_image("z", z)
    check_same_device("frequency", frequency, z.device, "z")
    if space is not None:
        check_same_device("space", space, z.device, "z")
    if frequency.ndim == 4:
        raise ValueError(
            f"frequency: shape {tuple(frequency.shape)} is that of a bank; pass one filter [H, W] or [C, H, W], or "
            "make a genie_ext.SpectralFilter of the bank"
        )
    filter_ = SpectralFilter(
        frequency, space, transform=transform, dtype=compute_dtype(z), device=z.device, backend=backend
    )
    return filter_(z, out, adjoint=adjoint)
