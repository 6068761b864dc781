"""A scheduler's configuration looked through: what it does, what is wrong, how far it is off, and what replaces it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._arguments import boolean, integer, real
from ..plan import Plan, Row
from ..predictions import from_diffusers as prediction_of_scheduler
from ..schedules import Schedule, from_diffusers, mu_of_length
from ..solvers.exact_data import IMAGES, Answer, Marginal, prediction_of
from ..solvers.make import make_plan
from ..solvers.scoring import follow
from .emulate import emulated
from .findings import found
from .report import Finding, Report
from .settings import Settings, settings_of
from .steps import Steps, steps_of

__all__ = ["examine"]

Array = NDArray[np.float64]
_VARIANCES, _SHARES = np.array(IMAGES.variances), np.array(IMAGES.shares)
_MANY = 50
_TOKENS = 4096  # of an image of 1024 x 1024 pixels
_OURS = {
    "DDIM": "DDIMScheduler", "DDPM": "DDPMScheduler", "PNDM": "PNDMScheduler", "EulerDiscrete": "EulerScheduler",
    "DEISMultistep": "DEISScheduler", "DPMSolverMultistep": "DPMSolverMultistepScheduler",
    "UniPCMultistep": "UniPCScheduler", "HeunDiscrete": "HeunScheduler",
}  # fmt: skip


def examine(
    scheduler: object,
    steps: int = 20,
    *,
    tokens: int | None = None,
    mu: float | None = None,
    linear_sigmas: bool | None = None,
) -> Report:
    """What diffusers 0.42 makes of a scheduler's configuration with ``steps`` steps, without importing it.

    scheduler: the object, the mapping of its scheduler_config.json, or the path of that file, of its folder or of the
    pipeline's. tokens, mu: what a dynamic shift follows from, 4096 tokens by default, as for ``from_diffusers``.
    linear_sigmas: whether the pipeline passes sigmas=linspace(1, 1/N, N) to FlowMatchEuler, as those of FLUX and
    Qwen-Image do; by default where the shift is dynamic. ValueError for a class that is not modelled (``doctor.READ``)
    and for settings that its class refuses.
    """
    scheduler = _inside(scheduler)
    settings, count = settings_of(scheduler), integer(steps, "steps", least=1)
    if settings.values.get("invert_sigmas"):
        raise ValueError("invert_sigmas=True: not modelled; the network's time runs from data to noise")
    if settings.name == "FlowMatchEulerDiscrete":
        linear = bool(settings["use_dynamic_shifting"]) if linear_sigmas is None else linear_sigmas
        settings = settings._replace(values={**settings.values, "linear_sigmas": boolean(linear, "linear_sigmas")})
    elif linear_sigmas:
        raise ValueError("linear_sigmas=True: of FlowMatchEulerDiscreteScheduler; leave it out")
    mu = _mu(settings, tokens, mu)
    schedule = from_diffusers(settings.config, mu=mu)
    made = steps_of(settings, schedule, count, mu)
    findings = found(settings, made, mu)
    theirs = _their_error(settings, schedule, made)
    if theirs == math.inf and not any(finding.severity == "breaks" for finding in findings):
        findings.append(Finding("no number", "breaks", "the result is inf or NaN", ("#14213",)))
    evaluations = _evaluations(settings, made.count)
    plan = _ours(schedule, evaluations, _prediction(settings, schedule))
    return Report(
        class_name=settings.name,
        asked=_plain(made.asked),
        times=_plain(made.times),
        sigmas=_plain(made.sigmas),
        findings=tuple(findings),
        evaluations=evaluations,
        theirs=theirs,
        ours=_our_error(plan, schedule),
        plan=_said(plan),
        line=_line(settings, findings),
    )


def _ours(schedule: Schedule, evaluations: int, prediction: str) -> Plan:
    """ "auto", or with many steps what it would choose, since scoring takes time that grows with their square."""
    if evaluations <= _MANY:
        return make_plan("auto", schedule, evaluations, prediction=prediction)
    grid = schedule.preferred_grid or "karras"
    return make_plan("deis_tab3", schedule, evaluations, grid="uniform_t" if schedule.starts_in_pure_noise else grid,
                     prediction=prediction)  # fmt: skip


def _inside(scheduler: object) -> object:
    """The configuration in the folder of a pipeline, where a path is given."""
    if isinstance(scheduler, str | Path) and (Path(scheduler) / "scheduler").is_dir():
        return Path(scheduler) / "scheduler"
    return scheduler


def _mu(settings: Settings, tokens: int | None, mu: float | None) -> float | None:
    dynamic = settings.flow and settings["use_dynamic_shifting"]
    if not dynamic:
        if tokens is not None or mu is not None:
            raise ValueError(
                f"tokens={tokens!r}, mu={mu!r}: this configuration shifts nothing by the size of the image"
            )
        return None
    if mu is not None:
        return real(mu, "mu")
    values = settings.values
    return mu_of_length(
        _TOKENS if tokens is None else integer(tokens, "tokens", least=1),
        base_length=int(values.get("base_image_seq_len", 256)), max_length=int(values.get("max_image_seq_len", 4096)),
        base_shift=float(values.get("base_shift", 0.5)), max_shift=float(values.get("max_shift", 1.15)),
    )  # fmt: skip


def _evaluations(settings: Settings, count: int) -> int:
    if settings.name == "HeunDiscrete":
        return 2 * count - 1
    if settings.name == "PNDM":  # twice the first step, or three steps of four evaluations
        return count + (count > 1) if settings["skip_prk_steps"] else count + 9
    return count


def _prediction(settings: Settings, schedule: Schedule) -> str:
    """The network's; v where its own says nothing at the first time, so that there is a plan to compare with."""
    prediction = prediction_of_scheduler(settings.config)
    return "v" if schedule.starts_in_pure_noise and prediction == "epsilon" else prediction


