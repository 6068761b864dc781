"""Reductions that gains name: from tensors [b, ...] to numbers of each sample, on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

__all__ = ["REDUCTIONS", "Reduction", "langevin_snr", "langevin_snr_coupled", "sum_of_squares"]

Reduction = Callable[[Sequence[Tensor], Sequence[float]], Tensor]
"""``reduction(sources, parameters)``: [b, columns], a number for each column that the gain writes, per sample.

sources: [b, ...], not to be written. Nothing that waits for the device.
"""


def sum_of_squares(x: Tensor) -> Tensor:
    """The sum of squares of each sample, float64 [b] from [b, ...]: halves are added pairwise, always in one order."""
    squares = x.flatten(1).to(torch.float64).square()
    return _pairwise(squares)


def langevin_snr(sources: Sequence[Tensor], parameters: Sequence[float]) -> Tensor:
    """Langevin steps by their signal-to-noise ratio, of each sample on its own: (-e / sigma, sqrt(2 e)).

        e = 2 a (r |z| / |s|)^2,  s = -epsilon / sigma

    sources: epsilon and the noise z. parameters: a, r, sigma. Song et al., arXiv 2011.13456, whose code takes means
    over the batch: :func:`langevin_snr_coupled`.
    """
    epsilon, z = map(sum_of_squares, sources)
    return _langevin_columns(z / epsilon, parameters)


def langevin_snr_coupled(sources: Sequence[Tensor], parameters: Sequence[float]) -> Tensor:
    """As :func:`langevin_snr` with the means of |z| and of |s| over the batch, as published: one step for all."""
    epsilon, z = (_pairwise(sum_of_squares(source).sqrt()[None]) for source in sources)
    return _langevin_columns((z / epsilon).square().expand(len(sources[0])), parameters)


def _langevin_columns(ratio: Tensor, parameters: Sequence[float]) -> Tensor:
    a, snr, sigma = parameters
    step = ratio * (2.0 * a * (snr * sigma) ** 2)
    return torch.stack([-step / sigma, (2.0 * step).sqrt()], dim=1)


def _pairwise(values: Tensor) -> Tensor:
    """Sums over the last dimension, [..., n] to [...]: halves are added, an odd last term to the first, to the end."""
    while (count := values.shape[-1]) > 1:
        half = count // 2
        sums = values[..., :half] + values[..., half : 2 * half]
        if count % 2:
            sums[..., 0] += values[..., -1]
        values = sums
    return values[..., 0]


REDUCTIONS: Mapping[str, Reduction] = MappingProxyType(
    {"langevin_snr": langevin_snr, "langevin_snr_coupled": langevin_snr_coupled}
)
"""Those that a run need not be given."""
