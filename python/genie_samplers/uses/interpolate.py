"""Paths between latents on the sphere where they lie (Shoemake's slerp; arXiv 2010.02502, appendix D.5).

A path is taken over all elements of one sample together. Latents are states at t_max, of any common scale; float64
inside, the result has the dtype of the ends. The two ends of a path are the given latents, bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .._arguments import integer, reals

__all__ = ["interpolate", "slerp_grid"]

_CLOSEST_TO_ANTIPODAL = 1e-6  # of theta to pi: there the rounding of float32 latents turns the path by a few degrees


def interpolate(a: Tensor, b: Tensor, steps: int | Sequence[float] | Tensor) -> Tensor:
    """From latent ``a`` to latent ``b``, one sample each [...]: a batch [n, ...] for ``sample(state=...)``.

    steps: n >= 2 latents at equal distances from a (0) to b (1), or the n coefficients themselves.

        z(w) = (sin((1 - w) theta) a + sin(w theta) b) / sin(theta)        theta: the angle between a and b

    Parallel latents are joined by a straight line. ValueError for opposite ones, which many paths join.
    """
    _check_latents("a, b", a, b)
    weights = _weights(steps, "steps")
    path = _slerp(a.double().reshape(1, -1), b.double().reshape(1, -1), weights)
    return path.reshape(len(weights), *a.shape).to(a.dtype)


def slerp_grid(corners: Tensor, rows: int, columns: int) -> Tensor:
    """Four latents [4, ...] (top left, top right, bottom left, bottom right) to [rows * columns, ...], row by row.

    Along each of the two pairs with the column's coefficient, then across with the row's. Errors as
    :func:`interpolate`.
    """
    if not isinstance(corners, Tensor) or corners.ndim < 2 or len(corners) != 4:
        shown = tuple(corners.shape) if isinstance(corners, Tensor) else type(corners).__name__
        raise ValueError(f"corners: {shown}; give four latents [4, ...]")
    _check_latents("corners", *corners)
    down, along = _weights(rows, "rows"), _weights(columns, "columns")
    flat = corners.double().reshape(4, -1)
    top, bottom = _slerp(flat[:1], flat[1:2], along), _slerp(flat[2:3], flat[3:], along)  # [columns, elements]
    grid = _slerp(top[:, 0], bottom[:, 0], down)
    return grid.reshape(len(down) * len(along), *corners.shape[1:]).to(corners.dtype)


def _slerp(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """a, b [n, elements], weights [m], all float64 -> [m, n, elements]."""
    theta = _angle(a, b)
    if bool((math.pi - theta < _CLOSEST_TO_ANTIPODAL).any()):
        raise ValueError(
            "latents: two are opposite to each other, no path between them is shortest; change one of them"
        )
    w = weights.to(a.device)[:, None, None]
    theta = theta[:, None]
    straight = theta == 0.0
    sine = torch.where(straight, 1.0, theta.sin())
    from_a = torch.where(straight, 1.0 - w, ((1.0 - w) * theta).sin() / sine)
    from_b = torch.where(straight, w, (w * theta).sin() / sine)
    return from_a * a + from_b * b


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """[n] in [0, pi], accurate at both ends where arccos is not (Kahan); 0 where a latent is zero."""
    size_a, size_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    difference, total = (size_b * a - size_a * b).norm(dim=1), (size_b * a + size_a * b).norm(dim=1)
    return 2.0 * torch.atan2(difference, total)


def _weights(steps: int | Sequence[float] | Tensor, name: str) -> Tensor:
    if isinstance(steps, Tensor):
        steps = steps.tolist()
    if isinstance(steps, Sequence) and not isinstance(steps, str):
        weights = torch.from_numpy(reals(steps, name).copy())
        if weights.ndim != 1 or len(weights) == 0 or not bool(weights.isfinite().all()):
            raise ValueError(f"{name}={steps!r}; give finite coefficients, 0 for the first latent and 1 for the second")
        return weights
    count = integer(steps, name, least=2)
    return torch.arange(count, dtype=torch.float64, device="cpu") / (count - 1)


def _check_latents(name: str, *latents: Tensor) -> None:
    for latent in latents:
        if not isinstance(latent, Tensor) or not latent.is_floating_point():
            kind = latent.dtype if isinstance(latent, Tensor) else type(latent).__name__
            raise TypeError(f"{name}: {kind}; give float tensors")
    first = latents[0]
    if any(
        (latent.shape, latent.dtype, latent.device) != (first.shape, first.dtype, first.device) for latent in latents
    ):
        shown = [f"{tuple(latent.shape)} {latent.dtype} {latent.device}" for latent in latents]
        raise ValueError(f"{name}: {', '.join(shown)}; give latents of one shape, dtype and device")
    if not all(bool(latent.isfinite().all()) for latent in latents):
        raise ValueError(f"{name}: holds inf or NaN; give finite latents")
