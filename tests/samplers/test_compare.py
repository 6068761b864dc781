"""compare: a cell that cannot be run leaves the others as they are."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_samplers.uses.compare import Cell, Comparison, compare

VP = gs.schedules.vp_linear()


def half(x: Tensor, t: Tensor) -> Tensor:
    return 0.5 * x


def not_finite(message: str) -> gs.NonFiniteError:
    return gs.NonFiniteError(message, row=0, sample_ids=[0], finished=torch.empty(0, 3), finished_ids=())


def compared(monkeypatch: pytest.MonkeyPatch, error: Exception, cells: list[Cell]) -> Comparison:
    def fail_at_three(model: object, plan: gs.Plan, **options: object) -> Tensor:
        if plan.nfe == 3:
            raise error
        return gs.sample(model, plan, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(sys.modules[compare.__module__], "sample", fail_at_three)
    return compare(half, VP, ["ddim"], [2, 3, 4], shape=(2, 3), fine_steps=8, on_cell=cells.append)


def test_a_cell_whose_state_becomes_inf_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Cell] = []
    result = compared(monkeypatch, not_finite("model: the state became inf or NaN in row 0"), seen)
    assert result.skipped == {("ddim", 3): "model: the state became inf or NaN in row 0"}
    assert [cell.nfe for cell in result.cells] == [cell.nfe for cell in seen] == [2, 4]
    assert result.cell("ddim", 3) is None


def test_a_network_of_too_few_outputs_ends_the_comparison() -> None:
    with pytest.raises(ValueError, match=r"returned 1 outputs in row 0.*genie-samplers distill"):
        compare(half, VP, ["ddim", "genie_ttm2"], [2], shape=(2, 3), fine_steps=8)


def test_a_network_that_cannot_run_ends_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        compared(monkeypatch, RuntimeError("out of memory"), [])


def test_a_fine_solution_that_becomes_inf_ends_the_comparison() -> None:
    with pytest.raises(ValueError, match="inf or NaN"):
        compare(lambda x, t: torch.full_like(x, torch.inf), VP, ["ddim"], [2], shape=(2, 3), fine_steps=3)
