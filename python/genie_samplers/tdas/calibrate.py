"""A TDAS filter from samples: where accelerated sampling has too much or too little power (arXiv 2206.04029, A.2-3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import boolean, choice, real, reals
from ..plan import Plan
from ..run import AnyModel, sample
from .radial import radial_filter, radius
from .space import space_filter
from .spec import FilterSpec
from .transforms import TRANSFORMS, transformed

__all__ = ["LEAST_SAMPLES", "Behaviour", "Calibration", "behaviour", "calibrate", "calibrate_model", "log_power"]

Array = NDArray[np.float64]

LEAST_SAMPLES = 50
"""Of either kind; the paper took about 200."""

_OUTER = 0.2  # the share of frequencies that is compared at either end


class Behaviour(NamedTuple):
    """k(rho): the mean of K over the frequencies of each radius; both [n], rho rising."""

    rho: Array
    k: Array


@dataclass(frozen=True, eq=False)
class Calibration:
    """spec: the filter. ratio: K [C, H, W], log power of accelerated over that of vanilla samples. amplifies: whether
    accelerated samples lack high frequencies, as those of DDPM-type models, so that the lambdas are above 1.
    """

    spec: FilterSpec
    ratio: Array
    behaviour: Behaviour
    amplifies: bool


def log_power(images: ArrayLike, *, transform: str) -> Array:
    """F = log(1 + mean |T x|^2), float64 [C, H, W], of images [N, C, H, W], published in [0, 1].

    "dct": orthonormal; "dft": not normalised, in which the logarithm compresses far more (the published lambdas of the
    two differ for that reason).
    """
    choice(transform, "transform", TRANSFORMS)
    values = reals(images, "images")
    powers = transformed(values, transform) ** 2 if transform == "dct" else np.abs(np.fft.fft2(values)) ** 2
    return np.log1p(powers.mean(axis=0))


def behaviour(ratio: Array, *, transform: str) -> Behaviour:
    """k(rho) of K [C, H, W]."""
    rho = np.round(radius(ratio.shape[-2:], transform=transform), 12)
    radii, place = np.unique(rho, return_inverse=True)
    per_position = ratio.mean(axis=0).ravel()
    counts = np.bincount(place.ravel())
    return Behaviour(radii, np.bincount(place.ravel(), weights=per_position) / counts)


def calibrate(
    vanilla: ArrayLike,
    accelerated: ArrayLike,
    *,
    transform: str = "dft",
    q1: float = 0.8,
    q2: float = 0.96,
    amplify: bool | None = None,
    images: ArrayLike | None = None,
    alpha: float = 2.0,
    low: float = -1.0,
    high: float = 1.0,
) -> Calibration:
    """The filter for accelerated sampling, from samples of a model at full length and accelerated.

    vanilla, accelerated: [N, C, H, W] of values low..high, 50 of each or more, about 200 in the paper.
    K = F_accelerated / F_vanilla with F of :func:`log_power`; lambda_i = 1 / Q_qi(K), the q-quantile, and r_i the mean
    radius where K >= Q_qi(K). Where accelerated samples lack high frequencies, lambda_i = 1 / Q_(1-qi)(K) and r_i is
    the mean radius where K <= that. amplify: which of the two; None decides by k(rho), whether its outer fifth of
    the frequencies is below the inner one. images: [N, C, H, W] of the data for a space filter softened by ``alpha``;
    None for none. q1, q2 and the sets of r_i are reconstructed: they explain the published tables.

    ValueError or TypeError naming the argument, and where K does not change with the radius, so that r1 > r2.
    """
    pictures = [
        _unit(_checked_samples(x, name), low, high) for x, name in ((vanilla, "vanilla"), (accelerated, "accelerated"))
    ]
    shapes = [list(x.shape[1:]) for x in pictures]
    if shapes[0] != shapes[1]:
        raise ValueError(f"vanilla: samples {shapes[0]}, accelerated {shapes[1]}; make both with one model")
    known = None if images is None else _checked_images(images, shapes[0])
    near, far = real(q1, "q1"), real(q2, "q2")
    if not 0.5 <= near <= far < 1.0:
        raise ValueError(f"q1={near}, q2={far}; need 0.5 <= q1 <= q2 < 1")
    powers = [log_power(x, transform=transform) for x in pictures]
    for name, power in zip(("vanilla", "accelerated"), powers, strict=True):
        if power.min() <= 0.0:
            raise ValueError(f"{name}: a frequency has no power in any sample; give samples of a trained model")
    ratio = powers[1] / powers[0]
    rho = radius(ratio.shape[-2:], transform=transform)
    found = behaviour(ratio, transform=transform)
    amplifies = _lacks_high_frequencies(ratio, rho) if amplify is None else boolean(amplify, "amplify")
    (lambda1, r1), (lambda2, r2) = (_zone(ratio, rho, q, amplifies=amplifies) for q in (near, far))
    if r1 > r2:
        raise ValueError(
            f"vanilla, accelerated: their ratio is not ordered by the radius (r1={r1:.3f} > r2={r2:.3f}), so that no "
            "radial filter undoes it; give more samples, fewer accelerated steps, or q2=q1"
        )
    frequency = radial_filter(rho.shape, transform=transform, lambda1=lambda1, lambda2=lambda2, r1=r1, r2=r2)
    space = None if known is None else space_filter(_unit(known, low, high), alpha=alpha)
    about = {
        "lambda1": lambda1, "lambda2": lambda2, "r1": r1, "r2": r2, "q1": near, "q2": far, "amplifies": amplifies,
        "samples": [len(x) for x in pictures], "alpha": None if images is None else alpha,
    }  # fmt: skip
    return Calibration(FilterSpec(transform, frequency, space, about), ratio, found, amplifies)


def calibrate_model(
    model: AnyModel,
    vanilla: Plan,
    accelerated: Plan,
    *,
    shape: Sequence[int],
    seed: int = 1,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    batch_size: int | None = None,
    transform: str = "dft",
    q1: float = 0.8,
    q2: float = 0.96,
    amplify: bool | None = None,
    images: ArrayLike | None = None,
    alpha: float = 2.0,
) -> Calibration:
    """:func:`calibrate` on samples that the two plans make of ``model``, of values in [-1, 1].

    shape: [B, C, H, W] of the samples of either plan, B 200 as published; the rest of ``sample`` and of
    :func:`calibrate`.
    """
    if len(shape) != 4 or shape[0] < LEAST_SAMPLES:
        raise ValueError(f"shape={tuple(shape)}; need (B, C, H, W) with B of {LEAST_SAMPLES} or more, 200 as published")
    made = [
        sample(
            model, plan, shape=shape, seed=seed, cond=cond, shared=shared, batch_size=batch_size, progress=False
        ).double().cpu().numpy()
        for plan in (vanilla, accelerated)
    ]  # fmt: skip
    return calibrate(*made, transform=transform, q1=q1, q2=q2, amplify=amplify, images=images, alpha=alpha)


def _zone(ratio: Array, rho: Array, q: float, *, amplifies: bool) -> tuple[float, float]:
    """lambda and r of a quantile of K."""
    bound = float(np.quantile(ratio, 1.0 - q if amplifies else q))
    beyond = ratio <= bound if amplifies else ratio >= bound
    return 1.0 / bound, float(np.broadcast_to(rho, ratio.shape)[beyond].mean())


def _lacks_high_frequencies(ratio: Array, rho: Array) -> bool:
    inner, outer = np.quantile(rho, [_OUTER, 1.0 - _OUTER])
    per_position = ratio.mean(axis=0)
    return bool(per_position[rho >= outer].mean() < per_position[rho <= inner].mean())


def _checked_samples(samples: ArrayLike, name: str) -> Array:
    values = reals(samples, name)
    if values.ndim != 4 or values.size == 0:
        raise ValueError(f"{name} has shape {values.shape}; need samples [N, C, H, W]")
    if len(values) < LEAST_SAMPLES:
        raise ValueError(f"{name}: {len(values)} samples; give {LEAST_SAMPLES} or more, 200 as published")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: holds inf or NaN; leave those samples out")
    return values


def _checked_images(images: ArrayLike, shape: list[int]) -> Array:
    """Of the samples' shape [C, H, W]: a filter of other channels would fit none of them."""
    values = reals(images, "images")
    if list(values.shape[1:]) != shape:
        raise ValueError(f"images has shape {values.shape}; need {['N', *shape]}, as the samples")
    return values


def _unit(values: Array, low: float, high: float) -> Array:
    """From low..high to 0..1; samples may lie a little outside."""
    bottom, top = real(low, "low"), real(high, "high")
    if not bottom < top < np.inf:
        raise ValueError(f"low={bottom}, high={top}; need the range of the data, low < high")
    return (values - bottom) / (top - bottom)
