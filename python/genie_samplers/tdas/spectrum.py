"""The power spectra of pictures, and of what a sampler predicts on its way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import reals
from ..plan import Plan
from ..run import AnyModel, RowEvent, sample
from .transforms import transformed

__all__ = ["measured_progress", "power_spectrum"]

Array = NDArray[np.float64]


def power_spectrum(images: ArrayLike, *, transform: str = "dct", labels: ArrayLike | None = None) -> Array:
    """The variance of every coefficient about its mean, float64 [C, H, W], transforms orthonormal.

    images: [N, C, H, W], N 2 or more, hundreds for a spectrum to trust. labels: [N], the classes of a network that is
    told them: the mean is then that of each class, the variance that within classes.
    """
    values = reals(images, "images")
    if values.ndim != 4 or len(values) < 2 or values.size == 0:
        raise ValueError(f"images has shape {values.shape}; need [N, C, H, W], N 2 or more")
    if not np.isfinite(values).all():
        raise ValueError("images: hold inf or NaN; leave those out")
    groups = np.zeros(len(values)) if labels is None else reals(labels, "labels")
    if groups.shape != (len(values),):
        raise ValueError(f"labels has shape {groups.shape}; need one class for each of the {len(values)} images")
    names, place = np.unique(groups, return_inverse=True)
    if len(names) == len(values):
        raise ValueError("labels: every image is a class of its own; give several images of a class")
    means = np.stack([values[place == n].mean(axis=0) for n in range(len(names))])
    return (transformed(values - means[place], transform) ** 2).sum(axis=0) / (len(values) - len(names))


def measured_progress(
    model: AnyModel,
    plan: Plan,
    *,
    shape: Sequence[int],
    transform: str = "dct",
    seed: int = 1,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    batch_size: int | None = None,
) -> Array:
    """For :func:`.gains_from_progress`: how much of its final power each frequency has before each draw of the plan.

    [draws, C, H, W] in [0, 1]: 1 - E|f - p|^2 / E|f|^2, f a sample and p the clean image that is predicted in the row
    that draws, at least 0; a prediction of pure noise has power too, but explains none. shape: [B, C, H, W] of the
    samples that are made; the rest as of ``sample``. ValueError for a plan without draws, and for one with operators or
    gains of its own, whose draws those of :func:`.filtered` would not be.
    """
    if plan.operators or plan.reductions:
        what = f"applies {', '.join(plan.operators)}" if plan.operators else f"computes {', '.join(plan.reductions)}"
        raise ValueError(f"plan: {what} while it runs; give the plan before plan.filtered, of a solver such as ddpm")
    drawing = {number: len(row.draws) for number, row in enumerate(plan.rows) if row.draws}
    if not drawing:
        raise ValueError("plan: draws no noise; take a stochastic solver, such as ddpm, or ddim with eta > 0")
    predicted: dict[int, Array] = {}  # of the batch on its way
    missing = dict.fromkeys(drawing, np.zeros(1))  # power, of all so far
    final = np.zeros(1)

    def record(event: RowEvent) -> None:
        nonlocal final
        if event.row in drawing:
            predicted[event.row] = transformed(event.predicted_x0().double().cpu().numpy(), transform)
        if event.row == len(plan.rows) - 1:
            made = transformed(event.x.double().cpu().numpy(), transform)
            final = final + (made**2).sum(axis=0)
            for number, guess in predicted.items():
                missing[number] = missing[number] + ((made - guess) ** 2).sum(axis=0)

    sample(
        model, plan, shape=shape, seed=seed, cond=cond, shared=shared, batch_size=batch_size, on_row=record,
        progress=False,
    )  # fmt: skip
    rows = [_explained(missing[number], final) for number in sorted(drawing)]
    return np.repeat(rows, [drawing[number] for number in sorted(drawing)], axis=0)


def _explained(missing: Array, final: Array) -> Array:
    """The share of the final power that is not missing; of no power nothing is."""
    share = np.divide(missing, final, out=(missing > 0.0).astype(np.float64), where=final > 0.0)
    return np.maximum(0.0, 1.0 - share)