def _their_error(settings: Settings, schedule: Schedule, steps: Steps) -> float | None:
    result = emulated(settings, schedule, steps, _VARIANCES)
    return None if result is None else _error(result)


def _our_error(plan: Plan, schedule: Schedule) -> float:
    def ask(_: int, row: Row, x: Array) -> list[Array]:
        at = Marginal.at(schedule, row.time)
        share = x / (at.alpha**2 * _VARIANCES + at.sigma**2)
        return [prediction_of(plan.outputs[0], at, Answer(at.sigma * share, at.alpha * _VARIANCES * share))]

    return _error(follow(plan, plan.init.scale * np.ones_like(_VARIANCES), ask, ()))


def _error(deviations: Array) -> float:
    """Of the deviations against those of the data, in units of that of all modes; inf for no number."""
    missed = np.square(np.abs(deviations) - np.sqrt(_VARIANCES))
    error = math.sqrt(float(_SHARES @ missed) / float(_SHARES @ _VARIANCES))
    return error if math.isfinite(error) else math.inf


def _said(plan: Plan) -> str:
    name = plan.recipe.solver if plan.recipe is not None else ""
    return plan.note.split(": ", 1)[-1].split(", score")[0] if plan.note else name


def _line(settings: Settings, findings: list[Finding]) -> str:
    if settings.flow:
        name = 'FlowMatchScheduler.from_config(pipe.scheduler.config, solver="auto")'
    elif settings.name in _OURS and not any(finding.severity == "breaks" for finding in findings):
        name = f"{_OURS[settings.name]}.from_config(pipe.scheduler.config)"
    else:
        name = 'PlanScheduler.from_config(pipe.scheduler.config, solver="auto")'
    of = name.split(".")[0]
    return f"from genie_samplers.integrations.diffusers import {of}; pipe.scheduler = {name}"


def _plain(values: Array) -> tuple[float, ...]:
    return tuple(values.tolist())
