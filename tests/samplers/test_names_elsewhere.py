"""What docs/names.md says is the same: whole loops of diffusers against the plan of our name on their noise levels."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import genie_samplers as gs
from genie_samplers.cli.solver_tables import ELSEWHERE, name_table, option_table
from genie_samplers.solvers.registry import SPELLINGS, find

from ..documents import ROOT

diffusers = pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # their LMS hands numpy tensors
TOLERANCE = 4e-6  # both sides are float32; some three roundings in each of the sixteen steps
STEPS = 16  # from 15 on diffusers' DPM++ and DEIS keep their order to the end
PAGE = (ROOT / "docs" / "names.md").read_text()


def network(x: Tensor, *_: object) -> Tensor:
    """Of the input alone: their times are rounded."""
    return torch.sin(x) + 0.3 * x.flip(1)


def start() -> Tensor:
    return torch.randn(4, 32, generator=torch.Generator().manual_seed(0))


def theirs(scheduler: Any) -> tuple[Tensor, NDArray[np.float64]]:
    """The last state, and the noise levels on the way, each once."""
    x = start() * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(network(scheduler.scale_model_input(x, t)), t, x, return_dict=False)[0]
    levels = np.array(list(dict.fromkeys(scheduler.sigmas.tolist())))
    return x, levels


def within(levels: NDArray[np.float64], schedule: gs.schedules.Schedule) -> NDArray[np.float64]:
    """Theirs are rounded to float32, the first to more than the schedule has."""
    return np.minimum(levels, schedule.gamma(schedule.t_max))


MULTISTEP: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "deis_log_ab1": ("deis_log_ab1", "DEISMultistepScheduler", {"solver_order": 2}, {}),
    "deis_log_ab2": ("deis_log_ab2", "DEISMultistepScheduler", {"solver_order": 3}, {}),
    "dpmpp_1m": ("dpmpp_1m", "DPMSolverMultistepScheduler", {"solver_order": 1}, {}),
    "dpmpp_2m": ("dpmpp_2m", "DPMSolverMultistepScheduler", {"solver_order": 2}, {}),
    "dpmpp_3m": ("dpmpp_3m", "DPMSolverMultistepScheduler", {"solver_order": 3}, {"variant": "published"}),
    "unipc2": ("unipc2", "UniPCMultistepScheduler", {"solver_order": 2}, {}),
    "unipc3": ("unipc3", "UniPCMultistepScheduler", {"solver_order": 3}, {}),
}


@pytest.mark.parametrize(("name", "kind", "given", "options"), MULTISTEP.values(), ids=MULTISTEP.keys())
def test_a_multistep_scheduler_is_what_its_row_says(
    name: str, kind: str, given: dict[str, Any], options: dict[str, Any]
) -> None:
    scheduler = getattr(diffusers, kind)(use_karras_sigmas=True, **given)
    scheduler.set_timesteps(STEPS)
    x, levels = theirs(scheduler)
    schedule = gs.schedules.from_diffusers(scheduler)
    plan = gs.make_plan(name, schedule, times=schedule.time_of_gamma(within(levels, schedule)), options=options)
    ours = gs.sample(network, plan, state=start())
    assert float((ours - x).abs().max()) <= TOLERANCE * float(x.abs().max())


IN_SIGMA = {
    "ddim": "EulerDiscreteScheduler",
    "deis_rho_ab3": "LMSDiscreteScheduler",
    "dpm_solver_2s": "KDPM2DiscreteScheduler",
    "edm_heun": "HeunDiscreteScheduler",
}


@pytest.mark.parametrize(("name", "kind"), IN_SIGMA.items(), ids=IN_SIGMA.keys())
def test_a_scheduler_in_sigma_is_what_its_row_says(name: str, kind: str) -> None:
    """Their state is ours divided by alpha."""
    scheduler = getattr(diffusers, kind)(use_karras_sigmas=True)
    scheduler.set_timesteps(STEPS)
    x, levels = theirs(scheduler)
    schedule = gs.schedules.from_diffusers(scheduler)
    plan = gs.make_plan(name, schedule, times=schedule.time_of_gamma(within(levels, schedule)))
    first = start() * scheduler.init_noise_sigma / np.hypot(1.0, levels[0])
    ours = gs.sample(network, plan, state=first)
    assert float((ours - x).abs().max()) <= TOLERANCE * float(x.abs().max())


# --- the page


def test_the_page_of_names_is_what_plan_prints() -> None:
    assert f"\n{name_table()}\n" in PAGE
    assert PAGE.endswith(f"\n{option_table()}\n")


@pytest.mark.parametrize("name", sorted(gs.SOLVERS))
def test_every_solver_has_a_paper_beside_it(name: str) -> None:
    (row,) = (line for line in name_table().splitlines() if f"`{name}`" in line.split("|")[1])
    assert "arxiv.org" in row


CLASSES = sorted({found for same in ELSEWHERE.values() for found in re.findall(r"\w+Scheduler", same.diffusers)})


@pytest.mark.parametrize("kind", CLASSES)
def test_diffusers_has_the_class(kind: str) -> None:
    assert hasattr(diffusers, kind)


@pytest.mark.parametrize("known", sorted({same.k_diffusion for same in ELSEWHERE.values()} & SPELLINGS.keys()))
def test_a_spelling_is_taken_for_the_solver_of_its_row(known: str) -> None:
    rows = [name for name, same in ELSEWHERE.items() if same.k_diffusion == known]
    assert find(known).name in rows
