"""The times at which a configured scheduler asks the network, and where its last step ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ... import grids
from ...schedules import AlphasCumprod, shift_of_mu

__all__ = [
    "exactly_one",
    "flow_levels",
    "given_levels",
    "given_times",
    "levels_between",
    "listed",
    "table_times",
    "times_of_levels",
    "whole",
]

Array = NDArray[np.float64]
_RESPACED = {"use_karras_sigmas": "karras", "use_exponential_sigmas": "exponential", "use_beta_sigmas": "beta"}
_ROUNDING = 1e-9  # of a time, in entries of the table
_SPACINGS = {
    "ddim": {"linspace": grids.discrete_linspace, "trailing": grids.discrete_trailing},
    "multistep": {"linspace": grids.dpm_linspace, "trailing": grids.discrete_trailing},
    "euler": {"linspace": grids.euler_linspace, "trailing": grids.discrete_trailing},
}


def table_times(schedule: AlphasCumprod, config: Mapping[str, Any], steps: int, habit: str) -> Array:
    """Falling times of the table, one per step: by the configured spacing or noise levels.

    habit: whose "linspace" and "leading" these are, "ddim", "multistep" or "euler". ValueError for an unknown spacing,
    and for more steps than the table has entries.
    """
    size = len(schedule.alphas_cumprod)
    if not 1 <= steps <= size:
        raise ValueError(
            f"num_inference_steps={steps}: choose 1 to {size}, the num_train_timesteps of the model (timesteps= and "
            "sigmas= may lie between them)"
        )
    respaced = _respacing(config)
    if respaced is None:
        kept = _of_least_signal(schedule, config)
        return _spaced(schedule, config, steps, habit) if kept == size else _clipped(kept, size, config, steps)
    ends = _spaced(schedule, config, steps, habit)[[0, -1]] if habit == "euler" else np.array([schedule.t_max, 0.0])
    high, low = schedule.gamma(ends).tolist()
    if config.get("sigma_max") is not None:
        high = min(
            float(config["sigma_max"]), float(schedule.gamma(schedule.t_max))
        )  # the model knows no noisier times
    if config.get("sigma_min") is not None:
        low = float(config["sigma_min"])
    return times_of_levels(schedule, levels_between(high, low, steps, respaced))


def _of_least_signal(schedule: AlphasCumprod, config: Mapping[str, Any]) -> int:
    """How many entries of the table have a log(alpha / sigma) of ``lambda_min_clipped`` at least."""
    least = float(config.get("lambda_min_clipped", -np.inf))
    if least == -np.inf:
        return len(schedule.alphas_cumprod)
    bar = np.asarray(schedule.alphas_cumprod)
    return int(np.count_nonzero(0.5 * (np.log(bar) - np.log1p(-bar)) >= least))


def _clipped(kept: int, size: int, config: Mapping[str, Any], steps: int) -> Array:
    """The spacings of the multistep classes on the first ``kept`` entries, as diffusers' DPMSolver has them."""
    if steps >= kept:
        raise ValueError(
            f"num_inference_steps={steps}: lambda_min_clipped={config['lambda_min_clipped']} leaves {kept} times of "
            "the model, take fewer steps or a lower bound"
        )
    spacing = config["timestep_spacing"]
    if spacing == "linspace":
        return np.linspace(0, kept - 1, steps + 1).round()[:0:-1]
    if spacing == "leading":
        return (np.arange(steps + 1) * (kept // (steps + 1))).round()[:0:-1] + float(config["steps_offset"])
    if spacing == "trailing":  # of the model's every time, of which it takes those that are kept
        return np.arange(kept, 0, -size / steps).round() - 1.0
    raise ValueError(f"timestep_spacing={spacing!r}: choose 'linspace', 'leading' or 'trailing'")


def times_of_levels(schedule: AlphasCumprod, levels: Array) -> Array:
    """Times of noise levels gamma; one above the table's last is that, one on an entry but for rounding is on it."""
    times = schedule.time_of_gamma(np.minimum(levels, schedule.gamma(schedule.t_max)))
    whole = np.rint(times)
    return np.where(np.abs(times - whole) < _ROUNDING, whole, times)


def _spaced(schedule: AlphasCumprod, config: Mapping[str, Any], steps: int, habit: str) -> Array:
    spacing, offset, size = config["timestep_spacing"], config["steps_offset"], len(schedule.alphas_cumprod)
    if spacing == "leading":
        if steps == 1:
            return np.array([schedule.t_max])  # a multiple of 0 would ask where there is no noise to remove
        if habit == "multistep" and steps < size:
            return grids.dpm_leading(schedule, steps, steps_offset=offset)[:-1]
        return grids.discrete_leading(schedule, steps, steps_offset=min(offset, _spare(size, steps)))[:-1]
    if spacing not in _SPACINGS[habit]:
        raise ValueError(f"timestep_spacing={spacing!r}: choose 'linspace', 'leading' or 'trailing'")
    if habit == "multistep" and steps == size:
        habit = "ddim"  # as many steps as entries leave none to be left out
    return _SPACINGS[habit][spacing](schedule, steps)[:-1]


def _spare(size: int, steps: int) -> int:
    """The largest offset of ``steps`` multiples of size // steps."""
    return size - 1 - (steps - 1) * (size // steps)


def _respacing(config: Mapping[str, Any]) -> str | None:
    chosen = [name for name in (*_RESPACED, "use_lu_lambdas") if config.get(name)]
    if len(chosen) > 1:
        raise ValueError(f"{', '.join(chosen)}: only one of them can be set")
    return _RESPACED.get(chosen[0], "exponential") if chosen else None  # equal steps of log-SNR are of log sigma


def levels_between(high: float, low: float, steps: int, respacing: str) -> Array:
    """``steps`` falling levels from ``high`` to ``low``, of one step ``high``; ValueError unless high > low > 0."""
    if not 0.0 < low < high and not (steps == 1 and 0.0 < low == high):  # one spaced time is both ends
        raise ValueError(f"sigma_min={low:g}, sigma_max={high:g}: choose 0 < sigma_min < sigma_max")
    return np.array([high]) if steps == 1 else grids.respaced(np.linspace(high, low, steps), respacing)


def given_times(schedule: AlphasCumprod, timesteps: ArrayLike) -> Array:
    """The caller's ``timesteps``; ValueError unless they fall, within the table."""
    times = np.asarray(timesteps, dtype=np.float64).reshape(-1)
    if times.size == 0 or not np.isfinite(times).all():
        raise ValueError(f"timesteps={times.tolist()}: give one or more finite numbers")
    if (np.diff(times) >= 0.0).any():
        raise ValueError(f"timesteps={times.tolist()}: `timesteps` must be in descending order")
    if times[0] > schedule.t_max or times[-1] < 0.0:
        raise ValueError(
            f"timesteps={times.tolist()}: `timesteps` must start before `num_train_timesteps`: {schedule.t_max + 1:g}, "
            "and end at 0 or later"
        )
    return times


def given_levels(sigmas: ArrayLike) -> Array:
    """The caller's ``sigmas``; ValueError unless they fall and none is negative."""
    levels = np.asarray(sigmas, dtype=np.float64).reshape(-1)
    if levels.size == 0 or not np.isfinite(levels).all() or levels[-1] < 0.0:
        raise ValueError(f"sigmas={levels.tolist()}: give one or more finite noise levels >= 0")
    if (np.diff(levels) >= 0.0).any():
        raise ValueError(f"sigmas={levels.tolist()}: `sigmas` must be in descending order")
    return levels


def flow_levels(
    config: Mapping[str, Any],
    steps: int | None,
    *,
    spacing: str,
    shift: float,
    mu: float | None,
    sigmas: Sequence[float] | None,
    timesteps: Sequence[float] | None,
) -> Array:
    """Falling noise levels of flow, one per step, shifted as configured; what is given too, as diffusers does.

    ValueError where ``use_dynamic_shifting`` has no mu, and where two levels are equal.
    """
    size = int(config["num_train_timesteps"])
    if config["use_dynamic_shifting"]:
        if mu is None:
            raise ValueError(
                "mu: `mu` must be passed when `use_dynamic_shifting` is set to be `True`; pipelines compute it from "
                "the size of the image, grids.mu_of_length(tokens) does too"
            )
        shift = shift_of_mu(mu, time_shift_type=config["time_shift_type"])
    if sigmas is not None:
        given = given_levels(sigmas)
        given = given[:-1] if given.size > 1 and given[-1] == 0.0 else given  # where the last step ends in any case
        levels = grids.shifted(given, shift)
    elif timesteps is not None:
        levels = grids.shifted(given_levels(timesteps) / size, shift)
    else:
        levels = _by_itself(
            steps, spacing, shift, float(config.get("shift", shift)), size, dynamic=config["use_dynamic_shifting"]
        )
    if config["shift_terminal"] and levels.size > 1:
        levels = grids.stretched(levels, config["shift_terminal"])
    respaced = _respacing(config)
    if respaced is not None and levels.size > 1:
        levels = grids.respaced(levels, respaced)
    if (np.diff(levels) >= 0.0).any() or levels[0] > 1.0 or levels[-1] <= 0.0:
        raise ValueError(f"sigmas={levels.tolist()}: after the shift they must fall within (0, 1]")
    return levels


def _by_itself(steps: int | None, spacing: str, shift: float, first_shift: float, size: int, *, dynamic: bool) -> Array:
    """Of num_inference_steps alone: a static shift acts on the last level of "flow_match" too, a dynamic one not.

    first_shift: of the configuration, which ``set_shift`` does not change for that last level.
    """
    if steps is None or steps < 1:
        raise ValueError(f"num_inference_steps={steps}: give 1 or more")
    if spacing == "flow_match" and dynamic:
        spacing = "flow_match_exact"
    if spacing == "flow_match":
        return grids.shifted(np.linspace(1.0, float(grids.shifted(1.0 / size, first_shift)), int(steps)), shift)
    return grids.flow_sigmas(int(steps), spacing=spacing, shift=shift, train_steps=size)


def listed(values: Sequence[float] | Tensor | None) -> list[float] | None:
    """What a caller gave as times or noise levels, on any device, as numbers."""
    if values is None:
        return None
    return np.asarray(values.cpu() if isinstance(values, Tensor) else values, dtype=np.float64).reshape(-1).tolist()


def whole(value: object, name: str) -> int:
    """``value`` as an int; TypeError for one that is no whole number."""
    if not isinstance(value, bool) and isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return int(value)
    raise TypeError(f"{name}={value!r}: give a whole number")


def exactly_one(**given: object) -> None:
    """ValueError unless one of these arguments is given."""
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise ValueError(f"Must pass exactly one of {', '.join(given)}; given: {', '.join(named) or 'none'}")
