"""The tables of beta that discrete checkpoints were trained with."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import boolean, integer, real, reals
from .alphas_cumprod import AlphasCumprod
from .base import Array

__all__ = ["from_betas", "linear_betas", "scaled_linear_betas", "squaredcos_betas"]


def linear_betas(steps: int = 1000, *, beta_start: float = 1e-4, beta_end: float = 0.02) -> Array:
    """``steps`` equidistant betas, float64 (Ho et al., arXiv 2006.11239). ValueError unless 0 < both ends < 1."""
    return np.linspace(*_ends(beta_start, beta_end), integer(steps, "steps", least=2))


def scaled_linear_betas(steps: int = 1000, *, beta_start: float = 8.5e-4, beta_end: float = 0.012) -> Array:
    """Equidistant in sqrt(beta), float64: latent diffusion (arXiv 2112.10752); the defaults are Stable Diffusion's."""
    start, end = _ends(beta_start, beta_end)
    return np.linspace(math.sqrt(start), math.sqrt(end), integer(steps, "steps", least=2)) ** 2


def squaredcos_betas(steps: int = 1000, *, s: float = 0.008, cap: float = 0.999) -> Array:
    """beta_i = 1 - cos^2(u_(i+1)) / cos^2(u_i), at most ``cap``; u_i = pi/2 (i / steps + s) / (1 + s); float64.

    Nichol and Dhariwal, arXiv 2102.09672; diffusers calls it squaredcos_cap_v2. ValueError unless 0 <= s <= 1
    and 0 < cap < 1.
    """
    steps, s, cap = integer(steps, "steps", least=2), real(s, "s"), real(cap, "cap")
    if not (0.0 <= s <= 1.0 and 0.0 < cap < 1.0):
        raise ValueError(f"s={s!r}, cap={cap!r}: choose 0 <= s <= 1 and 0 < cap < 1")
    speed, i = 0.5 * math.pi / (1.0 + s), np.arange(steps + 1)
    angle, complement = speed * (i / steps + s), speed * ((steps - i) / steps)
    sine_of_sum = np.sin(np.minimum(angle[:-1] + angle[1:], complement[:-1] + complement[1:]))
    return np.minimum(np.sin(speed / steps) * sine_of_sum / np.sin(complement[:-1]) ** 2, cap)


def from_betas(betas: ArrayLike, *, interpolation: str = "log_alpha", zero_terminal_snr: bool = False) -> AlphasCumprod:
    """Schedule of a checkpoint from its 1-D table of betas (``trained_betas``, or a function of this module).

    ``interpolation`` as :func:`from_alphas_cumprod`. ``zero_terminal_snr`` rescales sqrt(alpha-bar) to end at 0 (Lin et
    al., arXiv 2305.08891), where an epsilon network says nothing about the data: its plans need a network of another
    prediction, v as a rule. ValueError unless there are at least 2 betas, every one inside (0, 1).
    """
    beta = reals(betas, "betas")
    if beta.ndim != 1 or beta.size < 2:
        raise ValueError(f"betas has shape {beta.shape}: give 2 or more numbers in 1-D")
    if not ((beta > 0.0) & (beta < 1.0)).all():
        k = int(np.argmin((beta > 0.0) & (beta < 1.0)))
        raise ValueError(f"betas[{k}]={beta[k]!s}: every beta lies inside (0, 1)")
    log_bar = np.cumsum(np.log1p(-beta))
    rescaled = boolean(zero_terminal_snr, "zero_terminal_snr")
    bar = _to_zero_terminal_snr(log_bar) if rescaled else np.exp(log_bar)
    return AlphasCumprod(tuple(bar.tolist()), interpolation)


def _to_zero_terminal_snr(log_bar: Array) -> Array:
    beyond_last = np.expm1(0.5 * (log_bar[-1] - log_bar))  # (sqrt(last alpha-bar) - sqrt(this)) / sqrt(this)
    return np.exp(log_bar) * (beyond_last / beyond_last[0]) ** 2


def _ends(beta_start: float, beta_end: float) -> tuple[float, float]:
    start, end = real(beta_start, "beta_start"), real(beta_end, "beta_end")
    if not (0.0 < start < 1.0 and 0.0 < end < 1.0):
        raise ValueError(f"beta_start={start!r}, beta_end={end!r}: choose both inside (0, 1)")
    return start, end
