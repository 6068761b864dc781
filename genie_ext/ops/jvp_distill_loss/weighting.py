"""The row of numbers per sample: two coefficients of the head, the weight of the loss, the slope of its gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["WEIGHTINGS", "rows_of", "weights_of"]

Weighting = Callable[[Tensor], Tensor]

# gamma -> weight w of (gamma k - gamma d eps/d gamma)^2, which is the error of the denoised image's rate of change:
# what weights the loss of a data-predicting network (by its SNR 1/gamma^2) weights this one alike.
WEIGHTINGS: dict[str, Weighting | None] = {
    "gamma2": None,  # w = 1: gamma^2 (k - d eps/d gamma)^2: GENIE, arXiv 2210.05475
    "none": lambda gamma: gamma**-2,  # (k - d eps/d gamma)^2
    "min_snr": lambda gamma: (gamma**-2).clamp(max=5.0),  # arXiv 2303.09556
    "snr_plus_one": lambda gamma: 1.0 + gamma**-2,  # arXiv 2202.00512, section 4
    "one_plus_gamma2": lambda gamma: 1.0 + gamma**2,  # the rates of change per gamma and per log gamma, together
}


def weights_of(gamma: Tensor, weighting: str | Tensor) -> Tensor | None:
    """The weights [B] in float64, or as they were given; None where all are one."""
    if isinstance(weighting, Tensor):
        return weighting
    weight = WEIGHTINGS[weighting]
    return None if weight is None else weight(gamma.double())


def rows_of(gamma: Tensor, weights: Tensor | None, dtype: torch.dtype, share: float) -> Tensor:
    """[B, 4] = c2, c3, weight, slope of :class:`~.contract.JvpDistillLossCall`, in float64 and then rounded once.

    share: of a sample's loss in what is differentiated.
    """
    gamma = gamma.double()
    weight = torch.ones_like(gamma) if weights is None else weights.double()
    # 0 row
    squared = gamma * gamma
    c3 = torch.reciprocal(1.0 + squared)  # c2 and c3 are sigma^2 and alpha^2 where these add to one
    return torch.stack((squared * c3, c3, weight, weight * (2.0 * share)), 1).to(dtype)
