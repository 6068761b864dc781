"""The nodes, told once: what each takes, gives and does. No part of ComfyUI is imported before a node runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import grids
from ..._arguments import choice, integer, real
from ...files.reading import read_text, unreadable
from ...plan import Plan
from ...schedules import Flow, Schedule
from ...solvers.make import AUTO_NAME, make_plan
from .. import k_diffusion
from ..denoiser_plans import level_at, solver_names
from .model_sampling import is_flow, of_model, schedule_of

__all__ = ["NODES", "Input", "Node", "sample"]

PATHS = ("auto", "sigma", "flow")
SOLVERS = tuple(dict.fromkeys([AUTO_NAME, *k_diffusion.METHODS, *solver_names()]))
GRIDS = (AUTO_NAME, *grids.GRIDS, *grids.DISCRETE_GRIDS)


@dataclass(frozen=True)
class Input:
    """kind: "model", "choice", "text", "integer" or "number"; bounds: (least, most, step)."""

    name: str
    kind: str
    default: Any = None
    choices: tuple[str, ...] = ()
    bounds: tuple[float, float, float] | None = None
    tooltip: str = ""


@dataclass(frozen=True)
class Node:
    """outputs: of "sampler" and "sigmas", what ``run``, called with the inputs by name, returns in this order."""

    key: str
    title: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    run: Callable[..., tuple[Any, ...]]


# --- what they do


def sample(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None,
    disable: bool | None = None,
    *,
    solver: str | Plan = AUTO_NAME,
    path: str = PATHS[0],
    s_noise: float = 1.0,
    options: Mapping[str, Any] | None = None,
) -> Tensor:
    """ComfyUI's sampler function; noise is drawn by the run's seed, the same for a sample of any batch on any device.

    path: "sigma" and "flow" say x = x_0 + sigma n or (1 - sigma) x_0 + sigma n; "auto" asks the model.
    """
    flow = is_flow(of_model(model)) if choice(path, "path", PATHS) == "auto" else path == "flow"
    seed = (extra_args or {}).get("seed")
    return k_diffusion.sample(
        solver,
        model,
        x,
        sigmas,
        extra_args,
        callback,
        disable,
        flow=flow,
        seed=seed,
        s_noise=s_noise,
        **(options or {}),
    )


def solver_sampler(solver: str, options: str, s_noise: float, path: str) -> tuple[Any]:
    """SAMPLER of a solver by name."""
    chosen = choice(solver, "solver", SOLVERS)
    return (_ksampler(solver=chosen, options=_options(options), s_noise=s_noise, path=choice(path, "path", PATHS)),)


def plan_sampler(file: str, last_steps: int, path: str) -> tuple[Any, Tensor]:
    """SAMPLER of a plan from its JSON file, and the SIGMAS of its grid or of its last steps."""
    plan, kept = _read(file), integer(last_steps, "last_steps", least=0)
    sigmas = k_diffusion.sigmas_of(plan)
    if kept > len(sigmas) - 1:
        raise ValueError(f"last_steps={kept}; the plan has {len(sigmas) - 1} steps, give 0 for all of them")
    return _ksampler(solver=plan, path=choice(path, "path", PATHS)), sigmas[-kept - 1 :] if kept else sigmas


def grid_sigmas(model: Any, grid: str, steps: int, denoise: float) -> tuple[Tensor]:
    """SIGMAS for the model: ``steps`` + 1 levels to 0, with ``denoise`` d the last of a grid of steps / d."""
    steps, part = integer(steps, "steps", least=1), real(denoise, "denoise")
    if not 0.0 <= part <= 1.0:
        raise ValueError(f"denoise={part}; give 0..1")
    if part == 0.0:
        return (torch.zeros(0),)
    schedule = schedule_of(model.get_model_object("model_sampling"))
    times = _times(schedule, choice(grid, "grid", GRIDS), int(steps / part))
    return (torch.from_numpy(level_at(schedule, times)[-steps - 1 :]).float(),)


def _times(schedule: Schedule, grid: str, steps: int) -> np.ndarray:
    if grid in grids.DISCRETE_GRIDS:
        return grids.DISCRETE_GRIDS[grid](schedule, steps)
    ends_at_zero = isinstance(schedule, Flow)
    if grid == AUTO_NAME:
        plan = make_plan(AUTO_NAME, schedule, steps, prediction="x0", denoise=None if ends_at_zero else True)
        return np.array(plan.recipe.grid if plan.recipe else ())
    if ends_at_zero:
        return grids.GRIDS[grid](schedule, steps)
    if steps == 1:
        return grids.given(schedule, [schedule.t_max, schedule.t_zero])
    return grids.with_zero(schedule, grids.GRIDS[grid](schedule, steps - 1))


def _ksampler(**extra_options: Any) -> Any:
    from comfy.samplers import KSAMPLER  # pyright: ignore[reportMissingImports]

    return KSAMPLER(sample, extra_options=extra_options)


def _options(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise ValueError(f'options={text!r}: {error}; give a JSON object such as {{"eta": 0.5}}') from error
    if not isinstance(found, dict):
        raise ValueError(f'options={text!r}: give a JSON object such as {{"eta": 0.5}}')
    return found


def _read(file: str) -> Plan:
    path, fix = Path(file).expanduser(), "give a file written by `genie-samplers plan --json` or plan.to_json()"
    text = read_text(path, fix)
    with unreadable(path, fix):
        return Plan.from_json(text)


# --- what they take

_PATH = Input(
    "path", "choice", PATHS[0], PATHS, tooltip="x = x0 + sigma n, or (1 - sigma) x0 + sigma n; auto asks the model"
)

NODES = (
    Node(
        "GenieSampler",
        "Genie sampler",
        (
            Input("solver", "choice", AUTO_NAME, SOLVERS, tooltip="auto takes the best for the sigmas"),
            Input("options", "text", "{}", tooltip='of the solver, as JSON: {"eta": 0.5}'),
            Input("s_noise", "number", 1.0, bounds=(0.0, 10.0, 0.001), tooltip="multiplies the noise of each step"),
            _PATH,
        ),
        ("sampler",),
        solver_sampler,
    ),
    Node(
        "GenieSigmas",
        "Genie sigmas",
        (
            Input("model", "model"),
            Input("grid", "choice", AUTO_NAME, GRIDS, tooltip="auto takes that of the best solver"),
            Input("steps", "integer", 10, bounds=(1, 10000, 1)),
            Input("denoise", "number", 1.0, bounds=(0.0, 1.0, 0.01)),
        ),
        ("sigmas",),
        grid_sigmas,
    ),
    Node(
        "GeniePlan",
        "Genie plan from file",
        (
            Input("file", "text", "plan.json", tooltip="path of a plan's JSON"),
            Input("last_steps", "integer", 0, bounds=(0, 10000, 1), tooltip="0: all; fewer for image to image"),
            _PATH,
        ),
        ("sampler", "sigmas"),
        plan_sampler,
    ),
)
