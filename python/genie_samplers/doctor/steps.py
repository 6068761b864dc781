"""The times, noise levels and steps that a scheduler of diffusers 0.42 really makes of its configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import grids
from ..schedules import Schedule, from_diffusers, shift_of_mu
from .settings import Settings

__all__ = ["Steps", "steps_of"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Steps:
    """One entry per evaluation, in order; of Heun's method per step.

    asked: what the network is told as the time. sigmas: the noise level of the state, and at last that of the result:
    of a flow the time itself, else sigma / alpha. next_sigmas: where each step ends. times: those of ``sigmas``, which
    the network should be told.
    """

    asked: Array
    sigmas: Array
    next_sigmas: Array
    times: Array

    @property
    def count(self) -> int:
        return len(self.asked)


def steps_of(settings: Settings, schedule: Schedule, count: int, mu: float | None) -> Steps:
    """``set_timesteps(count)``. Not finite, or indices beyond the table, where theirs are; what is integer is whole."""
    with np.errstate(all="ignore"):
        if settings.name == "FlowMatchEulerDiscrete":
            return _of_sigmas(settings, schedule, *_flow_match(settings, count, mu))
        if settings.name in ("DDIM", "DDPM", "PNDM"):
            return _of_indices(settings, schedule, _spaced(settings, count, spare=0).round(), count)
        if settings.flow:
            return _of_sigmas(settings, schedule, *_flow_multistep(settings, count, mu))
        multistep = settings.name in ("DEISMultistep", "DPMSolverMultistep", "UniPCMultistep")
        return _of_sigmas(settings, schedule, *_of_table(settings, count, multistep=multistep))


def _spaced(settings: Settings, count: int, *, spare: int) -> Array:
    """Indices by ``timestep_spacing``, falling; ``spare``: 1 for the multistep classes, which leave out a last one."""
    size, spacing = settings.train_steps, settings["timestep_spacing"]
    if (least := settings.values.get("lambda_min_clipped", -math.inf)) > -math.inf:
        size -= int(np.sum(-np.log(table_sigmas(settings, _schedule(settings))) < least))
    if spacing == "linspace":
        return np.linspace(0.0, size - 1.0, count + spare, dtype=np.float64)[::-1][:count]
    if spacing == "leading":
        rising = np.arange(count + spare, dtype=np.float64) * (size // (count + spare))
        return rising[::-1][:count] + float(settings["steps_offset"])
    if spacing == "trailing":
        return np.arange(size, 0, -settings.train_steps / count, dtype=np.float64).round() - 1.0
    raise ValueError(f"timestep_spacing={spacing!r}: linspace, leading and trailing are read")


def table_sigmas(settings: Settings, schedule: Schedule) -> Array:
    """sigma / alpha at the indices of the table."""
    return schedule.gamma(np.arange(settings.train_steps, dtype=np.float64))


def _of_table(settings: Settings, count: int, *, multistep: bool) -> tuple[Array, Array]:
    schedule = _schedule(settings)
    indices, table = _spaced(settings, count, spare=int(multistep)), table_sigmas(settings, schedule)
    if multistep or settings["timestep_spacing"] != "linspace":
        indices = indices.round()
    sigmas = np.interp(indices, np.arange(table.size), table)
    last = table[0] if settings.values.get("final_sigmas_type", "sigma_min") == "sigma_min" else 0.0
    kind = settings.respacing or ("lu" if settings.values.get("use_lu_lambdas") else None)
    if kind is not None:
        high, low = (table[-1], table[0]) if multistep else (sigmas[0], sigmas[-1])
        high, low = np.float32(settings["sigma_max"] or high), np.float32(settings["sigma_min"] or low)
        sigmas = respaced(float(high), float(low), count, kind)
        indices = _index_of(sigmas, table)
        if multistep:
            indices = _whole(settings, indices, kind)
        if settings.name == "DEISMultistep" or (settings.name == "UniPCMultistep" and last):
            last = sigmas[-1]
    return indices, np.append(sigmas, last)


def _whole(settings: Settings, indices: Array, kind: str) -> Array:
    """As int64: rounded before where the class does so."""
    cosine = settings.name == "DPMSolverMultistep" and settings["beta_schedule"] == "squaredcos_cap_v2"
    return np.trunc(indices.round() if kind in ("karras", "lu") and not cosine else indices)


def respaced(high: float, low: float, count: int, kind: str) -> Array:
    """``count`` levels between two."""
    u = np.linspace(0.0, 1.0, count)
    if kind == "karras":
        return (high ** (1.0 / 7.0) + u * (low ** (1.0 / 7.0) - high ** (1.0 / 7.0))) ** 7
    if kind == "beta":
        return low + (high - low) * grids.beta_quantile(1.0 - u, 0.6, 0.6)
    return np.exp(np.linspace(math.log(high), math.log(low), count))


def _index_of(sigmas: Array, table: Array) -> Array:
    """Their ``_sigma_to_t``: linear in log sigma between two indices, inside the table, which they have in float32."""
    logs = np.log(table.astype(np.float32))
    low = np.clip(np.searchsorted(logs, np.log(sigmas), side="right") - 1, 0, table.size - 2)
    share = (logs[low] - np.log(sigmas)) / (logs[low] - logs[low + 1])
    return low + np.clip(share, 0.0, 1.0)


def _flow_match(settings: Settings, count: int, mu: float | None) -> tuple[Array, Array]:
    size, shift = settings.train_steps, float(settings["shift"])
    least = 1.0 / size
    # what is kept as sigma_min was shifted already, and is shifted again here (diffusers#13243)
    least = least if settings["use_dynamic_shifting"] else float(grids.shifted(least, shift))
    sigmas = (count - np.arange(count)) / count if settings["linear_sigmas"] else np.linspace(1.0, least, count)
    sigmas = _shifted(settings, sigmas, shift, mu)
    if settings["shift_terminal"]:
        sigmas = 1.0 - (1.0 - sigmas) / ((1.0 - sigmas[-1]) / (1.0 - float(settings["shift_terminal"])))
    if settings.respacing:
        sigmas = respaced(float(sigmas[0]), float(sigmas[-1]), count, settings.respacing)
    return sigmas * size, np.append(sigmas, 0.0)


def _flow_multistep(settings: Settings, count: int, mu: float | None) -> tuple[Array, Array]:
    """DPMSolver, DEIS and UniPC with ``use_flow_sigmas``: the times become integers by truncation."""
    size, unipc = settings.train_steps, settings.name == "UniPCMultistep"
    if settings.respacing and unipc and settings.respacing == "karras":
        raise ValueError("use_karras_sigmas with use_flow_sigmas: not modelled; take one of them")
    spacing = np.linspace(1.0, 1.0 / size, count + 1)
    sigmas = spacing[:-1] if unipc else (1.0 - spacing)[::-1][:-1]
    sigmas = _shifted(settings, sigmas, float(settings["flow_shift"]), mu)
    if unipc and settings["shift_terminal"]:
        sigmas = 1.0 - (1.0 - sigmas) / ((1.0 - sigmas[-1]) / (1.0 - float(settings["shift_terminal"])))
    if unipc and abs(sigmas[0] - 1.0) < 1e-6:
        sigmas = np.concatenate(([sigmas[0] - 1e-6], sigmas[1:]))
    repeats = settings.name == "DEISMultistep" or settings["final_sigmas_type"] == "sigma_min"
    last = sigmas[-1] if repeats else 0.0
    if repeats and settings.name == "DPMSolverMultistep":
        last = float(table_sigmas(settings, _schedule(settings))[0])
    return np.trunc(sigmas * size), np.append(sigmas, last)


def _shifted(settings: Settings, sigmas: Array, shift: float, mu: float | None) -> Array:
    if settings["use_dynamic_shifting"]:
        shift = shift_of_mu(0.0 if mu is None else mu, time_shift_type=settings["time_shift_type"])
    return shift * sigmas / (1.0 + (shift - 1.0) * sigmas)


def _schedule(settings: Settings) -> Schedule:
    return from_diffusers(settings.config._replace(kind="table"))


def _of_sigmas(settings: Settings, schedule: Schedule, asked: Array, sigmas: Array) -> Steps:
    if settings.flow:
        times = sigmas[:-1] * settings.train_steps
    else:
        top = float(schedule.gamma(schedule.t_max))
        times = schedule.time_of_gamma(np.minimum(sigmas[:-1], top))
    return Steps(asked, sigmas, sigmas[1:], times)


def _of_indices(settings: Settings, schedule: Schedule, indices: Array, count: int) -> Steps:
    """DDIM and PNDM step from t to t - T // N, DDPM to the next of the list; all end at alpha-bar 1 or that of 0."""
    table, size = table_sigmas(settings, schedule), settings.train_steps
    following = np.append(indices[1:], -1.0) if settings.name == "DDPM" else indices - size // count
    last = 0.0 if settings.values.get("set_alpha_to_one", True) else table[0]
    inside = np.minimum(indices, size - 1).astype(np.intp)
    after = np.where(following >= 0.0, table[np.clip(following, 0, size - 1).astype(np.intp)], last)
    return Steps(indices, np.append(table[inside], after[-1]), after, inside.astype(np.float64))
