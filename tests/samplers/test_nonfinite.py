"""A state that becomes inf or NaN: noticed after its chunk, with what was finished before."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits

from .conftest import Place
from .fakes import SCHEDULE, FakeModel, solver_plan

PLAN = solver_plan("deis_tab1", 3)
IDS = [10, 11, 12, 13, 14]


def halve(x: Tensor, t: Tensor) -> Tensor:
    return 0.5 * x


def spoiling(call: int, sample: int = 0, value: float = float("nan")) -> FakeModel:
    """0.5 x, but in one call one sample has a ``value``."""
    calls = iter(range(10_000))

    def model(x: Tensor, t: Tensor) -> Tensor:
        out = 0.5 * x
        if next(calls) == call:
            out[sample, -1] = value
        return out

    return FakeModel(model)


def spoiled(model: Any = None, **options: Any) -> gs.NonFiniteError:
    given: dict[str, Any] = {"shape": (5, 4), "sample_ids": IDS, "batch_size": 2} | options
    with pytest.raises(gs.NonFiniteError) as error:
        gs.sample(spoiling(4, 1) if model is None else model, PLAN, **given)
    return error.value


# --- sample


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_error_says_where_and_holds_what_was_finished(value: float, place: Place) -> None:
    error = spoiled(spoiling(4, 1, value), **place._asdict())  # row 1 of the second chunk
    assert (error.row, error.sample_ids, error.finished_ids) == (1, (13,), (10, 11))
    assert "in row 1 for sample ids [13]; check the network's output" in str(error)
    whole = gs.sample(halve, PLAN, shape=(2, 4), sample_ids=IDS[:2], backend="reference")
    assert_same_bits(error.finished.cpu(), whole)


def test_a_run_ends_with_the_chunk_that_went_wrong() -> None:
    model = spoiling(4)
    spoiled(model)
    assert len(model.calls) == 2 * len(PLAN.rows)


def test_the_first_chunk_leaves_nothing_finished() -> None:
    error = spoiled(spoiling(0))
    assert (error.row, error.sample_ids, error.finished_ids) == (0, (10,), ())
    assert error.finished.shape == (0, 4)


def test_a_single_chunk_leaves_nothing_finished() -> None:
    error = spoiled(spoiling(2, 3), batch_size=None)
    assert (error.row, error.sample_ids, error.finished_ids) == (2, (13,), ())
    assert error.finished.shape == (0, 4)


def test_a_padded_sample_is_named_once() -> None:
    error = spoiled(FakeModel(lambda x, t: torch.where(x[:1] == x[1:], torch.nan, 0.5) * x), batch_size=2)
    assert (error.sample_ids, error.finished_ids) == ((14,), (10, 11, 12, 13))


def test_samples_that_only_pad_are_nobodys() -> None:
    """on_row keeps the samples small, and what pads the last chunk, which it never sees, overflows."""
    plan = solver_plan("ddim", 8)
    model = FakeModel(lambda x, t: -1e12 * x)
    options: dict[str, Any] = {"sample_ids": IDS, "on_row": lambda event: event.x.clamp(-1.0, 1.0)}
    padded = gs.sample(model, plan, shape=(5, 4), batch_size=2, **options)
    assert_same_bits(padded, gs.sample(model, plan, shape=(5, 4), **options))


@pytest.mark.parametrize("name", ["state", "image"])
def test_a_start_that_is_not_finite_is_of_no_row(name: str) -> None:
    x = torch.ones(5, 4)
    x[3] = torch.inf
    error = spoiled(halve, shape=None, **{name: x})
    assert (error.row, error.sample_ids, error.finished_ids) == (None, (13,), (10, 11))
    assert "state or image: holds inf or NaN for sample ids [13]" in str(error)


def test_it_is_a_value_error() -> None:
    assert issubclass(gs.NonFiniteError, ValueError)


def test_what_is_finished_is_a_copy() -> None:
    error = spoiled()
    assert error.finished.untyped_storage().nbytes() == error.finished.numel() * error.finished.element_size()


@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_the_error_can_be_sent_to_another_process(copied: Any) -> None:
    error = spoiled()
    twin = copied(error)
    assert type(twin) is gs.NonFiniteError
    fields = ("row", "sample_ids", "finished_ids", "args")
    assert [getattr(twin, f) for f in fields] == [getattr(error, f) for f in fields]
    assert_same_bits(twin.finished, error.finished)


def test_samples_that_are_not_finite_are_returned_on_request(place: Place) -> None:
    x = gs.sample(
        spoiling(4, 1), PLAN, shape=(5, 4), sample_ids=IDS, batch_size=2, check_finite=False, **place._asdict()
    ).cpu()
    fine = gs.sample(halve, PLAN, shape=(5, 4), sample_ids=IDS, backend="reference")
    assert x.isnan().nonzero().tolist() == [[3, 3]]
    assert_same_bits(x[[0, 1, 2, 4]], fine[[0, 1, 2, 4]])


# --- rk45


@pytest.mark.parametrize("norm", ["sample", "batch"])
def test_rk45_raises_the_same_error(norm: str) -> None:
    with pytest.raises(gs.NonFiniteError, match=r"became inf or NaN for sample ids \[11\]") as error:
        gs.rk45(spoiling(3, 1), SCHEDULE, shape=(3, 4), sample_ids=IDS[:3], norm=norm)
    assert (error.value.row, error.value.sample_ids, error.value.finished_ids) == (None, (11,), ())


def test_rk45_holds_what_was_finished() -> None:
    start = torch.tensor([[0.1, 0.2], [3.0, -2.0], [1.0, 0.5]])

    def network(x: Tensor, t: Tensor) -> Tensor:
        out = x / (1.0 + x * x)
        return out if len(x) == 3 else out * torch.nan

    with pytest.raises(gs.NonFiniteError) as error:
        gs.rk45(network, SCHEDULE, state=start, sample_ids=IDS[:3])
    alone = gs.rk45(lambda x, t: x / (1.0 + x * x), SCHEDULE, state=start, sample_ids=IDS[:3]).x
    finished = [IDS.index(i) for i in error.value.finished_ids]
    assert len(finished) >= 1 and set(error.value.sample_ids) == set(IDS[:3]) - set(error.value.finished_ids)
    assert_same_bits(error.value.finished, alone[finished])


def test_a_start_of_rk45_that_is_not_finite_is_of_no_row() -> None:
    with pytest.raises(gs.NonFiniteError, match=r"state: holds inf or NaN for sample ids \[11\]") as error:
        gs.rk45(halve, SCHEDULE, state=torch.tensor([[1.0], [torch.nan]]), sample_ids=IDS[:2])
    assert (error.value.row, error.value.sample_ids, error.value.finished.shape) == (None, (11,), (0, 1))


# --- who catches it


def test_a_cell_of_compare_that_overflows_is_skipped_with_its_reason() -> None:
    times = iter(range(10_000))
    fine, cells = 40, [2, 3]

    def network(x: Tensor, t: Tensor) -> Tensor:
        return torch.full_like(x, torch.inf) if next(times) in (fine, fine + 1) else 0.5 * x

    result = gs.compare(network, SCHEDULE, ["ddim"], cells, shape=(2, 3), fine_steps=fine)
    assert list(result.skipped) == [("ddim", 2)] and "inf or NaN in row 0" in result.skipped["ddim", 2]
    assert [cell.nfe for cell in result.cells] == [3]
