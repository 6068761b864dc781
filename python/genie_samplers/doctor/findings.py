"""The faults of a scheduler's grid, each with the threads in which users met it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from .. import grids
from .report import Finding
from .settings import Settings
from .steps import Steps

__all__ = ["found"]

Array = NDArray[np.float64]
_MULTISTEP = ("DEISMultistep", "DPMSolverMultistep", "UniPCMultistep")
_FIRST_SIGMA = 0.03  # of Stable Diffusion's table: what is left in latents is not seen
_OFF = 0.6  # of an index: more than rounding
_LITTLE = 0.1  # of the weights of two outputs, -1/2 and 3/2 with equal steps


def found(settings: Settings, steps: Steps, mu: float | None) -> list[Finding]:
    """In the order in which they act."""
    with np.errstate(all="ignore"):
        return [finding for check in _CHECKS for finding in check(settings, steps, mu)]


def _needs_mu(settings: Settings, steps: Steps, mu: float | None) -> Iterator[Finding]:
    dynamic = settings.flow and settings["use_dynamic_shifting"]
    if dynamic and settings.name in ("FlowMatchEulerDiscrete", "UniPCMultistep"):
        yield Finding(
            "mu is needed",
            "note",
            "use_dynamic_shifting: set_timesteps raises ValueError without mu=, which follows from the image's size; "
            f"shown is mu={0.0 if mu is None else mu:.4g}",
            ("#9924",),
            "a pipeline of its own passes mu; in a loop of yours give set_timesteps(..., mu=)",
        )


def _one_step(settings: Settings, steps: Steps, mu: float | None) -> Iterator[Finding]:
    if steps.count == 1 and not np.all(np.isfinite(steps.sigmas)) and settings.values.get("shift_terminal"):
        yield Finding(
            "one step with shift_terminal",
            "breaks",
            "the only noise level is 1 and cannot be stretched: a division by 0, and NaN as the time",
            ("#14411", "#14586"),
            "take two steps or more, or no shift_terminal",
        )


def _beyond_the_table(settings: Settings, steps: Steps, mu: float | None) -> Iterator[Finding]:
    last = settings.train_steps - 1
    if not settings.flow and steps.asked.max() > last:
        yield Finding(
            "index beyond the table",
            "breaks",
            f"the first time is {steps.asked.max():g} of a table that ends at {last}: IndexError, or NaN of two equal "
            "noise levels",
            ("#10003",),
            "take fewer steps, or steps_offset=0",
        )


def _duplicates(settings: Settings, steps: Steps, mu: float | None) -> Iterator[Finding]:
    same = np.flatnonzero(np.diff(steps.asked) == 0.0)
    if same.size == 0 or settings.name == "PNDM":
        return
    time = f"{steps.asked[same[0]]:g}"
    if same[0] == 0 and settings.name not in ("DDIM", "DDPM"):
        yield Finding(
            "first time twice",
            "breaks",
            f"time {time} is asked twice at the start; step() takes the second for the first, leaves out a noise level "
            "and runs off the end: IndexError",
            ("#12771",),
            "fewer steps, another spacing, or a call of set_begin_index(0) before the loop",
        )
    else:
        yield Finding(
            "equal times",
            "breaks" if np.any(np.diff(steps.sigmas) == 0.0) else "fault",
            f"{same.size} of {steps.count} evaluations ask at a time that was asked before, first {time}",
            ("#12771",),
            "take fewer steps than the table has different indices",
        )


def _pure_noise(settings: Settings, steps: Steps, mu: float | None) -> Iterator[Finding]:
    if not settings["rescale_betas_zero_snr"]:
        return
    last = settings.train_steps - 1
    if settings["prediction_type"] == "epsilon" and steps.asked[0] == last:
        yield Finding(
            "epsilon at zero SNR",
            "breaks" if np.isinf(steps.sigmas[0]) else "fault",
            "betas are rescaled to no signal at the last time, where epsilon says nothing about the data: "
            "x_0 is divided by alpha = 0, or by 2^-12",
            (),
            "set prediction_type='v_prediction', which such a network was trained for, or rescale_betas_zero_snr=False",
        )
    if steps.asked[0] < last:
        yield Finding(
            "starts below the first time",
            "fault",
            f"the first time is {steps.asked[0]:g}; a network of zero terminal SNR was trained to start from pure "
            f"noise at {last}, and is given noise as if there were signal in it",
            (),
            "set timestep_spacing='trailing'",
        )


def _start(settings: Settings, steps: Steps, mu: float | None) -> Iterator[Finding]:
    last = settings.train_steps - 1
    if not settings.flow and not settings["rescale_betas_zero_snr"] and steps.asked[0] < last - 1 - _OFF:
        yield Finding(
            "starts below the last index",
            "note",
            f"the first time is {steps.asked[0]:g}, the table ends at {last}: noise of variance 1 stands for a state "
            "that still holds signal",
            (),
            "timestep_spacing='trailing' starts there",
        )


def _previous(settings: Settings, steps: Steps, mu: float | None) -> Iterator[Finding]:
    """DDIM and PNDM go to t - T // N, whatever comes next in the list."""
    if settings.name not in ("DDIM", "PNDM") or steps.count < 2:
        return
    step = settings.train_steps // steps.count
    off = steps.asked[:-1] - step - steps.asked[1:]
    if np.any(off != 0.0):
        n = int(np.argmax(off != 0.0))
        start, end, next_start = steps.asked[n], steps.asked[n] - step, steps.asked[n + 1]
        yield Finding(
            "previous time not of the list",
            "fault",
            f"the step from {start:g} ends at {end:g}, the next one starts at {next_start:g}; "
            f"{int(np.sum(off != 0.0))} of {off.size} steps are so, up to {np.abs(off).max():g} indices off",
            ("#14357", "#12633"),
            "our grids end each step where the next begins",
        )


