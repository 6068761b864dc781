"""make_plan: a registered solver, or the best for the schedule, at a number of network evaluations."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import grids, predictions
from .._arguments import boolean, choice, integer, real, reals, shown
from ..plan import Plan
from ..schedules import AlphasCumprod, Flow, Schedule, check_schedule
from .choosing import AUTO, Candidate, Choice, Options, fitting_grids, ranked, ranked_on
from .fitness import UnfitWarning, misfit
from .fitting import GRID_NAMES, fitted
from .registry import Solver, find, rebuild

__all__ = ["AUTO_NAME", "CALIBRATED_NAME", "KEPT", "kept_plan", "make_plan"]

Array = NDArray[np.float64]

AUTO_NAME = "auto"
CALIBRATED_NAME = "calibrated"
KEPT = 128  # plans


def make_plan(
    name: str,
    schedule: Schedule,
    nfe: int | None = None,
    *,
    grid: str | None = None,
    times: ArrayLike | None = None,
    sigmas: ArrayLike | None = None,
    shift: float | None = None,
    mu: float | None = None,
    shift_terminal: float | None = None,
    end: float | None = None,
    model: object = None,
    prediction: str | None = None,
    clip: float | None = None,
    direction: str = "sample",
    denoise: bool | None = None,
    options: Mapping[str, object] | None = None,
) -> Plan:
    """The plan of a registered solver at ``nfe`` network evaluations, or with ``name`` = "auto" of the best for them.

    What the caller leaves open is computed, not remembered: the grid, the options that a family has to choose
    (``Solver.choices``) and, for "auto", the solver are those with the least error against exact flows on this schedule
    (:mod:`.scoring`, docs/auto.md). ``print(plan)`` says what was chosen, its score and the runner-up.

    name: of the registry, "auto", "calibrated", the plan that was fitted to ``model`` and lies beside it
    (docs/calibrate.md; nothing else may be given then), or a spelling of other libraries such as "dpm++_2m", "euler",
    "heun". grid: a name of
    ``grids.GRIDS`` or, for a checkpoint's table, of ``grids.DISCRETE_GRIDS``. times: the times themselves, 2 or more
    that fall (or rise, to encode); ``nfe`` may be left out then. sigmas: the same as noise levels, of a flow schedule
    its t, else gamma, which k-diffusion and diffusers call sigma; a last 0 is added where it is missing. shift: of the
    grid ``shifted_t``, or of ``sigmas``; mu: log of the shift, as diffusers' dynamic shifting has it; shift_terminal:
    the last noise level before 0 to which shifted levels are stretched (``grids.flow_sigmas``). end: the last
    time in place of the schedule's ``t_end``.

    prediction: what the network returns, one of ``predictions.PREDICTIONS`` or diffusers' name for it; by default what
    the ``model`` says in its attribute ``prediction``, else "epsilon". clip: clamp every prediction of the clean data
    to [-clip, clip], 1.0 for images in [-1, 1]; a solver that reads derivatives cannot. direction: "sample", or
    "encode" for the rising grid. denoise: whether the last evaluation makes a step to gamma = 0, in which a flow
    schedule's grid ends in any case; by default the habit of the solver, and of a checkpoint's table. options: on top
    of the registered ones (for example ``{"eta": 0.5}`` for ddim); "afs", an analytic first step, buys a step more.
    Raises ValueError or TypeError naming the argument, UnreachableNFE where the solver cannot make just ``nfe``
    evaluations. Warns (UnfitWarning) of a solver whose results are no samples here (:mod:`.fitness`). The last 128
    plans are kept: the same question gets the same object.
    """
    check_schedule(schedule)
    prediction = _prediction(model, prediction)
    if name == CALIBRATED_NAME:
        given = (grid, times, sigmas, shift, mu, shift_terminal, end, clip, denoise, options)
        return _calibrated(model, schedule, nfe, given if direction == "sample" else (direction,))
    arguments = (
        name, schedule, nfe, grid, _hashable(times, "times"), _hashable(sigmas, "sigmas"), shift, mu, shift_terminal,
        end, prediction, clip, direction, denoise, Options(options) if isinstance(options, Mapping) else options,
    )  # fmt: skip
    known = type(schedule).__hash__ is not None and _are_hashable(arguments[2:]) and isinstance(name, str)
    plan, unfit = (kept_plan if known else _made)(*arguments)
    if unfit:
        warnings.warn(unfit, UnfitWarning, stacklevel=2)
    return plan


def _made(
    name: str,
    schedule: Schedule,
    nfe: int | None,
    grid: str | None,
    times: ArrayLike | None,
    sigmas: ArrayLike | None,
    shift: float | None,
    mu: float | None,
    shift_terminal: float | None,
    end: float | None,
    prediction: str,
    clip: float | None,
    direction: str,
    denoise: bool | None,
    options: Mapping[str, object] | None,
) -> tuple[Plan, str]:
    """The plan, and what is wrong with it."""
    solver = None if name == AUTO_NAME else find(_fitting_spelling(name, schedule))
    encode = choice(direction, "direction", ("sample", "encode")) == "encode"
    own = _checked_options(solver, {} if options is None else options)
    fixed: dict[str, object] = {"prediction": prediction}
    if clip is not None:
        fixed["clip"] = clip
    shift = _shift(shift, mu)
    if shift_terminal is not None and sigmas is None and nfe is not None:
        sigmas, shift = grids.flow_sigmas(nfe, shift=schedule.shift if shift is None else shift), None
    given = _own_times(schedule, times, sigmas, shift, shift_terminal, encode=encode)
    if given is not None:
        _refuse_beside_times(grid=grid, end=end, denoise=denoise)
        return _judged(_on_times(solver, schedule, given, nfe, own, fixed), schedule)
    if nfe is None:
        raise TypeError("nfe: missing; give the number of network evaluations, or times= or sigmas=")
    end = None if end is None else real(end, "end")
    denoise = _denoise(solver, schedule, grid, end, denoise, encode=encode)
    names = _grids(solver, schedule, grid, shift, denoise=denoise)
    candidates = _candidates(solver, own)
    choices: tuple[Choice, ...] = ()
    if len(candidates) * len(names) > 1:
        choices = ranked(candidates, schedule, integer(nfe, "nfe", least=1), names, denoise, shift, end)
    best, on = (Candidate(*choices[0][:2]), choices[0].grid) if choices else (candidates[0], names[0])
    plan = fitted(
        find(best.solver), schedule, integer(nfe, "nfe", least=1), on, {**best.options, **fixed},
        encode=encode, denoise=denoise, shift=shift if on == "shifted_t" else None, end=end,
    )  # fmt: skip
    return _judged(_noted(plan, choices), schedule)


kept_plan = lru_cache(KEPT, typed=True)(_made)


def _calibrated(model: object, schedule: Schedule, nfe: int | None, others: tuple[object, ...]) -> Plan:
    find_plan: Any = getattr(model, "calibrated", None)
    if find_plan is None:
        raise ValueError(
            "solver='calibrated': model has no plans fitted to it; pass model= as models.load makes it, of a folder "
            "into which `genie-samplers calibrate plan` wrote them"
        )
    if any(other is not None for other in others):
        raise ValueError(
            "solver='calibrated': its times and weights are fitted; give nothing but schedule, nfe and model"
        )
    return find_plan(schedule, integer(nfe, "nfe", least=1))


def _judged(plan: Plan, schedule: Schedule) -> tuple[Plan, str]:
    return plan, misfit(plan, schedule)


def _hashable(values: ArrayLike | None, name: str) -> Any:
    """Numbers in one dimension as a tuple of them; whatever else as it is."""
    found = None if values is None else reals(values, name)
    return tuple(found.tolist()) if found is not None and found.ndim == 1 else found


def _are_hashable(values: tuple[object, ...]) -> bool:
    try:
        hash(values)
    except TypeError:
        return False
    return True


def _fitting_spelling(name: str, schedule: Schedule) -> str:
    """Heun's method is Karras' in gamma, and flow matching's from pure noise, where gamma is infinite."""
    return "flow_heun" if name == "heun" and schedule.starts_in_pure_noise else name


