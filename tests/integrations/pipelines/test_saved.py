"""Pipelines saved with a scheduler of ours and loaded again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from .cases import ours
from .tiny_pipelines import result, tiny

SCHEDULERS = {
    "ddpm": [
        ours.DDPMScheduler,
        ours.DDIMScheduler,
        ours.DPMSolverMultistepScheduler,
        ours.EulerScheduler,
        ours.PlanScheduler,
    ],
    "sd": [ours.PNDMScheduler, ours.DEISScheduler, ours.UniPCScheduler, ours.IPNDMScheduler, ours.HeunScheduler],
    "sd3": [ours.FlowMatchScheduler],
}
CASES = [(name, kind) for name, kinds in SCHEDULERS.items() for kind in kinds]


def _options(scheduler: Any) -> dict[str, Any]:
    return {name: value for name, value in scheduler.config.items() if not name.startswith("_")}


@pytest.mark.parametrize(("name", "kind"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_a_saved_pipeline_has_its_scheduler_and_makes_the_same_again(name: str, kind: Any, tmp_path: Path) -> None:
    made = tiny(name)
    expected = result(made, kind.from_config(made.config))
    made.pipe.save_pretrained(tmp_path)
    empty: Any = {key: None for key, value in made.pipe.components.items() if value is None}
    loaded = type(made.pipe).from_pretrained(tmp_path, local_files_only=True, **empty)
    loaded.set_progress_bar_config(disable=True)
    assert type(loaded.scheduler) is kind
    assert _options(loaded.scheduler) == _options(made.pipe.scheduler)
    assert result(made._replace(pipe=loaded), loaded.scheduler).isfinite().all()
    assert torch.equal(result(made, loaded.scheduler), expected)  # of weights at one place in memory


def test_a_plan_travels_in_the_saved_pipeline(tmp_path: Path) -> None:
    import genie_samplers as gs

    made = tiny("ddpm")
    schedule = ours.PlanScheduler.from_config(made.config).schedule
    plan = gs.make_plan("unipc2", schedule, 4, grid="karras")
    expected = result(made, ours.PlanScheduler.from_config(made.config, plan=plan.to_json()))
    made.pipe.save_pretrained(tmp_path)
    loaded = type(made.pipe).from_pretrained(tmp_path, local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    assert torch.equal(result(made, loaded.scheduler), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize(
    "kind", [ours.DPMSolverMultistepScheduler, ours.EulerScheduler, ours.DDPMScheduler, ours.PNDMScheduler]
)
def test_a_pipeline_in_half_precision_stays_in_it(kind: Any, dtype: torch.dtype) -> None:
    made = tiny("sd")
    made.pipe.to(dtype)
    embeds = {key: value.to(dtype) for key, value in made.call.items() if isinstance(value, torch.Tensor)}
    latents = result(made, kind.from_config(made.config), 4, **embeds)
    assert latents.dtype == dtype and latents.isfinite().all()