def _double_shift(settings: Settings, steps: Steps, mu: float | None) -> Iterator[Finding]:
    if settings.name != "FlowMatchEulerDiscrete" or settings["use_dynamic_shifting"] or settings["linear_sigmas"]:
        return
    if (shift := float(settings["shift"])) != 1.0:
        once = float(grids.shifted(1.0 / settings.train_steps, shift)) * settings.train_steps
        yield Finding(
            "shift applied twice",
            "fault",
            f"set_timesteps(N) ends at time {steps.asked[-1]:.4g}; shifted once it would be {once:.4g}. Pipelines that "
            "pass sigmas= do not meet it",
            ("#13243", "#13246", "#13706"),
            "pass sigmas=linspace(1, 1/N, N), or take a grid of ours",
        )


def _other_time(settings: Settings, steps: Steps, mu: float | None) -> Iterator[Finding]:
    off = np.abs(steps.asked - steps.times)
    off = np.where(np.isfinite(off), off, 0.0)
    tolerance = 1e-3 if settings.flow else _OFF
    if settings.name not in ("DDIM", "DDPM", "PNDM") and off.max() > tolerance:
        n = int(np.argmax(off))
        yield Finding(
            "integer times",
            "fault",
            f"the network is asked at {steps.asked[n]:g} where the state is that of {steps.times[n]:.5g}; off by up to "
            f"{off.max():.2g} of {settings.train_steps}",
            ("#14013", "#14011"),
            "our schedulers hand over the time as a float",
        )


def _order_lost(settings: Settings, steps: Steps, mu: float | None) -> Iterator[Finding]:
    if settings.flow and settings.name in _MULTISTEP and settings["solver_order"] > 1 and steps.count > 2:
        lam = np.log((1.0 - steps.sigmas[:3]) / steps.sigmas[:3])
        share = 0.5 * (lam[2] - lam[1]) / (lam[1] - lam[0])
        if share < _LITTLE:
            yield Finding(
                "order lost at the second step",
                "note",
                f"a flow starts at sigma={steps.sigmas[0]:.6g}, where log SNR is {lam[0]:.3g}: a polynomial in it "
                f"gives the first output a weight of {share:.2g} in the second step, which so has order 1",
                (),
                "deis_tab and flow_ab interpolate in t, and keep their order",
            )


def _end(settings: Settings, steps: Steps, mu: float | None) -> Iterator[Finding]:
    left = steps.sigmas[-1]
    if steps.count > 1 and left > 0.0 and steps.sigmas[-2] == left:
        yield Finding(
            "last evaluation wasted",
            "fault",
            f"the last two noise levels are both {left:.4g}: the last evaluation changes nothing, and that noise is "
            "left in the result",
            (),
            "ours ends at sigma = 0, with as many evaluations",
        )
    elif left > 0.0:
        yield Finding(
            "noise is left",
            "note" if left <= _FIRST_SIGMA else "fault",
            f"the result holds noise of sigma {left:.4g}",
            (),
            "final_sigmas_type='zero', set_alpha_to_one=True, or our scheduler, which ends at 0",
        )


def _twice(settings: Settings, steps: Steps, mu: float | None) -> Iterator[Finding]:
    if settings.name == "PNDM" and settings["skip_prk_steps"] and steps.count > 1:
        yield Finding(
            "one evaluation more",
            "note",
            f"N={steps.count} makes {steps.count + 1} evaluations: the first step is made twice to start the multistep "
            "formula",
            (),
            "ours are counted alike",
        )


Check = Callable[[Settings, Steps, "float | None"], Iterator[Finding]]
_CHECKS: tuple[Check, ...] = (
    _needs_mu, _one_step, _beyond_the_table, _duplicates, _pure_noise, _start, _previous, _double_shift, _other_time,
    _order_lost, _end, _twice,
)  # fmt: skip
