"""Coloured noise: gains of every draw and frequency, in closed form from a spectrum or from measured progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import choice, real, reals, shown
from ..files import unreadable
from ..plan import Apply, Plan
from .filter_files import FIX, read_filter, write_filter
from .gaussian import response, target_variances
from .transforms import TRANSFORMS, image_shape

__all__ = ["NoiseGains", "gains_from_progress", "gains_from_spectrum", "least_change"]

Array = NDArray[np.float64]

_KIND = "genie_samplers noise gains"


@dataclass(frozen=True, eq=False)
class NoiseGains:
    """Draw n of a plan is made of white noise by T^-1 diag(bank[n]) T.

    transform: "dct" or "dft". bank: gains >= 0, [draws, H, W] or [draws, C, H, W], copied, float64 and read-only.
    about: JSON of where they come from. ValueError or TypeError naming argument, value and fix.
    """

    transform: str
    bank: Array
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        choice(self.transform, "transform", TRANSFORMS)
        bank = np.array(reals(self.bank, "bank"))
        if bank.ndim not in (3, 4) or bank.size == 0:
            raise ValueError(f"bank has shape {bank.shape}; need [draws, H, W] or [draws, C, H, W]")
        if not np.isfinite(bank).all() or bank.min() < 0.0:
            raise ValueError("bank: holds inf, NaN or a negative number; give gains of 0 or more, 1 leaves white noise")
        bank.flags.writeable = False
        object.__setattr__(self, "bank", bank)
        if not isinstance(self.about, Mapping):
            raise TypeError(f"about={shown(self.about)}: give a mapping that JSON can hold")

    def __reduce__(self) -> tuple[object, ...]:
        return NoiseGains, (self.transform, self.bank, self.about)  # a copy's arrays are read-only, too

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        height, width = self.bank.shape[-2:]
        return height, width

    @property
    def mean_squares(self) -> Array:
        """[draws]: how much more noise each draw has than a white one."""
        return (self.bank**2).reshape(len(self.bank), -1).mean(axis=1)

    def shrunk(self, strength: ArrayLike) -> NoiseGains:
        """g^2 -> 1 + strength (g^2 - 1): 1 as they are, 0 white noise; one number, or one for each frequency.

        ValueError outside [0, 1], and for an array that is not of the shape of a draw's gains.
        """
        amount = reals(strength, "strength")
        if amount.ndim and amount.shape != self.bank.shape[1:]:
            raise ValueError(
                f"strength has shape {amount.shape}; give one number, or one for each of {self.bank.shape[1:]}"
            )
        if not (amount.min() >= 0.0 and amount.max() <= 1.0):  # nor NaN
            raise ValueError(f"strength={shown(strength)}; need 0 (white) to 1 (as they are)")
        bank = np.sqrt(1.0 + amount * (self.bank**2 - 1.0))
        about = float(amount) if amount.ndim == 0 else {"least": float(amount.min()), "most": float(amount.max())}
        return NoiseGains(self.transform, bank, {**self.about, "strength": about})

    def normalised(self) -> NoiseGains:
        """Every draw with mean square one, as published; ValueError for a draw that is 0."""
        squares = self.mean_squares
        if squares.min() == 0.0:
            raise ValueError(
                f"bank: draw {int(squares.argmin())} is 0 at every frequency; it has no mean square to hold"
            )
        shape = (-1,) + (1,) * (self.bank.ndim - 1)
        return NoiseGains(
            self.transform, self.bank / np.sqrt(squares).reshape(shape), {**self.about, "mean_square": 1.0}
        )

    def check_fits(self, shape: Sequence[int], plan: Plan | None = None) -> None:
        """ValueError unless they belong to samples [B, C, H, W] or [B, C, ..., H, W], and to the draws of ``plan``.

        A plan that applies an operator must hand it the number of each draw, as ``plan.filtered(by_draw=True)`` does.
        """
        own = self.bank.shape[1:]
        if image_shape(shape)[-len(own) :] != own:
            raise ValueError(
                f"gains are for samples [..., {', '.join(map(str, own))}], the model's are {list(shape)}; compute them "
                "from a spectrum of this size"
            )
        if plan is None:
            return
        draws = sum(len(row.draws) for row in plan.rows)
        if draws != len(self.bank):
            raise ValueError(f"gains of {len(self.bank)} draws, and the plan has {draws}; compute them for this plan")
        for name in plan.operators:
            self.check_applied(plan, name)

    def check_applied(self, plan: Plan, name: str) -> None:
        """ValueError unless the plan hands its operator ``name`` as many draws as there are gains, by their numbers."""
        applied = [row for row in plan.rows if isinstance(row, Apply) and row.operator == name]
        by_draw = all(row.source.of == "draw" and row.index == row.source.number for row in applied)
        if by_draw and len(applied) != len(self.bank):
            raise ValueError(
                f"gains of {len(self.bank)} draws, and the plan filters {len(applied)}; compute them for this plan"
            )
        if plan.init.operator == name or not by_draw:
            raise ValueError(
                "gains: the plan hands its operator no number of a draw, so that all noise would go through the gains "
                "of the first; give one without operators to plan.filtered(by_draw=True)"
            )

    def save(self, path: Path | str) -> None:
        """``path``, a .json that says what they are, and beside it the numbers in a .safetensors of the same name."""
        write_filter(path, _KIND, self.transform, {"bank": self.bank}, self.about)

    @staticmethod
    def load(path: Path | str) -> NoiseGains:
        """Read :meth:`save`'s two files; ValueError naming the file, what is wrong with it and the fix."""
        transform, arrays, about = read_filter(path, _KIND, "bank")
        with unreadable(Path(path), FIX):
            return NoiseGains(transform, arrays["bank"], about)


