"""The doctor finds the faults that users reported, says no more where there is none, and names what replaces it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genie_samplers import doctor
from genie_samplers.doctor import Report, examine

from ..documents import ROOT
from ..samplers.command_line import refused, run

EXAMPLES = sorted((ROOT / "examples" / "schedulers").glob("*.json"))
FLOW = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
KARRAS = {"use_karras_sigmas": True}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
ZERO_SNR = {"rescale_betas_zero_snr": True}
PLMS = {"skip_prk_steps": True}
LEADING, TRAILING = {"timestep_spacing": "leading"}, {"timestep_spacing": "trailing"}


def config_of(name: str, **options: Any) -> dict[str, Any]:
    table = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    return {"_class_name": f"{name}Scheduler", **({} if name.startswith("Flow") else table), **options}


def severities(report: Report) -> dict[str, str]:
    return {found.name: found.severity for found in report.findings}


@pytest.mark.parametrize(
    ("config", "steps", "name", "severity"),
    [
        (config_of("DDIM", timestep_spacing="linspace"), 10, "previous time not of the list", "fault"),
        (config_of("PNDM", **TRAILING, **PLMS), 13, "previous time not of the list", "fault"),
        (config_of("DEISMultistep", **KARRAS), 10, "last evaluation wasted", "fault"),
        (config_of("DEISMultistep", use_exponential_sigmas=True), 10, "last evaluation wasted", "fault"),
        (config_of("DEISMultistep", use_beta_sigmas=True), 10, "last evaluation wasted", "fault"),
        (config_of("DEISMultistep", **FLOW), 8, "last evaluation wasted", "fault"),
        (config_of("DEISMultistep"), 8, "noise is left", "note"),
        (config_of("DPMSolverMultistep", **KARRAS, **COSINE), 8, "first time twice", "breaks"),
        (config_of("UniPCMultistep", use_beta_sigmas=True, **COSINE), 13, "first time twice", "breaks"),
        (config_of("DPMSolverMultistep"), 1000, "equal times", "breaks"),
        (config_of("DPMSolverMultistep", **LEADING), 1000, "first time twice", "breaks"),
        (config_of("UniPCMultistep", **LEADING, steps_offset=1), 999, "index beyond the table", "breaks"),
        (config_of("DDIM", **TRAILING, **ZERO_SNR), 10, "epsilon at zero SNR", "breaks"),
        (config_of("EulerDiscrete", **TRAILING, **ZERO_SNR), 10, "epsilon at zero SNR", "fault"),
        (config_of("DDIM", prediction_type="v_prediction", **ZERO_SNR), 10, "starts below the first time", "fault"),
        (config_of("DDIM"), 10, "starts below the last index", "note"),
        (config_of("FlowMatchEulerDiscrete", shift=3.0), 8, "shift applied twice", "fault"),
        (config_of("DPMSolverMultistep", **FLOW), 8, "integer times", "fault"),
        (config_of("UniPCMultistep", **FLOW), 8, "integer times", "fault"),
        (config_of("DPMSolverMultistep", **FLOW), 8, "order lost at the second step", "note"),
        (config_of("FlowMatchEulerDiscrete", shift_terminal=0.1), 1, "one step with shift_terminal", "breaks"),
        (config_of("DDIM", steps_offset=1), 1000, "index beyond the table", "breaks"),
        (config_of("FlowMatchEulerDiscrete", use_dynamic_shifting=True), 8, "mu is needed", "note"),
        (config_of("PNDM", **PLMS, steps_offset=1), 10, "one evaluation more", "note"),
        (config_of("UniPCMultistep", solver_type="bh1"), 10, "no number", "breaks"),
        (config_of("UniPCMultistep", solver_order=3, lower_order_final=False), 10, "no number", "breaks"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_the_faults_that_users_met(config: dict[str, Any], steps: int, name: str, severity: str) -> None:
    assert severities(examine(config, steps))[name] == severity


def test_it_says_where_a_step_ends_and_where_the_next_begins() -> None:
    (found,) = examine(config_of("DDIM", timestep_spacing="linspace", set_alpha_to_one=True), 10).findings
    assert "from 999 ends at 899, the next one starts at 888" in found.explanation
    assert {"#14357", "#12633"} <= set(found.threads)


def test_it_says_what_noise_is_left() -> None:
    report = examine(config_of("DEISMultistep", **FLOW), 8)
    assert report.sigmas[-1] == report.sigmas[-2] == pytest.approx(0.2998, abs=1e-4)
    assert report.theirs is not None and report.theirs > 3.0 * report.ours


def test_a_doubly_shifted_end_is_shown_beside_the_right_one() -> None:
    (found,) = examine(config_of("FlowMatchEulerDiscrete", shift=3.0), 8).findings
    assert "ends at time 8.929; shifted once it would be 2.994" in found.explanation
    assert examine(config_of("FlowMatchEulerDiscrete", shift=3.0), 8, linear_sigmas=True).findings == ()


@pytest.mark.parametrize(
    ("config", "steps"),
    [
        (config_of("EulerDiscrete"), 10),
        (config_of("EulerDiscrete", **KARRAS), 20),
        (config_of("DPMSolverMultistep", **TRAILING), 10),
        (config_of("UniPCMultistep", **TRAILING), 20),
        (config_of("EulerDiscrete", **TRAILING, prediction_type="v_prediction", **ZERO_SNR), 10),
        (config_of("HeunDiscrete", **KARRAS), 10),
        (config_of("DDPM", **TRAILING), 20),
        (config_of("FlowMatchEulerDiscrete"), 10),
    ],
)
def test_nothing_is_made_up(config: dict[str, Any], steps: int) -> None:
    report = examine(config, steps)
    assert severities(report) == {}
    assert "nothing found" in str(report)


@pytest.mark.parametrize("name", doctor.READ)
@pytest.mark.parametrize("steps", [1, 2, 5, 50])
@pytest.mark.each_value
def test_every_class_has_a_report_at_any_number_of_steps(name: str, steps: int) -> None:
    report = examine(config_of(name), steps)
    assert len(report.sigmas) == len(report.asked) + 1 == len(report.times) + 1
    assert math.isfinite(report.ours)
    assert report.line.count("from_config(pipe.scheduler.config") == 1
    assert np.all(np.diff(report.asked) < 0.0)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_command_examines_a_file(path: Path) -> None:
    printed = run("doctor", path, "--steps", 10)
    assert json.loads(path.read_text())["_class_name"] in printed
    assert "error on Gaussian data" in printed and "pipe.scheduler = " in printed


def test_a_folder_of_a_pipeline_will_do(tmp_path: Path) -> None:
    folder = tmp_path / "scheduler"
    folder.mkdir()
    (folder / "scheduler_config.json").write_text(EXAMPLES[0].read_text())
    assert run("doctor", tmp_path, "--steps", 4) == run("doctor", folder, "--steps", 4)


def test_it_imports_neither_torch_nor_diffusers() -> None:
    code = "import sys; from genie_samplers import doctor; doctor.examine(sys.argv[1]); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, str(EXAMPLES[0])], capture_output=True, text=True, check=True)
    assert "'genie_samplers.doctor'" in done.stdout
    assert "'torch'" not in done.stdout and "'diffusers'" not in done.stdout


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"_class_name": "LCMScheduler"}, "LCMScheduler is not modelled; DDIMScheduler"),
        (config_of("DDIM", timestep_spacing="even"), "timestep_spacing='even'"),
        (config_of("FlowMatchEulerDiscrete", invert_sigmas=True), "invert_sigmas=True"),
    ],
)
def test_what_is_not_modelled_is_refused(config: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        examine(config)


@pytest.mark.parametrize("arguments", [{"mu": 1.0}, {"tokens": 1024}, {"linear_sigmas": True}, {"steps": 0}])
def test_arguments_that_mean_nothing_here_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        examine(config_of("DDIM"), **arguments)


def test_the_command_says_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert "no _class_name" in refused("doctor", tmp_path / "config.json")
