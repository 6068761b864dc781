"""Noise levels of flow matching as the schedulers and pipelines of diffusers make them.

On the straight path sigma is the time itself, x_t = (1 - sigma) x_0 + sigma eps. All functions take and give float64.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import choice, integer, real, reals
from ..schedules import Flow, Schedule, check_schedule, shift_of_mu
from .beta_law import beta_quantile
from .times import given

__all__ = [
    "RESPACINGS",
    "SPACINGS",
    "flow_grid",
    "flow_sigmas",
    "linear_quadratic",
    "respaced",
    "shifted",
    "shifted_by_mu",
    "stretched",
]

Array = NDArray[np.float64]

SPACINGS = ("linear", "flow_match", "flow_match_exact", "multistep", "unipc", "linear_quadratic")
RESPACINGS = ("karras", "exponential", "beta")


def flow_sigmas(
    steps: int,
    *,
    spacing: str = "linear",
    shift: float = 1.0,
    mu: float | None = None,
    time_shift_type: str = "exponential",
    shift_terminal: float | None = None,
    respacing: str | None = None,
    train_steps: int = 1000,
) -> Array:
    """The ``steps`` falling noise levels at which a flow network is asked, without the 0 at which the last step ends.

    spacing, before any shift, T = train_steps, N = steps:

    * "linear": 1, 1 - 1/N, .., 1/N, what the pipelines of FLUX, Qwen-Image, Z-Image and HunyuanVideo pass
    * "flow_match": FlowMatchEulerDiscreteScheduler by itself (SD3): evenly from 1 to the *shifted* 1/T, so that the
      static shift acts twice on the last one; "flow_match_exact": to 1/T, which it was meant to be
    * "multistep": DPMSolver, DEIS, SASolver with use_flow_sigmas: (1 - 1/T) times "linear"
    * "unipc": UniPC likewise: N of the N + 1 equidistant from 1 to 1/T; 1 itself where that class takes 1 - 1e-6
    * "linear_quadratic": Mochi

    Then :func:`shifted` by ``shift``, or :func:`shifted_by_mu` where ``mu`` is given; :func:`stretched` to end at
    ``shift_terminal``; and :func:`respaced` between the two ends. DPMSolver, DEIS, SASolver and UniPC truncate sigma T
    to an integer before the network sees it; the label of the time does not. ValueError for an unknown name, a mu
    beside a shift, and where two levels are equal.
    """
    steps, size = integer(steps, "steps", least=1), integer(train_steps, "train_steps", least=2)
    if mu is not None and shift != 1.0:
        raise ValueError(f"mu={mu!r} beside shift={shift!r}: give one of them")
    sigmas = _base(steps, choice(spacing, "spacing", SPACINGS), shift, size)
    sigmas = shifted(sigmas, shift) if mu is None else shifted_by_mu(sigmas, mu, time_shift_type=time_shift_type)
    if shift_terminal is not None:
        sigmas = stretched(sigmas, shift_terminal)
    if respacing is not None:
        sigmas = respaced(sigmas, respacing)
    if not np.all(np.diff(sigmas) < 0.0):
        raise ValueError(f"steps={steps}: two noise levels are equal in float64; take fewer steps or a smaller shift")
    return sigmas


def flow_grid(schedule: Schedule, steps: int, *, spacing: str = "linear", respacing: str | None = None) -> Array:
    """:func:`flow_sigmas` with the shift of the schedule, and then 0. ValueError for a schedule other than flow."""
    check_schedule(schedule)
    if not isinstance(schedule, Flow):
        raise ValueError(f"schedule={schedule!r} is no flow: take karras or beta, or schedules.flow()")
    sigmas = flow_sigmas(steps, spacing=spacing, shift=schedule.shift, respacing=respacing)
    return given(schedule, np.append(sigmas, 0.0))


def shifted(sigmas: ArrayLike, shift: float) -> Array:
    """shift s / (1 + (shift - 1) s) of Esser et al., arXiv 2403.03206. ValueError unless 0 < shift < inf."""
    shift = real(shift, "shift")
    if not 0.0 < shift < math.inf:
        raise ValueError(f"shift={shift!r}: give a positive finite number")
    s = reals(sigmas, "sigmas")
    return shift * s / (1.0 + (shift - 1.0) * s)


def shifted_by_mu(sigmas: ArrayLike, mu: float, *, time_shift_type: str = "exponential") -> Array:
    """The shift of ``use_dynamic_shifting``: e^mu / (e^mu + 1/s - 1), or "linear" mu / (mu + 1/s - 1).

    That is :func:`shifted` by e^mu, or by mu; mu follows from the size of the image, :func:`mu_of_length`.
    """
    return shifted(sigmas, shift_of_mu(mu, time_shift_type=time_shift_type))


def stretched(sigmas: ArrayLike, terminal: float) -> Array:
    """1 - s stretched so that the last s is ``terminal`` (LTX, Qwen-Image: ``shift_terminal``); a first 1 stays.

    ValueError unless 0 < terminal < 1 and the last s is below 1.
    """
    s, terminal = reals(sigmas, "sigmas"), real(terminal, "shift_terminal")
    if not 0.0 < terminal < 1.0:
        raise ValueError(f"shift_terminal={terminal!r}: choose 0 < shift_terminal < 1")
    if s[-1] >= 1.0:
        raise ValueError(f"shift_terminal={terminal!r}: the last noise level is {s[-1]!s}; take 2 steps or more")
    return 1.0 - (1.0 - s) * ((1.0 - terminal) / (1.0 - s[-1]))


def respaced(sigmas: ArrayLike, respacing: str) -> Array:
    """As many levels between the first and the last: "karras" (uniform in s^(1/7)), "exponential" (in log s), or
    "beta" (quantiles of Beta(0.6, 0.6)). On flow these are levels of sigma itself, not of gamma as in ``karras``.
    """
    s = reals(sigmas, "sigmas")
    high, low, u = s[0], s[-1], np.linspace(0.0, 1.0, s.size)
    match choice(respacing, "respacing", RESPACINGS):
        case "karras":
            between = (high ** (1.0 / 7.0) + u * (low ** (1.0 / 7.0) - high ** (1.0 / 7.0))) ** 7
        case "exponential":
            between = np.exp(math.log(high) + u * (math.log(low) - math.log(high)))
        case _:
            between = low + (high - low) * beta_quantile(1.0 - u, 0.6, 0.6)
    between[-1], between[0] = low, high
    return between


def linear_quadratic(steps: int, *, threshold: float = 0.025, linear_steps: int | None = None) -> Array:
    """1 - f, f rising evenly from 0 to ``threshold`` in ``linear_steps`` (half of ``steps``), then in a parabola to 1.

    Mochi's schedule. ValueError unless there are 2 or more steps, 0 < threshold < 1 and 0 < linear_steps < steps.
    """
    steps, threshold = integer(steps, "steps", least=2), real(threshold, "threshold")
    linear = steps // 2 if linear_steps is None else integer(linear_steps, "linear_steps")
    if not (0.0 < threshold < 1.0 and 0 < linear < steps):
        fix = f"choose 0 < threshold < 1 and 0 < linear_steps < {steps}"
        raise ValueError(f"threshold={threshold!r}, linear_steps={linear}: {fix}")
    slope, left = threshold / linear, steps - linear
    i = np.arange(steps)
    beyond = np.maximum(i - linear, 0)  # a parabola that meets the line with its slope and reaches 1 after all steps
    curvature = (1.0 - threshold - slope * left) / left**2
    return 1.0 - (slope * i + curvature * beyond**2)


def _base(steps: int, spacing: str, shift: float, size: int) -> Array:
    i = np.arange(steps)
    match spacing:
        case "linear":
            return (steps - i) / steps
        case "flow_match":
            return np.linspace(1.0, float(shifted(1.0 / size, shift)), steps)
        case "flow_match_exact":
            return np.linspace(1.0, 1.0 / size, steps)
        case "multistep":
            return (1.0 - 1.0 / size) * ((steps - i) / steps)
        case "unipc":
            return np.linspace(1.0, 1.0 / size, steps + 1)[:-1]
        case _:
            return linear_quadratic(steps)
