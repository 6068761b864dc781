"""Data whose epsilon and its derivatives along the flow are known in closed form, as networks in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import genie_samplers as gs
from genie_samplers.models.wrap import WrappedModel
from genie_samplers.schedules import Schedule

__all__ = ["ALPHAS", "GAUSSIAN", "LABELS", "MIXTURE", "SCHEDULES", "STATE", "VP", "Mixture", "oracle"]

VP = gs.schedules.vp_linear()
SCHEDULES: dict[str, Schedule] = {
    "vp_linear": VP,
    "vp_cosine": gs.schedules.vp_cosine(),
    "edm": gs.schedules.edm(),
    "ve": gs.schedules.ve(),
    "flow": gs.schedules.flow(t_max=4096.0 / 4097.0),
    "sub_vp": gs.schedules.sub_vp(),
    "alphas_cumprod": gs.schedules.from_betas(gs.schedules.scaled_linear_betas()),
}
ALPHAS: dict[str, Callable[[Tensor], Tensor]] = {
    "vp_linear": lambda gamma: (1.0 + gamma**2).rsqrt(),
    "alphas_cumprod": lambda gamma: (1.0 + gamma**2).rsqrt(),
    "vp_cosine": lambda gamma: (1.0 + gamma**2).rsqrt(),
    "edm": torch.ones_like,
    "ve": torch.ones_like,
    "flow": lambda gamma: 1.0 / (1.0 + gamma),
    "sub_vp": lambda gamma: 2.0 / (gamma + (gamma**2 + 4.0).sqrt()),  # 1 - alpha^2 = alpha gamma
}
"""alpha as a function of gamma, in torch."""


def gamma_of_999t(label: Tensor) -> Tensor:
    t = label / 999.0
    return torch.expm1(0.1 * t + 9.95 * t**2).sqrt()


LABELS: dict[str, tuple[Callable[[Any], Any], Callable[[Tensor], Tensor]]] = {
    "999t": (VP.label, gamma_of_999t),
    "log_gamma": (VP.log_gamma, torch.exp),
    "power": (lambda t: 2.0 * VP.alpha(t) ** 2, lambda label: (2.0 / label - 1.0).sqrt()),
}
"""Labels of vp_linear: linear in t, linear in log gamma, and neither; and gamma as a function of them."""

STATE = torch.tensor([[-1.7, 0.3], [0.6, -0.2], [0.2, 0.9], [2.1, 1.1]], dtype=torch.float64)


@dataclass(frozen=True)
class Mixture:
    """sum_i weights[i] N(means[i], variances[i] I) in two dimensions, at xbar = x / alpha."""

    weights: tuple[float, ...]
    means: tuple[tuple[float, float], ...]
    variances: tuple[float, ...]

    def _parts(self, xbar: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """v [B, n], a [B, n, 2] and r [B, n]: total variances, scores of the parts and their shares."""
        variance = torch.tensor(self.variances, dtype=xbar.dtype) + gamma[:, None] ** 2
        a = (torch.tensor(self.means, dtype=xbar.dtype) - xbar[:, None, :]) / variance[:, :, None]
        log_share = torch.tensor(self.weights, dtype=xbar.dtype).log() - variance.log()
        return variance, a, torch.softmax(log_share - 0.5 * variance * (a**2).sum(-1), dim=1)

    def epsilon(self, xbar: Tensor, gamma: Tensor) -> Tensor:
        _, a, r = self._parts(xbar, gamma)
        return -gamma[:, None] * (r[:, :, None] * a).sum(1)

    def d_epsilon(self, xbar: Tensor, gamma: Tensor) -> Tensor:
        """d epsilon / d gamma along d xbar / d gamma = epsilon."""
        v, a, r = self._parts(xbar, gamma)
        share, g, y = r[:, :, None], gamma[:, None], self.epsilon(xbar, gamma)
        score = (share * a).sum(1)
        q = (a**2).sum(-1) - 2.0 / v
        q_mean = (r * q).sum(1, keepdim=True)
        along_y = (a * y[:, None, :]).sum(-1, keepdim=True)
        from_x = (share * (-y[:, None, :] / v[:, :, None] + a * along_y)).sum(1)
        from_x = from_x - score * (score * y).sum(1, keepdim=True)
        from_gamma = (share * (-2.0 * g[:, :, None] * a / v[:, :, None])).sum(1)
        from_gamma = from_gamma + g * (share * (q - q_mean)[:, :, None] * a).sum(1)
        return -score - g * (from_gamma + from_x)

    def d2_epsilon(self, xbar: Tensor, gamma: Tensor) -> Tensor:
        tangent = self.epsilon(xbar, gamma), torch.ones_like(gamma)
        return torch.func.jvp(self.d_epsilon, (xbar, gamma), tangent)[1]


MIXTURE = Mixture((0.2, 0.5, 0.3), ((1.0, 0.3), (-0.8, 0.5), (0.1, -1.0)), (0.05, 0.02, 0.1))
GAUSSIAN = Mixture((1.0,), ((0.4, -0.3),), (0.25,))


def oracle(
    data: Mapping[int, Mixture] | Mixture,
    schedule: str = "vp_linear",
    *,
    prediction: str = "epsilon",
    label: str = "log_gamma",
) -> WrappedModel:
    """The exact network; data by class: with ``class_labels`` int64 [B]."""
    times_to_label, gamma_of = LABELS[label]
    known = SCHEDULES[schedule]

    def network(x: Tensor, label: Tensor, class_labels: Tensor | None = None) -> Tensor:
        gamma = gamma_of(label)
        alpha = ALPHAS[schedule](gamma)[:, None]
        sigma = alpha * gamma[:, None]
        if class_labels is None:
            assert isinstance(data, Mixture)
            epsilon = data.epsilon(x / alpha, gamma)
        else:
            assert not isinstance(data, Mixture)
            by_class = {c: part.epsilon(x / alpha, gamma) for c, part in data.items()}
            epsilon = sum((class_labels == c)[:, None] * part for c, part in by_class.items())
        x0 = (x - sigma * epsilon) / alpha
        if prediction == "x0":
            return x0
        return {"epsilon": epsilon, "v": alpha * epsilon - sigma * x0, "score": -epsilon / sigma, "flow": epsilon - x0}[
            prediction
        ]

    own_label = times_to_label if schedule == "vp_linear" else known.log_gamma
    return gs.models.wrap(network, known, prediction=prediction, label=own_label)
