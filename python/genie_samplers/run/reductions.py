"""Reductions that gains name: from tensors [b, ...] to numbers of each sample, on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from genie_ext import sum_of_squares

__all__ = ["REDUCTIONS", "Reduction", "langevin_snr", "langevin_snr_coupled"]

_ENOUGH = 64  # elements: steps by single norms then bias variances by 2 / 64 and less

Reduction = Callable[[Sequence[Tensor], Sequence[float]], Tensor]
"""``reduction(sources, parameters)``: [b, columns], a number for each column that the gain writes, per sample.

sources: [b, ...], not to be written. Nothing that waits for the device.
"""


def langevin_snr(sources: Sequence[Tensor], parameters: Sequence[float]) -> Tensor:
    """Langevin steps by their signal-to-noise ratio, of each sample on its own: (-e / sigma, sqrt(2 e)).

        e = 2 a (r |z| / |s|)^2,  s = -epsilon / sigma

    sources: epsilon and the noise z. parameters: a, r, sigma. Song et al., arXiv 2011.13456, whose code takes means
    over the batch: :func:`langevin_snr_coupled`. Of fewer than 64 elements the sums of squares are filled up to 64 with
    the 1 that each element of white noise, and of a prediction of it, has on average: what a few happen to have says
    little, |z|^2 / |s|^2 of two has no mean, and steps that follow the state bias its law (docs/langevin.md).
    """
    missing = max(0, _ENOUGH - sources[0].shape[1:].numel())
    epsilon, z = (sum_of_squares(source) + missing for source in sources)
    return _langevin_columns(z / epsilon, parameters)


def langevin_snr_coupled(sources: Sequence[Tensor], parameters: Sequence[float]) -> Tensor:
    """As :func:`langevin_snr` with the means of |z| and of |s| over the batch, as published: one step for all."""
    epsilon, z = (sum_of_squares(source).sqrt().mean() for source in sources)
    return _langevin_columns((z / epsilon).square().expand(len(sources[0])), parameters)


def _langevin_columns(ratio: Tensor, parameters: Sequence[float]) -> Tensor:
    a, snr, sigma = parameters
    step = ratio * (2.0 * a * (snr * sigma) ** 2)
    return torch.stack([-step / sigma, (2.0 * step).sqrt()], dim=1)


REDUCTIONS: Mapping[str, Reduction] = MappingProxyType(
    {"langevin_snr": langevin_snr, "langevin_snr_coupled": langevin_snr_coupled}
)
"""Those that a run need not be given."""
