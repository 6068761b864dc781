"""Dynamic thresholding: each sample's own bound of its predicted clean data."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["bound_of"]


def bound_of(x0: Tensor, ratio: float, most: float) -> Tensor:
    """[B], the ``ratio`` quantile of |x0|, at least 1 and at most ``most``; float32.

    A sample is clamped to its bound and divided by it. Saharia et al., arXiv 2205.11487, section 2.3.
    """
    sizes = x0.detach().flatten(1).abs().float()
    return torch.quantile(sizes, ratio, dim=1).clamp(1.0, most)