def gains_from_spectrum(plan: Plan, spectrum: ArrayLike, *, transform: str = "dct") -> NoiseGains:
    """The least change from white noise with which the plan reaches the spectrum of Gaussian data exactly.

    spectrum: the variance of each frequency, [H, W] or [C, H, W] (:func:`.power_spectrum`). The final variance of a
    mode is linear in the squared gains of the draws, c0^2 + sum a_d g_d^2; of all that give alpha^2 v + sigma^2 these
    have the least sum of (g_d^2 - 1)^2 (docs/tdas.md). Where c0^2 alone is too much, they are 0. What is exact for
    Gaussian data is too much for others: start from :meth:`NoiseGains.shrunk`. ValueError as of :func:`.response`, and
    for a plan without draws.
    """
    found = response(plan, spectrum)
    if found.state.ndim not in (2, 3):
        raise ValueError(f"spectrum has shape {found.state.shape}; need [H, W] or [C, H, W]")
    if found.draws.shape[-1] == 0:
        raise ValueError("plan: draws no noise; take a stochastic solver, such as ddpm, or ddim with eta > 0")
    squares = least_change(found.draws**2, target_variances(plan, spectrum) - found.state**2)
    return NoiseGains(transform, np.sqrt(np.moveaxis(squares, -1, 0)), {"from": "spectrum"})


def gains_from_progress(
    progress: ArrayLike, *, transform: str = "dct", power: float = 1.0, divider: float = 1.0
) -> NoiseGains:
    """g^2 proportional to (1 - progress / divider)^power, each draw with mean square one: noise where work is left.

    progress: in [0, 1], how much of each frequency stands before each draw, [draws, H, W] or [draws, C, H, W]
    (:func:`.measured_progress`). power, divider: how strongly, divider at least 1. arXiv 2605.30332, without its tilts
    and energy scales. ValueError for progress outside [0, 1], and for a draw where nothing is left to do.
    """
    done = reals(progress, "progress")
    exponent, by = real(power, "power"), real(divider, "divider")
    if not 0.0 <= exponent < np.inf or not 1.0 <= by < np.inf:
        raise ValueError(f"power={exponent}, divider={by}; need power >= 0 and divider >= 1, both finite")
    if done.size == 0 or not (done.min() >= 0.0 and done.max() <= 1.0):  # nor NaN
        raise ValueError("progress: empty, or leaves 0..1; give the share of each frequency that stands, clipped")
    left = (1.0 - done / by) ** exponent
    about = {"from": "progress", "power": exponent, "divider": by}
    return NoiseGains(transform, np.sqrt(left), about).normalised()


def least_change(weights: Array, needed: Array) -> Array:
    """G [..., D] >= 0 with sum weights * G = needed and the least sum of (G - 1)^2, for each [...].

    weights: [..., D], none negative; needed [...]; where that is not positive, G is 0. Otherwise
    G = max(0, 1 + mu w): of the weights in falling order the first k are at their bound, and over the others
    mu = (needed - sum w) / sum w^2; k is the least for which all of those stay >= 0. A weight of 0 keeps its 1.
    """
    falling = -np.sort(-weights, axis=-1)
    rest, rest_of_squares = (np.cumsum(w[..., ::-1], axis=-1)[..., ::-1] for w in (falling, falling**2))
    with np.errstate(divide="ignore", invalid="ignore"):  # of weights that are all 0
        mu = (needed[..., None] - rest) / rest_of_squares
        allowed = 1.0 + mu * falling >= 0.0
        chosen = np.take_along_axis(mu, allowed.argmax(axis=-1)[..., None], axis=-1)
        found = np.where(weights > 0.0, np.maximum(0.0, 1.0 + chosen * weights), 1.0)
    return np.where((needed <= 0.0)[..., None] & (weights > 0.0), 0.0, found)