def _candidates(solver: Solver | None, own: Mapping[str, object]) -> tuple[Candidate, ...]:
    """The solvers and options that are open: all of :data:`AUTO`, or a solver's choices beside the caller's own."""
    if solver is None:
        return tuple(Candidate(name, Options({**find(name).options, **free})) for name, free in AUTO)
    free = [{k: v for k, v in each.items() if k not in own} for each in solver.choices or ({},)]
    distinct = dict.fromkeys(Options({**solver.options, **each, **own}) for each in free)
    return tuple(Candidate(solver.name, options) for options in distinct)


def _noted(plan: Plan, choices: Sequence[Choice]) -> Plan:
    """With how it was chosen before what the solver has to say."""
    if not choices:
        return plan
    return replace(plan, note="; ".join(filter(None, (_note(choices, plan.nfe), plan.note))))


def _note(choices: Sequence[Choice], nfe: int) -> str:
    best, *others = choices
    others = [c for c in others if (c.solver, c.options) != (best.solver, best.options)] or others
    runner_up = f"; then {others[0]}, {others[0].score.total(nfe):.3g}" if others else ""
    return f"chosen of {len(choices)}: {best}, score {best.score.total(nfe):.3g}{runner_up}"


# --- times


def _shift(shift: float | None, mu: float | None) -> float | None:
    if mu is None:
        return None if shift is None else real(shift, "shift")
    if shift is not None:
        raise ValueError(f"shift={shown(shift)}, mu={shown(mu)}: both given; mu is the logarithm of the shift")
    return math.exp(real(mu, "mu"))


