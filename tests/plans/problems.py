"""Data whose noise prediction and probability flow are known exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

import genie_samplers as gs
from genie_samplers import Plan, grids
from genie_samplers.schedules import Schedule

from .isotropic_mixture import IsotropicMixture

Array = NDArray[np.float64]

__all__ = [
    "DISCRETE",
    "EDM",
    "GOLDEN_GRID",
    "GOLDEN_MIXTURE",
    "SCHEDULES",
    "VP",
    "X_T",
    "ZERO_SNR",
    "Mixture",
    "network_of",
    "outputs_of",
    "prediction_of",
]

VP = gs.schedules.vp_linear()
EDM = gs.schedules.edm()
DISCRETE = gs.schedules.from_alphas_cumprod(np.cumprod(1.0 - np.linspace(1e-4, 2e-2, 1000)))
ZERO_SNR = gs.schedules.from_betas(gs.schedules.scaled_linear_betas(), zero_terminal_snr=True)
SCHEDULES: dict[str, Schedule] = {
    "vp_linear": VP,
    "vp_cosine": gs.schedules.vp_cosine(),
    "sub_vp": gs.schedules.sub_vp(),
    "ve": gs.schedules.ve(),
    "edm": EDM,
    "flow": gs.schedules.flow(t_max=4096.0 / 4097.0),
    "alphas_cumprod": DISCRETE,
    "next_to_zero_terminal_snr": gs.schedules.from_alphas_cumprod((*ZERO_SNR.alphas_cumprod[:-1], 2.0**-24)),
}
GOLDEN_GRID = grids.power_t(VP, 5, power=2.0, t_end=1e-3)

X_T = np.array([-1.7, -0.6, 0.2, 0.9, 2.1])


@dataclass(frozen=True)
class Mixture:
    """sum_k weights[k] N(means[k], scales[k]^2), elementwise."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]

    def epsilon(self, schedule: Schedule, x: Array, t: float) -> Array:
        """The exact noise prediction: sigma times minus the score of x_t."""
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        w, mean, scale = (np.array(v) for v in (self.weights, self.means, self.scales))
        variance = (alpha * scale) ** 2 + sigma**2
        away = x[..., None] - alpha * mean
        log_density = np.log(w) - 0.5 * np.log(variance) - 0.5 * away**2 / variance
        share = np.exp(log_density - log_density.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        return sigma * (share * away / variance).sum(axis=-1)

    def derivatives(self, schedule: Schedule, x: Array, t: float) -> list[Array]:
        """gamma d epsilon / d gamma and gamma^2 d^2 epsilon / d gamma^2 along the flow."""
        points = IsotropicMixture(np.array(self.weights), np.array(self.means)[:, None], np.array(self.scales) ** 2)
        alpha, gamma = float(schedule.alpha(t)), float(schedule.gamma(t))
        _, first, second = points.derivatives(x[..., None] / alpha, gamma, 3)
        return [gamma * first[..., 0], gamma**2 * second[..., 0]]

    def flow(self, schedule: Schedule, x: Array, t: float, t_end: float) -> Array:
        """The probability flow from t to t_end: it keeps the distribution function's value."""
        return np.array([self._flow(schedule, float(v), t, t_end) for v in x])

    def _flow(self, schedule: Schedule, x: float, t: float, t_end: float) -> float:
        upper = self._probability(schedule, x, t) > 0.5  # the smaller tail keeps its digits
        target = self._probability(schedule, x, t, upper)

        def excess(y: float) -> float:
            return self._probability(schedule, y, t_end, upper) - target

        root: Any = brentq(excess, -20.0, 20.0, xtol=1e-15, rtol=np.float64(1e-15))
        return float(root)

    def _probability(self, schedule: Schedule, x: float, t: float, upper: bool = False) -> float:
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        mean, scale = np.array(self.means), np.array(self.scales)
        z = (x - alpha * mean) / np.sqrt((alpha * scale) ** 2 + sigma**2)
        return float(np.dot(self.weights, ndtr(-z if upper else z)))


GOLDEN_MIXTURE = Mixture((0.3, 0.7), (-1.0, 0.8), (0.25, 0.4))


def prediction_of(prediction: str, schedule: Schedule, t: float, x0: Array, epsilon: Array) -> Array:
    """What a network of this prediction type returns for known x0 and epsilon."""
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    return {
        "epsilon": lambda: epsilon,
        "x0": lambda: x0,
        "v": lambda: alpha * epsilon - sigma * x0,
        "score": lambda: -epsilon / sigma,
        "flow": lambda: epsilon - x0,
    }[prediction]()


def outputs_of(
    names: Sequence[str], schedule: Schedule, t: float, x0: Array, epsilon: Array, derivatives: Sequence[Array]
) -> list[Array]:
    """What a network returns by these names; ``derivatives`` as of :meth:`Mixture.derivatives`."""
    first, second = derivatives
    k1 = 0.3 * epsilon  # any: -k1 + gamma^2/(1+gamma^2) k2 + 1/(1+gamma^2) k3 is the derivative if k2 = k3 = it + k1
    further = {"gamma_d_epsilon": first, "gamma2_d2_epsilon": second, "k1": k1, "k2": first + k1, "k3": first + k1}
    # corrections of a plan without memory, or of a point, where both are what the derivative is
    further |= {f"c{n}": further[f"k{n}"] for n in (1, 2, 3)}
    return [prediction_of(names[0], schedule, t, x0, epsilon), *(further[name] for name in names[1:])]


def network_of(plan: Plan, mixture: Mixture, schedule: Schedule) -> Callable[[int, Array], list[Array]]:
    """The exact network of mixture data, with the plan's outputs."""

    def network(row: int, x: Array) -> list[Array]:
        t = plan.times[row]
        epsilon = mixture.epsilon(schedule, x, t)
        x0 = (x - schedule.sigma(t) * epsilon) / schedule.alpha(t)
        derivatives = mixture.derivatives(schedule, x, t) if len(plan.outputs) > 1 else (x0, x0)
        return outputs_of(plan.outputs, schedule, t, x0, epsilon, derivatives)

    return network
