"""The schedule of a discrete checkpoint: its table of alpha-bar."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import choice, reals
from .base import Array, check_range
from .decay import MAX_DECAY
from .variance_preserving import VariancePreserving

__all__ = ["AlphasCumprod", "from_alphas_cumprod"]


@dataclass(frozen=True)
class AlphasCumprod(VariancePreserving):
    """A checkpoint's table of alpha-bar; t is its real-valued index and t_zero = -1 (alpha-bar 1).

    Between the indices log alpha or alpha-bar is linear in t (``interpolation``), so every index
    but the last is a knot; label t, and 0, the least that a network knows, where t < 0. The inverse is exact piece by
    piece. A table may end at 0 (zero terminal SNR, gamma = inf); its last piece is linear in alpha-bar. ValueError
    unless ``alphas_cumprod`` holds at least 2 strictly falling numbers inside (0, 1), of which the last may be 0.
    """

    alphas_cumprod: tuple[float, ...] = field(repr=False)
    interpolation: str = "log_alpha"
    name = "alphas_cumprod"
    t_zero, t_end = -1.0, 0.0
    # alpha-bar at t = -1, 0, ..; piece i of the curve lies between the knots i and i + 1 of it
    _bar: Array = field(init=False, repr=False, compare=False)
    _log_bar: Array = field(init=False, repr=False, compare=False)
    _rises: Array = field(init=False, repr=False, compare=False)  # of B, inside each piece
    _in_log_alpha: bool = field(init=False, repr=False, compare=False)  # all pieces are linear in log alpha

    def __post_init__(self) -> None:
        choice(self.interpolation, "interpolation", ("log_alpha", "alpha_bar"))
        bar = _checked_alpha_bar(self.alphas_cumprod)
        knots = tuple(map(float, range(bar.size - 2)))
        vars(self).update(alphas_cumprod=tuple(bar[1:].tolist()), _bar=bar)
        with np.errstate(divide="ignore"):  # at a last alpha-bar of 0
            vars(self).update(_log_bar=np.log(bar), _rises=np.log1p((bar[:-1] - bar[1:]) / bar[1:]))
        vars(self).update(_in_log_alpha=self.interpolation == "log_alpha" and bar[-1] > 0.0)
        vars(self).update(knots=knots, t_max=float(len(knots)))

    def label(self, t: ArrayLike) -> Array:
        return np.maximum(self._inside(t), 0.0)

    def _piece(self, t: Array) -> tuple[NDArray[np.intp], Array]:
        """Piece that holds t and the fraction of it that lies before t."""
        i = np.floor(t).astype(np.intp) + 1  # np.clip of integers takes longer than all of this
        i = np.minimum(np.maximum(i, 0), self._bar.size - 2)
        return i, t - (i - 1)

    def _rise(self, i: NDArray[np.intp], span: Array, f: Array) -> Array:
        """Rise of B inside piece i from the fraction f - span of it to f."""
        if self._in_log_alpha:
            return span * self._rises[i]
        bar, bar_next = self._bar[i], self._bar[i + 1]
        with np.errstate(divide="ignore", invalid="ignore"):  # at a last alpha-bar of 0
            in_log_alpha = span * self._rises[i]
            in_alpha_bar = np.log1p(span * (bar - bar_next) / ((1.0 - f) * bar + f * bar_next))
        return np.where(self._in_alpha_bar(i), in_alpha_bar, in_log_alpha)

    def _in_alpha_bar(self, i: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether piece i is linear in alpha-bar, not in log alpha."""
        return (self._bar[i + 1] == 0.0) | (self.interpolation == "alpha_bar")

    def _rise_of_knots(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> Array:
        """Rise of B from knot i to knot j >= i."""
        if self._bar[-1] > 0.0:
            return np.log1p((self._bar[i] - self._bar[j]) / self._bar[j])
        with np.errstate(divide="ignore"):
            return np.log1p((self._bar[i] - self._bar[j]) / self._bar[j])

    def _decay(self, t: Array) -> Array:
        i, f = self._piece(t)
        return self._rise(i, f, f) - self._log_bar[i]

    def _decay_change(self, t: Array, t_next: Array) -> Array:
        low: Array = np.minimum(t, t_next)
        high: Array = np.maximum(t, t_next)
        (i, _), (j, f) = self._piece(low), self._piece(high)
        to_knot, from_knot = self._rise(i, i - low, np.ones_like(f)), self._rise(j, f, f)
        across = to_knot + self._rise_of_knots(np.minimum(i + 1, j), j) + from_knot
        within = self._rise(j, high - low, f)
        change = np.where(i == j, within, across)
        return np.where(low == high, 0.0, np.sign(t_next - t) * np.where(low == high, 0.0, change))

    def _decay_rate(self, t: Array) -> Array:
        i = np.clip(np.ceil(t).astype(np.intp), 0, self._bar.size - 2)  # at a knot the piece below it
        if self._in_log_alpha:
            return self._rises[i][()]
        bar, bar_next, f = self._bar[i], self._bar[i + 1], t - (i - 1)
        with np.errstate(divide="ignore"):
            in_alpha_bar = (bar - bar_next) / ((1.0 - f) * bar + f * bar_next)
        return np.where(self._in_alpha_bar(i), in_alpha_bar, self._rises[i])[()]

    def _time_of_decay(self, decay: Array) -> Array:
        decay_of_knots = -self._log_bar
        i = np.searchsorted(decay_of_knots, decay, side="right") - 1
        i = np.clip(i, 0, self._bar.size - 2)
        beyond = decay - decay_of_knots[i]
        with np.errstate(invalid="ignore"):  # inf / inf, where the other form is taken
            in_log_alpha = beyond / self._rises[i]
        if self._in_log_alpha:
            return np.add(i - 1, in_log_alpha, dtype=np.float64)
        in_alpha_bar = -np.expm1(-beyond) / ((self._bar[i] - self._bar[i + 1]) / self._bar[i])
        return np.add(i - 1, np.where(self._in_alpha_bar(i), in_alpha_bar, in_log_alpha), dtype=np.float64)


def from_alphas_cumprod(alphas_cumprod: ArrayLike, *, interpolation: str = "log_alpha") -> AlphasCumprod:
    """Schedule through a 1-D table of alpha-bar (``alphas_cumprod`` of a diffusers scheduler).

    ``interpolation``: "log_alpha" (as DPM-Solver) or "alpha_bar" (as DEIS).
    """
    return AlphasCumprod(alphas_cumprod, interpolation)  # type: ignore[arg-type]


def _checked_alpha_bar(table: ArrayLike) -> Array:
    """The table with the alpha-bar of clean data, 1, put before it."""
    bar = reals(table, "alphas_cumprod")
    if bar.ndim != 1 or bar.size < 2:
        raise ValueError(f"alphas_cumprod has shape {bar.shape}: give 2 or more numbers in 1-D")
    signal = bar[:-1] if bar[-1] == 0.0 else bar  # no signal is left at the end: zero terminal SNR
    fix = "give numbers between these; only the last may be 0"
    check_range(signal, "alphas_cumprod", np.exp(-MAX_DECAY), 1.0, fix)
    bar = np.concatenate(([1.0], bar))
    bar.setflags(write=False)
    if not (np.diff(bar) < 0.0).all():
        k = int(np.argmax(np.diff(bar) >= 0.0))
        fix = "give the cumulative product of 1 - beta, every beta inside (0, 1)"
        raise ValueError(f"alphas_cumprod[{k}]={bar[k + 1]!s} does not fall from {bar[k]!s}: {fix}")
    return bar