def _own_times(
    schedule: Schedule,
    times: ArrayLike | None,
    sigmas: ArrayLike | None,
    shift: float | None,
    terminal: float | None,
    *,
    encode: bool,
) -> Array | None:
    """The caller's times, or those of the caller's sigmas."""
    if times is not None and sigmas is not None:
        raise ValueError("times, sigmas: both given; pass one of them")
    if times is not None:
        if shift is not None or terminal is not None:
            raise ValueError(f"shift={shift}, shift_terminal={terminal}: with times=, taken as they are; pass sigmas=")
        found = grids.given(schedule, times)
    elif sigmas is not None:
        found = _times_of_sigmas(schedule, reals(sigmas, "sigmas"), shift, terminal)
    else:
        return None
    if bool(found[-1] > found[0]) != encode:
        fix = "give times that rise to encode" if encode else "give times that fall, or direction='encode'"
        raise ValueError(f"times: from {found[0]!s} to {found[-1]!s}; {fix}")
    return found


def _times_of_sigmas(schedule: Schedule, sigmas: Array, shift: float | None, terminal: float | None) -> Array:
    if sigmas.ndim != 1 or sigmas.size < 1:
        raise ValueError(f"sigmas has shape {sigmas.shape}: give 1 or more noise levels in 1-D")
    if (shift is not None or terminal is not None) and not isinstance(schedule, Flow):
        given = f"shift={shift}, shift_terminal={terminal}"
        raise ValueError(f"{given}: of the noise levels of a flow schedule, not of {schedule.name}; leave them out")
    if shift is not None:
        sigmas = grids.shifted(sigmas, shift)
    if terminal is not None:
        sigmas = grids.stretched(sigmas, terminal)
    sigmas = np.append(sigmas, 0.0) if sigmas[-1] != 0.0 and (sigmas.size < 2 or sigmas[0] > sigmas[-1]) else sigmas
    if isinstance(schedule, Flow):
        return grids.given(schedule, schedule.time_of_noise_share(sigmas))
    most = schedule.gamma(schedule.t_max)  # which levels that were stored in float32 may exceed by a rounding
    sigmas = np.where((sigmas > most) & (sigmas <= most * (1.0 + 2.0**-23)), most, sigmas)
    return grids.given(schedule, schedule.time_of_gamma(sigmas))


def _refuse_beside_times(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name}={shown(value)}: beside times= or sigmas=, which fix the grid; leave it out")


