"""Grids of whole indices of a checkpoint's table, as DDIM and diffusers take them.

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

__all__ = ["ddim_quadratic", "discrete_leading", "discrete_linspace", "discrete_trailing"]

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
    offset, stride = integer(steps_offset, "steps_offset", least=0), size // steps
    most = size - 1 - (steps - 1) * stride
    if offset > most:
        raise ValueError(f"steps_offset={offset}: with steps={steps} give at most {most}, the table ends at {size - 1}")
    return _falling_to_zero(np.arange(steps) * stride + offset)


def discrete_trailing(schedule: Schedule, steps: int) -> Array:
    """size, size - size / steps, .. rounded, less 1; ``timestep_spacing="trailing"`` (arXiv 2305.08891).

    Starts at the last index, as a checkpoint with zero terminal SNR wants.
    """
    size, steps = _checked(schedule, steps)
    multiples = np.arange(size, 0, -size / steps)[:steps]  # in this form ties fall where those of diffusers do
    return _falling_to_zero(np.round(multiples[::-1]) - 1)


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


def _checked(schedule: Schedule, steps: int) -> tuple[int, int]:
    """The size of the table, and steps."""
    check_schedule(schedule)
    if not isinstance(schedule, AlphasCumprod):
        fix = "take uniform_t, or a schedule of schedules.from_alphas_cumprod or from_betas"
        raise ValueError(f"schedule={schedule!r} has no table of indices: {fix}")
    size = len(schedule.alphas_cumprod)
    if integer(steps, "steps", least=1) > size:
        raise ValueError(f"steps={steps}: the table has {size} indices, take at most as many steps")
    return size, integer(steps, "steps")


def _falling_to_zero(rising: NDArray[np.float64] | NDArray[np.intp] | list[int]) -> Array:
    return np.append(np.asarray(rising, dtype=np.float64)[::-1], -1.0)
