"""Rows whose tensors are looked at natively: the bits of the long way, or nothing at all."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from genie_ext import PreparedRows, StepRows, prepare_rows
from genie_ext.testing import assert_same_bits
from genie_samplers.plan.layout import packed
from tests.ops.test_prepare_rows import SHAPE, row

native_rows: Any = importlib.import_module("genie_ext.ops.fused_step.native_rows")
LAYOUT = (row(store=(0,)), row(history=(0,), converted=2, store=(None, 1)), row(history=(1,), draws=(0,)))
pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture(autouse=True)
def published() -> None:
    if not hasattr(Tensor, "__dlpack_c_exchange_api__"):
        pytest.skip("this torch does not publish how its tensors are read")


def normal(seed: int, dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def made_rows(dtype: torch.dtype = torch.float32) -> StepRows:
    compute = torch.float64 if dtype == torch.float64 else torch.float32
    table = normal(1, compute, (len(LAYOUT), max(layout.columns for layout in LAYOUT)))
    slots = [torch.zeros(SHAPE, dtype=compute) for _ in range(2)]
    return StepRows(packed(LAYOUT), table, torch.zeros(SHAPE, dtype=dtype), slots=slots)


def prepared_rows(**fields: Any) -> PreparedRows:
    return prepare_rows(replace(made_rows(), **fields), backend="cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_bits_are_those_of_the_long_way(dtype: torch.dtype) -> None:
    short, long = made_rows(dtype), made_rows(dtype)
    ways = prepare_rows(short, backend="cpu"), prepare_rows(long, backend="cpu")
    x = normal(0, dtype)
    for number in (0, 1):
        output = normal(10 + number, dtype)
        followed, moved = ways[0].follow(number, x, output), ways[1].move(number, x, [output])
        assert followed is not None
        assert_same_bits(followed, moved)
        x = moved
    assert_same_bits(short.slots[1], long.slots[1])
    assert_same_bits(short.x, made_rows(dtype).x)


class Marked(Tensor):
    """Of another type."""


UNUSUAL: dict[str, Callable[[], Tensor]] = {
    "another shape": lambda: normal(0, shape=(3, 5, 2)),
    "fewer axes": lambda: normal(0, shape=(3, 10)),
    "another dtype": lambda: normal(0, torch.float64),
    "integers": lambda: torch.ones(SHAPE, dtype=torch.int32),
    "complex": lambda: torch.ones(SHAPE, dtype=torch.complex64),
    "not dense": lambda: normal(0, shape=(3, 5, 2)).transpose(1, 2),
    "every second sample": lambda: normal(0, shape=(6, 2, 5))[::2],
    "expanded": lambda: normal(0, shape=(1, 2, 5)).expand(SHAPE),
    "not aligned": lambda: normal(0, shape=(31,))[1:].view(SHAPE),
    "a subclass": lambda: normal(0).as_subclass(Marked),
    "a parameter": lambda: torch.nn.Parameter(normal(0), requires_grad=False),
    "without memory": lambda: torch.empty(SHAPE, device="meta"),
    "sparse": lambda: torch.eye(3).to_sparse(),
}


@pytest.mark.parametrize("unusual", UNUSUAL.values(), ids=UNUSUAL)
@pytest.mark.parametrize("place", ["state", "output"])
def test_nothing_is_done_with_anything_unusual(unusual: Callable[[], Tensor], place: str) -> None:
    rows = made_rows()
    given = (unusual(), normal(1)) if place == "state" else (normal(0), unusual())
    assert prepare_rows(rows, backend="cpu").follow(0, *given) is None
    assert all(not slot.any() for slot in rows.slots)


def test_nothing_is_done_with_what_is_no_tensor() -> None:
    numbers: Any = [1.0]
    assert prepared_rows().follow(0, normal(0), numbers) is None


def test_an_output_with_the_negative_bit_is_not_taken_for_its_memory() -> None:
    assert prepared_rows().follow(0, normal(0), torch.ops.aten._neg_view(normal(1))) is None


def test_a_state_with_the_negative_bit_is_not_taken_for_its_memory() -> None:
    assert prepared_rows().follow(0, torch.ops.aten._neg_view(normal(0)), normal(1)) is None


@pytest.mark.parametrize("place", ["x", r"outputs\[0\]"])
def test_a_tensor_whose_memory_was_freed_is_refused_by_its_name(place: str) -> None:
    freed = normal(1)
    freed.untyped_storage().resize_(0)
    x, output = (freed, normal(0)) if place == "x" else (normal(0), freed)
    rows = prepared_rows()
    assert rows.follow(0, x, output) is None
    with pytest.raises(ValueError, match=f"{place}: .* without memory"):
        rows.move(0, x, [output])


def test_tangents_are_not_lost() -> None:
    with forward_ad.dual_level():
        assert prepared_rows().follow(0, normal(0), forward_ad.make_dual(normal(1), normal(2))) is None


def test_a_wrapper_of_torch_func_is_nothing_usual() -> None:
    rows, x = prepared_rows(), normal(0)
    found: list[Tensor | None] = []

    def function(output: Tensor) -> Tensor:
        found.append(rows.follow(0, x, output))
        return output.sum()

    torch.func.grad(function)(normal(1))
    torch.func.vmap(function)(normal(1, shape=(2, *SHAPE)))
    assert found == [None, None]


def test_a_row_that_draws_is_left_to_the_long_way() -> None:
    assert prepared_rows().follow(2, normal(0), normal(1)) is None


def test_rows_with_an_input_of_their_own_are_left_to_the_long_way() -> None:
    assert prepared_rows(x_in=torch.zeros(SHAPE, dtype=torch.bfloat16)).follow(0, normal(0), normal(1)) is None


def test_every_run_is_checked_where_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENIE_EXT_CHECK", "1")
    assert prepared_rows().follow(0, normal(0), normal(1)) is None


def test_the_reference_has_the_long_way_alone() -> None:
    assert prepare_rows(made_rows(), backend="reference").follow(0, normal(0), normal(1)) is None


def test_a_type_that_publishes_nothing_is_refused() -> None:
    from genie_ext import _C

    with pytest.raises(AttributeError, match="__dlpack_c_exchange_api__"):
        _C.Tensors(int)  # type: ignore[arg-type]


@pytest.mark.parametrize("published", [0, None, "another form"])
def test_another_form_of_what_is_published_leaves_the_long_way(published: object, monkeypatch: Any) -> None:
    class Other(Tensor):
        __dlpack_c_exchange_api__ = published

    monkeypatch.setattr(native_rows, "Tensor", Other)
    assert native_rows._tensors() is None
