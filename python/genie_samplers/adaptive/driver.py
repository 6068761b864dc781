"""rk45: the probability flow with Dormand and Prince's pair, its steps chosen by their error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genie_ext import Noise

from .._arguments import boolean, integer, real
from ..models import as_model
from ..models.contract import warn_if_training
from ..models.fit import fitted
from ..plan import Combination, Conversion, Init, Plan, Recipe, Row
from ..run import AnyModel, NonFiniteError, PlanState, Program, Start
from ..run.inputs import Inputs, gather_inputs
from ..run.progress import progress_bar
from ..run.start import AS_GIVEN
from ..schedules import Schedule, check_schedule
from .active import ActiveSamples
from .run import Attempt, Limits, Run
from .step_variable import StepVariable
from .tableau import DOPRI5

__all__ = ["AdaptiveResult", "rk45"]

NORMS = ("sample", "batch")


@dataclass(frozen=True, eq=False)
class AdaptiveResult:
    """What :func:`rk45` returns; every array is [B]."""

    x: Tensor  # [B, ...]
    nfe: NDArray[np.int64]  # network evaluations, a guided pair counted as one
    accepted: NDArray[np.int64]
    rejected: NDArray[np.int64]
    times: NDArray[np.float64]  # of x
    attempts: tuple[Attempt, ...]  # in the order they were made


def rk45(
    model: AnyModel,
    schedule: Schedule,
    *,
    shape: Sequence[int] | None = None,
    seed: int = 0,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    state: Tensor | None = None,
    sample_ids: Sequence[int] | None = None,
    t_start: float | None = None,
    t_end: float | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    variable: str | None = None,
    norm: str = "sample",
    denoise: bool = False,
    max_evaluations: int = 10_000,
    prediction: str | None = None,
    guidance: float | Sequence[float] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    backend: str | None = None,
    progress: bool | None = None,
) -> AdaptiveResult:
    """Solve the probability flow from t_start to t_end with steps chosen by their error.

    Dormand and Prince's 5(4) pair with the step control of Hairer, Norsett and Wanner (Solving Ordinary Differential
    Equations I, II.4); first same as last, so the network is called 2 + 6 attempts times. As a black-box solver of
    diffusion models: Song et al., arXiv 2011.13456, in (x, t); in (v, gamma): Zhang and Chen, arXiv 2204.13902.

    model, shape, seed, cond, shared, state, sample_ids, device, backend, progress: as in :func:`genie_samplers.sample`,
    with the same noise; the bar counts percents. t_start, t_end: the schedule's t_max and t_end by default; t_start <
    t_end encodes ``state``. rtol, atol: a step is accepted if the RMS of error / (atol + rtol max(|v|, |v'|)) is below
    1. variable: u, one of "log_gamma", "gamma", "t", in which dv/du = epsilon dgamma/du, v = x / alpha; or
    "noise_share", s = sigma / (alpha + sigma), in which dz/ds = epsilon - x_0, z = x / (alpha + sigma), takes v's
    place: on a flow schedule dx/dt = velocity. By default "noise_share" where an end has alpha = 0 or sigma = 0, as on
    a flow schedule, at which the others are infinite; else "log_gamma". norm: "sample" gives every sample its own time
    and step, independent of the others, and finished samples leave the batch; "batch" takes the RMS over the batch,
    one step for all. denoise: a first-order step from t_end to t_zero at the end; its epsilon is known, so it costs no
    evaluation. max_evaluations: per sample. guidance: a scale, or one per sample, for a model of
    ``guidance.classifier_free``. prediction: what the network returns; the model's own by default, else epsilon.
    dtype: of the state, float32 or float64.

    Raises ValueError or TypeError for bad arguments and outputs, ValueError naming samples, time and steps where the
    evaluations are spent or the step falls below float64's spacing, and :class:`NonFiniteError` where a state becomes
    inf or NaN.
    """
    check_schedule(schedule)
    start, end = (schedule.t_max if t_start is None else t_start), (schedule.t_end if t_end is None else t_end)
    start, end = real(start, "t_start"), real(end, "t_end")
    along = StepVariable(schedule, start, end, _variable(schedule, start, end) if variable is None else variable)
    limits = _checked_limits(rtol, atol, norm, max_evaluations)
    if boolean(denoise, "denoise") and not along.t_start > along.t_end > schedule.t_zero:
        fix = "it ends sampling (t_start > t_end) that stops above t_zero"
        raise ValueError(f"denoise=True from t={along.t_start!r} to t={along.t_end!r}: {fix}")
    network = as_model(model)
    prediction = prediction or network.prediction or "epsilon"
    plan = _both_ends(along, prediction, guidance)
    network = fitted(network, plan)
    warn_if_training(network)
    inputs = gather_inputs(
        network, plan, shape=shape, seed=seed, cond=cond, shared=shared, x=state, name="state", sample_ids=sample_ids,
        batch_size=None, device=device, dtype=dtype,
    )  # fmt: skip
    if inputs.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"dtype={inputs.dtype}: too coarse for an error estimate; choose torch.float32 or torch.float64"
        )
    scales = None if plan.guidance is None else np.array(plan.guidance)
    with torch.no_grad(), progress_bar(100, show=progress) as bar:
        active = ActiveSamples(network, schedule, inputs, _start(plan, inputs, backend), backend)
        run = Run(active, along, prediction, scales, limits, denoise=denoise)
        run.to_the_end(bar)
    times = np.full(inputs.count, schedule.t_zero if denoise else along.t_end)
    return AdaptiveResult(run.result, run.nfe, run.accepted, run.rejected, times, tuple(run.attempts))


def _variable(schedule: Schedule, start: float, end: float) -> str:
    low, high = schedule.t_zero, schedule.t_max
    touched = low in (start, end) or (high in (start, end) and schedule.starts_in_pure_noise)
    return "noise_share" if touched else "log_gamma"


def _start(plan: Plan, inputs: Inputs, backend: str | None) -> Tensor:
    """The first states, as ``sample`` has them; NonFiniteError where those given are not finite."""
    program = Program.of(plan, device=inputs.device, dtype=inputs.dtype, backend=backend)
    noise = Noise(inputs.seed, inputs.ids)
    x = inputs.x if inputs.x is not None else torch.empty(inputs.shape, dtype=inputs.dtype, device=inputs.device)
    state = PlanState(program, x, noise, start=AS_GIVEN if inputs.x is not None else Start(0.0, plan.init.scale))
    bad = (~state.x.isfinite().flatten(1).all(1)).tolist()
    if any(bad):
        ids = [i for i, flag in zip(inputs.all_ids, bad, strict=True) if flag]
        message = f"state: holds inf or NaN for sample ids {ids[:8]}; pass finite starting states"
        raise NonFiniteError(message, row=None, sample_ids=ids, finished=x[:0], finished_ids=())
    return state.x


def _checked_limits(rtol: float, atol: float, norm: str, max_evaluations: int) -> Limits:
    rtol, atol = real(rtol, "rtol"), real(atol, "atol")
    if not 0.0 <= rtol < math.inf or not 0.0 < atol < math.inf:
        raise ValueError(f"rtol={rtol}, atol={atol}: give rtol >= 0 and atol > 0, both finite")
    if norm not in NORMS:
        raise ValueError(f"norm={norm!r}: choose one of {NORMS}")
    least = DOPRI5.stages + 1
    return Limits(rtol, atol, norm == "sample", integer(max_evaluations, "max_evaluations", least=least))


def _both_ends(variable: StepVariable, prediction: str, guidance: float | Sequence[float] | None) -> Plan:
    """A plan that asks the network at both ends and moves nothing: what ``sample`` checks in a plan, it checks here."""

    def ask(t: float) -> Row:
        p, q = (float(v) for v in variable.conversion(prediction, t))
        return Row(t, Combination(1.0, y=(0.0,)), converted=(Conversion(p, (q,)),))

    ends = (variable.t_start, variable.t_end)
    recipe = Recipe("rk45", variable.schedule.to_dict(), ends)
    scale = float(variable.schedule.sigma(variable.t_start))
    plan = Plan(Init(scale), (prediction,), variable.quantity, tuple(ask(t) for t in ends), recipe)
    return plan if guidance is None else plan.guided(guidance)