def _on_times(
    solver: Solver | None,
    schedule: Schedule,
    times: Array,
    nfe: int | None,
    own: Mapping[str, object],
    fixed: Mapping[str, object],
) -> Plan:
    """The plan on the caller's times; what is open is chosen by score on these."""
    candidates = _candidates(solver, own)
    first, *others = candidates
    several = bool(others) and times[0] > times[-1]
    choices = list(ranked_on(candidates, schedule, tuple(times.tolist()))) if several else []
    best = next((Candidate(c.solver, c.options) for c in choices), first)
    plan = rebuild(best.solver, schedule, times, {**best.options, **fixed})
    if nfe not in (None, plan.nfe):
        raise ValueError(
            f"nfe={nfe}; on these {len(times)} times {best.solver} makes {plan.nfe} evaluations: leave nfe out"
        )
    return _noted(plan, choices)


# --- what is open


def _denoise(
    solver: Solver | None,
    schedule: Schedule,
    grid: str | None,
    end: float | None,
    denoise: bool | None,
    *,
    encode: bool,
) -> bool:
    table = isinstance(schedule, AlphasCumprod)
    if denoise is None:
        habit = (solver is not None and solver.denoise) or _is_discrete(grid) or table
        denoise = habit and not encode and end is None
    denoise = boolean(denoise, "denoise")
    if denoise and encode:
        raise ValueError("denoise=True with direction='encode'; only sampling can end at gamma = 0")
    if denoise and end is not None:
        raise ValueError(f"end={end}: with denoise=True, which goes on to gamma = 0; leave one of them out")
    return denoise and (_is_discrete(grid) or schedule.t_end != schedule.t_zero)  # it ends there anyway


def _is_discrete(grid: object) -> bool:
    return isinstance(grid, str) and grid in grids.DISCRETE_GRIDS


def _grids(
    solver: Solver | None, schedule: Schedule, grid: str | None, shift: float | None, *, denoise: bool
) -> tuple[str, ...]:
    if shift is not None:
        if grid not in (None, "shifted_t"):
            raise ValueError(f"shift={shift}: of the grid 'shifted_t', not of {grid!r}; leave one of them out")
        return ("shifted_t",)
    if grid is not None:
        if not (isinstance(grid, str) and grid in GRID_NAMES):
            raise ValueError(f"grid={shown(grid)}; choose one of {', '.join(GRID_NAMES)}, or give times= or sigmas=")
        return (grid,)
    fit = fitting_grids(schedule, denoise=denoise)
    if solver is not None and solver.langevin:  # equal steps in t as published, of VE in log sigma
        return ("log_snr",) if np.all(schedule.alpha([schedule.t_end, schedule.t_max]) == 1.0) else fit[:1]
    named = fit if solver is None or solver.grids is None else tuple(name for name in fit if name in solver.grids)
    return named or fit[:1]


def _prediction(model: object, prediction: str | None) -> str:
    """The caller's, or else the network's own, or else "epsilon"."""
    prediction = None if prediction is None else predictions.named(prediction)
    own = getattr(model, "prediction", None)
    if not isinstance(own, str):  # a network may use the name for something else, a layer for example
        return "epsilon" if prediction is None else prediction
    if prediction not in (None, own):
        raise ValueError(f"prediction={shown(prediction)}, but the model predicts {own!r}; leave prediction out")
    return own


def _checked_options(solver: Solver | None, options: Mapping[str, object]) -> dict[str, object]:
    """The caller's options; ValueError for one that the solver's name fixes otherwise."""
    if not isinstance(options, Mapping):
        raise TypeError(f"options={options!r}: give a mapping such as {{'eta': 0.5}}")
    if solver is None and options:
        raise ValueError(f"options={shown(dict(options))}: 'auto' chooses them; name a solver to set its options")
    for argument in ("prediction", "clip"):
        if argument in options:
            raise ValueError(f"options: contains {argument!r}; pass make_plan(..., {argument}=...)")
    for key, fixed in ({} if solver is None else solver.options).items():
        if solver is not None and options.get(key, fixed) != fixed:
            fix = f"choose another solver or call {solver.build.__name__}(schedule, grid, {key}={options[key]!r})"
            raise ValueError(f"options: {key}={options[key]!r}, but {solver.name} means {key}={fixed!r}; {fix}")
    return dict(options)
