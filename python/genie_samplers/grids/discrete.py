"""Grids of the indices of a checkpoint's table, as DDIM and diffusers take them; whole ones except ``euler_linspace``.

Every one has ``steps`` falling indices of the table, one per network evaluation, and then t_zero = -1: the last step
ends at alpha-bar = 1, as with ``set_alpha_to_one`` or ``final_sigmas_type="zero"``. Cut it off (``grid[:-1]``) for a
grid of steps - 1 steps without that one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .._arguments import integer
from ..schedules import AlphasCumprod, Schedule, check_schedule

__all__ = [
    "ddim_quadratic",
    "discrete_leading",
    "discrete_linspace",
    "discrete_trailing",
    "dpm_leading",
    "dpm_linspace",
    "euler_linspace",
]

Array = NDArray[np.float64]


def discrete_linspace(schedule: Schedule, steps: int) -> Array:
    """From the last index to 0, both included, equidistant and rounded; ``timestep_spacing="linspace"``.

    One step starts at the last index (diffusers: at index 0, where there is next to no noise to remove).
    """
    size, steps = _checked(schedule, steps)
    return _falling_to_zero(np.round(np.linspace(0, size - 1, steps)) if steps > 1 else [size - 1])


def discrete_leading(schedule: Schedule, steps: int, *, steps_offset: int = 0) -> Array:
    """Multiples 0, 1, .. steps - 1 of size // steps, plus ``steps_offset``; ``timestep_spacing="leading"``.

    Starts up to size // steps short of the last index; Stable Diffusion's offset is 1. ValueError where the offset
    leads beyond the table.
    """
    size, steps = _checked(schedule, steps)
    return _with_offset(np.arange(steps) * (size // steps), steps_offset, size, steps)


def discrete_trailing(schedule: Schedule, steps: int) -> Array:
    """size, size - size / steps, .. rounded, less 1; ``timestep_spacing="trailing"`` (arXiv 2305.08891).

    Starts at the last index, as a checkpoint with zero terminal SNR wants.
    """
    size, steps = _checked(schedule, steps)
    multiples = np.arange(size, 0, -size / steps)[:steps]  # in this form ties fall where those of diffusers do
    return _falling_to_zero(np.round(multiples[::-1]) - 1)


def dpm_linspace(schedule: Schedule, steps: int) -> Array:
    """``steps`` + 1 equidistant indices from the last to 0, rounded, without that 0: "linspace" of multistep classes.

    Those are DPMSolverMultistep, UniPC, DEIS and SASolver; their "trailing" is ``trailing``. ValueError for as many
    steps as indices.
    """
    size, steps = _checked(schedule, steps, spare=1)
    return _falling_to_zero(np.round(np.linspace(0, size - 1, steps + 1))[1:])


def dpm_leading(schedule: Schedule, steps: int, *, steps_offset: int = 0) -> Array:
    """Multiples 1, 2, .. steps of size // (steps + 1), plus ``steps_offset``: "leading" of multistep classes.

    ValueError for as many steps as indices, and where the offset leads beyond the table.
    """
    size, steps = _checked(schedule, steps, spare=1)
    return _with_offset(np.arange(1, steps + 1) * (size // (steps + 1)), steps_offset, size, steps)


def euler_linspace(schedule: Schedule, steps: int) -> Array:
    """As :func:`discrete_linspace`, not rounded: "linspace" of the Euler and LMS classes.

    The time, and so the label, is theirs. Their sigma is linear between the indices, here log alpha is (or alpha-bar):
    gamma of an index that is not whole is off by at most an eighth of the square of gamma's relative change from index
    to index, with DDPM's table 2e-4 around index 20 and 1e-5 at the last.
    """
    size, steps = _checked(schedule, steps)
    return _falling_to_zero(np.linspace(0, size - 1, steps) if steps > 1 else [size - 1])


def ddim_quadratic(schedule: Schedule, steps: int) -> Array:
    """floor(0.8 size (i / (steps - 1))^2), i = 0 .. steps - 1: "quad" of Song et al., arXiv 2010.02502.

    Starts at 0.8 size, not at the last index; one step too. Reckoned in integers: nothing is lost to rounding.
    ValueError for more steps than have different indices, 29 of a table of 1000 (``quadratic_t`` knows no such limit).
    """
    size, steps = _checked(schedule, steps)
    most = 1 + math.isqrt(4 * size // 5)
    if steps > most:
        fix = f"take at most {most} steps, or quadratic_t"
        raise ValueError(f"steps={steps}: two indices of the DDIM quadratic grid of {size} are equal; {fix}")
    if steps == 1:
        return _falling_to_zero([4 * size // 5])
    return _falling_to_zero([4 * size * i * i // (5 * (steps - 1) ** 2) for i in range(steps)])


def _checked(schedule: Schedule, steps: int, *, spare: int = 0) -> tuple[int, int]:
    """The size of the table, and steps, of which it must hold ``spare`` more."""
    check_schedule(schedule)
    if not isinstance(schedule, AlphasCumprod):
        fix = "take uniform_t, or a schedule of schedules.from_alphas_cumprod or from_betas"
        raise ValueError(f"schedule={schedule!r} has no table of indices: {fix}")
    size = len(schedule.alphas_cumprod)
    if integer(steps, "steps", least=1) > size - spare:
        most = f"{size - spare} steps" if spare else "as many steps"
        raise ValueError(f"steps={steps}: the table has {size} indices, take at most {most}")
    return size, integer(steps, "steps")


def _with_offset(rising: NDArray[np.intp], steps_offset: int, size: int, steps: int) -> Array:
    offset, most = integer(steps_offset, "steps_offset", least=0), size - 1 - int(rising[-1])
    if offset > most:
        raise ValueError(f"steps_offset={offset}: with steps={steps} give at most {most}, the table ends at {size - 1}")
    return _falling_to_zero(rising + offset)


def _falling_to_zero(rising: NDArray[np.float64] | NDArray[np.intp] | list[int]) -> Array:
    return np.append(np.asarray(rising, dtype=np.float64)[::-1], -1.0)
