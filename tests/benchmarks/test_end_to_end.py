"""The loop that a CUDA graph holds is the engine's, for any seed; the benchmark notices where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers", reason="the embedded network is a diffusers U-Net")

import genie_samplers as gs
from benchmarks import end_to_end
from benchmarks.case import Settings
from benchmarks.end_to_end import Loop, cases, main, shares
from genie_ext.testing import assert_same_bits

TINY = Settings(rounds=1, block_seconds=0.0, case_seconds=0.0)


def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return 0.3 * x + t.reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("solver", ["ddim", "deis_tab2", "deis_tab3", "dpmpp_2m"])
def test_the_loop_has_the_bits_of_the_engine(solver: str, seed: int) -> None:
    schedule = gs.schedules.vp_linear()
    plan = gs.make_plan(solver, schedule, nfe=5, prediction="epsilon")
    labels = torch.tensor(schedule.label(np.asarray(plan.times)), dtype=torch.float32)[:, None].repeat(1, 3)
    loop = Loop(network, plan, labels)
    loop.seed.fill_(seed)
    assert_same_bits(loop.run(), gs.sample(network, plan, shape=(3, 1, 28, 28), seed=seed))


def test_noise_that_stays_that_of_the_capture_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_to_end, "_as_it_is", lambda run: lambda: None)
    (case,) = cases(TINY, [1])
    assert "sample is off by" in str(case.disagreement())


def test_a_run_reports_the_sampler_s_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_to_end, "QUICK", TINY)
    out = tmp_path / "end_to_end.json"
    assert main(["--quick", "--out", str(out)]) == 0
    (case,) = json.loads(out.read_text())["results"][0]["cases"]
    assert set(case["seconds"]) == {
        *("sample", "sampler alone", "network alone"),
        *("loop: sample", "loop: sampler alone", "loop: network alone"),
    }
    assert shares([case]) in out.with_suffix(".md").read_text()
