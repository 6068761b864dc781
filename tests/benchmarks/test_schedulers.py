"""The benchmark of schedulers: pairs agree before they are timed, counts are of the steps alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("diffusers")

import torch

from benchmarks import schedulers
from benchmarks.case import QUICK

SHAPE = (2, 3, 4, 5)


@pytest.mark.parametrize("case", schedulers.step_cases(replace(QUICK, shapes=(SHAPE,))), ids=lambda case: case.name)
def test_both_of_a_pair_end_at_the_same_state(case: schedulers.Case) -> None:
    assert case.disagreement() is None


@pytest.mark.parametrize("pair", schedulers.PAIRS.values(), ids=schedulers.PAIRS)
@torch.no_grad()
def test_a_step_of_ours_reads_no_number_back_and_allocates_its_result_alone(
    pair: schedulers.Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One operation in each step, and what a run does once; and the draw where there is one."""
    monkeypatch.delenv("GENIE_EXT_CHECK")
    start, *outputs = torch.randn(3, *SHAPE)
    mine, theirs = (schedulers.counted(scheduler, start, outputs) for scheduler in pair.made())
    draws = "DDPM" in pair.ours or "sde" in str(pair.options)
    assert mine["reads"] == 0.0
    assert mine["operations"] <= (2.0 if draws else 1.1) < theirs["operations"]


def test_the_tables_have_a_row_for_every_pair() -> None:
    pair = {"operations": 1.0, "reads": 0.0, "graphs": None}
    seconds = {"first": 1.0, "again": 1.0, "diffusers": 1.0}
    report = {
        "steps": [{"case": "x", "disagreement": "other", "seconds": {}, "ratios": {}}],
        "counts": {name: {"ours": pair, "diffusers": pair, "set_timesteps": seconds} for name in schedulers.PAIRS},
        "floor": schedulers.floor(torch.zeros(SHAPE), torch.zeros(SHAPE), calls=20),
        "generation": {},
    }
    times, least, counts, _ = schedulers.tables(report)
    assert len(least.splitlines()) == 2 + 3
    assert times.endswith("| x | other | - | - |")
    assert len(counts.splitlines()) == 2 + len(schedulers.PAIRS)
