"""What a network predicts, mapped to what a solver works with: ``y = p * x + q * out``.

With x = alpha x_0 + sigma eps; score = -eps / sigma, v = alpha eps - sigma x_0, flow = eps - x_0.
The maps of v and flow hold for any alpha and sigma, not only for alpha^2 + sigma^2 = 1 and
alpha + sigma = 1. v: Salimans and Ho, arXiv 2202.00512; flow: Liu et al., arXiv 2209.03003.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arguments import choice, shown
from .schedules import Schedule, read_scheduler

__all__ = ["PREDICTIONS", "epsilon_along_flow", "from_diffusers", "named", "to_epsilon", "to_flow", "to_x0"]

Array = NDArray[np.float64]

PREDICTIONS = ("epsilon", "x0", "v", "score", "flow")
_OF_DIFFUSERS = {"epsilon": "epsilon", "sample": "x0", "v_prediction": "v", "flow_prediction": "flow"}


def named(prediction: str) -> str:
    """The name here of a prediction type, also by diffusers' names: v_prediction, flow_prediction, sample.

    ValueError for an unknown one.
    """
    known = _OF_DIFFUSERS.get(prediction, prediction) if isinstance(prediction, str) else prediction
    return choice(known, "prediction", PREDICTIONS)


def to_epsilon(prediction: str, schedule: Schedule, t: ArrayLike) -> tuple[Array, Array]:
    """(p, q) with eps = p * x + q * out, float64, each of t's shape.

    ValueError for an unknown prediction, a time outside the schedule, and for "x0" where sigma = 0.
    """
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    match choice(prediction, "prediction", PREDICTIONS):
        case "epsilon":
            p, q = 0.0, 1.0
        case "x0":
            _refuse_zero(sigma, t)
            p, q = 1.0 / sigma, -alpha / sigma
        case "v":
            p, q = sigma / (alpha**2 + sigma**2), alpha / (alpha**2 + sigma**2)
        case "score":
            p, q = 0.0, -sigma
        case _:
            p, q = 1.0 / (alpha + sigma), alpha / (alpha + sigma)
    return _shaped(p, sigma), _shaped(q, sigma)


def to_x0(prediction: str, schedule: Schedule, t: ArrayLike) -> tuple[Array, Array]:
    """(p, q) with x_0 = p * x + q * out, float64, each of t's shape; errors as :func:`to_epsilon`.

    Every prediction gives an x_0 at sigma = 0, the state itself over alpha; "epsilon" and "score" give none, and a
    ValueError, at alpha = 0.
    """
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    match choice(prediction, "prediction", PREDICTIONS):
        case "epsilon":
            _refuse_pure_noise(prediction, alpha, t)
            p, q = 1.0 / alpha, -sigma / alpha
        case "x0":
            p, q = 0.0, 1.0
        case "v":
            p, q = alpha / (alpha**2 + sigma**2), -sigma / (alpha**2 + sigma**2)
        case "score":
            _refuse_pure_noise(prediction, alpha, t)
            p, q = 1.0 / alpha, sigma**2 / alpha
        case _:
            p, q = 1.0 / (alpha + sigma), -sigma / (alpha + sigma)
    return _shaped(p, sigma), _shaped(q, sigma)


def to_flow(prediction: str, schedule: Schedule, t: ArrayLike) -> tuple[Array, Array]:
    """(p, q) with eps - x_0 = p * x + q * out, float64, each of t's shape.

    The velocity of the straight path from data to noise, on any schedule. ValueError for "epsilon" and "score" at
    alpha = 0 and for "x0" at sigma = 0.
    """
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    match choice(prediction, "prediction", PREDICTIONS):
        case "epsilon":
            _refuse_pure_noise(prediction, alpha, t)
            p, q = -1.0 / alpha, (alpha + sigma) / alpha
        case "x0":
            _refuse_zero(sigma, t)
            p, q = 1.0 / sigma, -(alpha + sigma) / sigma
        case "v":
            p, q = (sigma - alpha) / (alpha**2 + sigma**2), (alpha + sigma) / (alpha**2 + sigma**2)
        case "score":
            _refuse_pure_noise(prediction, alpha, t)
            p, q = -1.0 / alpha, -sigma * (alpha + sigma) / alpha
        case _:
            p, q = 0.0, 1.0
    return _shaped(p, sigma), _shaped(q, sigma)


def from_diffusers(scheduler: object) -> str:
    """What the network of a scheduler of diffusers predicts, by our name; as ``schedules.from_diffusers`` reads it.

    "epsilon" where the configuration says nothing, "flow" of a FlowMatch class; of an EDM class "x0", which the network
    behind ``models.edm`` predicts. ValueError that names what is read for another prediction_type.
    """
    config = read_scheduler(scheduler)
    name = config.values.get("prediction_type", "epsilon")
    if not isinstance(name, str) or name not in _OF_DIFFUSERS:
        raise ValueError(f"prediction_type={shown(name)}: {', '.join(_OF_DIFFUSERS)} are read")
    return "x0" if config.kind == "edm" else _OF_DIFFUSERS[name]


def epsilon_along_flow(
    prediction: str, schedule: Schedule, t: ArrayLike, rate: ArrayLike, rate_change: ArrayLike
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array, Array]]:
    """Coefficients of [x, out, out'] in epsilon', and of [x, out, out', out''] in epsilon''.

    Primes are derivatives along dx/ds = sigma * epsilon + rate * x, s = log gamma, with rate = d log alpha / ds and
    rate_change = d rate / ds, both of t's shape, as are the results, float64. What cancels when the product rule is
    applied to eps = p * x + q * out is left out here. Errors as :func:`to_epsilon`.
    """
    gamma, a, a_change = schedule.gamma(t), np.asarray(rate), np.asarray(rate_change)
    p, q = to_epsilon(prediction, schedule, t)
    match prediction:
        case "v":
            w = gamma**2 / (1.0 + gamma**2)
            first = p * (1.0 - w), -q * (a + w), q
            from_out = q * ((a + 2.0 * w) * (a + w) - a_change - w * (1.0 - w))
            second = first[0] * (1.0 - 3.0 * w), from_out, -q * (2.0 * a + 3.0 * w), q
        case "score":
            first = 0.0, q * (1.0 + a), q
            second = 0.0, q * ((1.0 + a) ** 2 + a_change), 2.0 * q * (1.0 + a), q
        case _:  # q' / q: of x0 -1, of flow -sigma / (alpha + sigma)
            q_rate = {"epsilon": 0.0, "x0": -1.0}.get(prediction, -gamma / (1.0 + gamma))
            first, second = (0.0, 0.0, q), (0.0, 0.0, q * q_rate, q)
    x, out, change = (_shaped(c, gamma) for c in first)
    x2, out2, change2, curvature = (_shaped(c, gamma) for c in second)
    return (x, out, change), (x2, out2, change2, curvature)


def _refuse_pure_noise(prediction: str, alpha: Array, t: ArrayLike) -> None:
    if np.any(alpha == 0.0):
        at = float(np.extract(alpha == 0.0, t)[0])
        fix = "take a network that predicts v, x0 or flow, or start the grid after it"
        raise ValueError(f"t={at!r}: alpha = 0, so a prediction of {prediction} says nothing about the data; {fix}")


def _refuse_zero(sigma: Array, t: ArrayLike) -> None:
    if np.any(sigma == 0.0):
        at = float(np.extract(sigma == 0.0, t)[0])
        fix = "end the grid before it, or let the last step be one in x0"
        raise ValueError(f"t={at!r}: sigma = 0, so an x0 prediction determines no epsilon; {fix}")


def _shaped(value: ArrayLike, like: Array) -> Array:
    return np.add(value, np.zeros_like(like)) if np.ndim(like) else np.float64(value)  # type: ignore[return-value]
