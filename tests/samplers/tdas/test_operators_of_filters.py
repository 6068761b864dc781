"""Filters and gains as a run is given them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from genie_samplers import tdas

RNG = np.random.default_rng(2)
SPEC = tdas.FilterSpec("dct", 0.5 + RNG.random((6, 5)), 0.5 + RNG.random((2, 6, 5)))
GAINS = tdas.NoiseGains("dft", np.stack([np.ones((6, 5)), 2.0 * np.ones((6, 5)), np.zeros((6, 5))]))
VALUE = torch.from_numpy(RNG.standard_normal((3, 2, 6, 5)))


def applied(operator: tdas.FilterOperator, value: torch.Tensor = VALUE, index: int = 0) -> torch.Tensor:
    out = torch.full_like(value, torch.nan)
    assert operator(value, index, out) is None
    return out


def test_a_filter_and_its_adjoint_have_names() -> None:
    found = tdas.operators(SPEC, adjoint=True)
    assert list(found) == ["filter", "filter_adjoint"]
    assert np.abs(applied(found["filter"]).numpy() - SPEC.apply(VALUE.numpy())).max() <= 1e-14
    expected = SPEC.apply(VALUE.numpy(), adjoint=True)
    assert np.abs(applied(found["filter_adjoint"]).numpy() - expected).max() <= 1e-14


def test_a_filter_is_the_same_for_every_index() -> None:
    (operator,) = tdas.operators(SPEC, name="tdas").values()
    assert torch.equal(applied(operator, index=7), applied(operator))


def test_gains_are_a_bank_by_the_number_of_the_draw() -> None:
    (operator,) = tdas.operators(GAINS).values()
    assert applied(operator, index=0).numpy() == pytest.approx(VALUE.numpy(), abs=1e-14)
    assert applied(operator, index=1).numpy() == pytest.approx(2.0 * VALUE.numpy(), abs=1e-14)
    assert float(applied(operator, index=2).abs().max()) <= 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_operator_serves_both_compute_dtypes(dtype: torch.dtype) -> None:
    (operator,) = tdas.operators(SPEC).values()
    applied(operator, VALUE.float())
    assert applied(operator, VALUE.to(dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: applied(tdas.FilterOperator(SPEC), VALUE[:, :, :5]),
            ValueError,
            r"filter is for samples \[..., 2, 6",
        ),
        (lambda: applied(tdas.FilterOperator(GAINS), VALUE[..., :4]), ValueError, r"gains are for samples \[..., 6, 5"),
        (lambda: tdas.operators(np.ones((6, 5))), TypeError, "filters: ndarray; give a FilterSpec or NoiseGains"),  # type: ignore[arg-type]
    ],
)
def test_bad_input_is_refused_with_the_fix(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
