"""Painting a region of an image anew while the rest is held: an ``on_row`` function for ``sample``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..plan import Plan, Recipe
from ..run import RowEvent
from ..run.noise import noised, signed_seed

__all__ = ["inpaint"]


def inpaint(mask: Tensor, image: Tensor, plan: Plan, *, seed: int = 0) -> Callable[[RowEvent], Tensor | None]:
    """A function for ``sample(..., plan, on_row=...)`` that samples only where ``mask`` is true.

    After each step to a time t the rest of the state becomes alpha(t) image + sigma(t) z with a fresh z, draw 1 + row
    of the noise stream of forward re-noising; after the last step it becomes the image itself, bit by bit. mask: bool,
    or float in [0, 1] for a border that blends, m state + (1 - m) rest, where 1 and 0 are as true and false bit by bit;
    of a shape that broadcasts to image's. image: float [B, ...], one per sample of the run, or [1, ...]; clean data.
    plan: the one that runs, or where ``start`` is given the one that it starts in; a run on other times or of another
    schedule raises ValueError. seed: 64 bits, as the run's.

    The network is told of the image through the state alone, so the two regions agree the better the more noise the
    plan draws: prefer a stochastic one (ddim with eta=1). Song et al., arXiv 2011.13456, appendix I.2.
    """
    _check_tensors(mask, image)
    if not isinstance(plan, Plan):
        raise TypeError(f"plan: {type(plan).__name__}; give a Plan, the one that runs")
    if plan.recipe is None or plan.rising:
        raise ValueError("plan: has no recipe, or encodes; give one that samples, from make_plan or a solver function")
    recipe, schedule = plan.recipe, plan.schedule
    signed_seed(seed)
    mask = mask.expand(image.shape)

    def hold(event: RowEvent) -> Tensor | None:
        _check_that_it_runs(recipe, event)
        if not event.ends_step:
            return None
        known, paint = (_of_samples(v, event).to(event.x.device) for v in (image, mask))
        known = known.to(event.x.dtype)
        if event.next_time != recipe.grid[-1]:
            scales = float(schedule.alpha(event.next_time)), float(schedule.sigma(event.next_time))
            known = noised(known, *scales, seed=seed, sample_ids=event.sample_ids, draw=1 + event.row)
        return _blended(event.x, known, paint)

    return hold


def _check_tensors(mask: Tensor, image: Tensor) -> None:
    if not isinstance(mask, Tensor) or not (mask.dtype == torch.bool or mask.is_floating_point()):
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask: {kind}; give a bool tensor, true where to paint, or a float one in [0, 1]")
    if mask.is_floating_point() and not bool(((mask >= 0.0) & (mask <= 1.0)).all()):
        raise ValueError(f"mask: {float(mask.min())}..{float(mask.max())}; need numbers in [0, 1], 1 where to paint")
    if not isinstance(image, Tensor) or not image.is_floating_point():
        kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f"image: {kind}; give a float tensor [B, ...]")
    if image.ndim < 2 or not _broadcasts(mask, image):
        raise ValueError(f"mask: shape {tuple(mask.shape)} does not broadcast to image's {tuple(image.shape)}")


def _blended(x: Tensor, known: Tensor, paint: Tensor) -> Tensor:
    """x where ``paint`` is true or 1, ``known`` where it is false or 0, the mixture in between."""
    if paint.dtype == torch.bool:
        return torch.where(paint, x, known)
    m = paint.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    mixed = (m * x + (1.0 - m) * known).to(x.dtype)
    return torch.where(m == 1.0, x, torch.where(m == 0.0, known, mixed))


def _check_that_it_runs(recipe: Recipe, event: RowEvent) -> None:
    running = event.plan.recipe
    ours = running is not None and running.schedule == recipe.schedule
    if running is None or not ours or running.grid != recipe.grid[-len(running.grid) :]:
        raise ValueError(
            f"plan: row {event.row}, from time {event.time} to {event.next_time}, is of a plan with other times or of "
            "another schedule; give inpaint the plan that runs"
        )


def _broadcasts(mask: Tensor, image: Tensor) -> bool:
    aligned = zip(reversed(mask.shape), reversed(image.shape), strict=False)
    return mask.ndim <= image.ndim and all(size in (1, full) for size, full in aligned)


def _of_samples(tensor: Tensor, event: RowEvent) -> Tensor:
    chosen = tensor.expand(len(event.x), *tensor.shape[1:]) if len(tensor) == 1 else tensor[event.samples]
    if chosen.shape != event.x.shape:
        raise ValueError(f"image: shape {tuple(tensor.shape)} for states {tuple(event.x.shape)}; give one per sample")
    return chosen
