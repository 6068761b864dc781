"""A wrong filter, image or call is refused; the error names argument, value and fix."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from genie_ext import SpectralFilter, spectral_filter, sum_of_squares

from .spectral import noise

ONES = torch.full((4, 6), 0.5)
Z = torch.zeros(2, 3, 4, 6)
META = torch.zeros(2, 3, 4, 6, device="meta")
NAN, INFINITE, ZERO, NEGATIVE = (
    ONES.index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(value))
    for value in (float("nan"), float("inf"), 0.0, -1.0)
)

FILTERS = {
    "frequency_list": ({"frequency": [1.0]}, TypeError, "^frequency:", "list"),
    "frequency_of_integers": ({"frequency": torch.ones(4, 6, dtype=torch.int64)}, TypeError, "^frequency:", "int64"),
    "frequency_line": ({"frequency": torch.ones(6)}, ValueError, "^frequency:", r"\(6,\)", r"pass \[H, W\]"),
    "frequency_empty": ({"frequency": torch.ones(0, 6)}, ValueError, "^frequency:", r"\(0, 6\)", r"pass \[H, W\]"),
    "frequency_nan": ({"frequency": NAN}, ValueError, "^frequency: nan", r"\(1, 2\)", "positive and finite"),
    "frequency_infinite": ({"frequency": INFINITE}, ValueError, "^frequency: inf", r"\(1, 2\)", "positive and finite"),
    "frequency_zero": ({"frequency": ZERO}, ValueError, r"^frequency: 0\.0", r"\(1, 2\)", "; a bank"),
    "frequency_negative": ({"frequency": NEGATIVE}, ValueError, r"^frequency: -1\.0", r"\(1, 2\)", "positive"),
    "frequency_on_meta": ({"frequency": META[0]}, ValueError, "^frequency:", "meta"),
    "frequency_with_gradient": (
        {"frequency": ONES.clone().requires_grad_()}, ValueError, "^frequency:", "requires grad", "detach"
    ),
    "space_text": ({"space": "x"}, TypeError, "^space:", "str", "None"),
    "space_nan": ({"space": NAN}, ValueError, "^space: nan", r"\(1, 2\)", "positive and finite"),
    "space_zero": ({"space": ZERO}, ValueError, r"^space: 0\.0", r"\(1, 2\)", "positive and finite"),
    "space_of_other_size": ({"space": torch.ones(6, 4)}, ValueError, "^space:", r"\(6, 4\)", r"\(4, 6\)", "same sizes"),
    "space_of_other_channels": (
        {"frequency": ONES.expand(2, 4, 6), "space": ONES.expand(3, 4, 6)}, ValueError, "^space:", r"\(3, 4, 6\)"
    ),
    "space_with_gradient": ({"space": ONES.clone().requires_grad_()}, ValueError, "^space:", "requires grad"),
    "transform": ({"transform": "dst"}, ValueError, "^transform='dst'", "'dct' or 'dft'"),
}  # fmt: skip
FILTER_CASES = [(changed, error, parts) for changed, error, *parts in FILTERS.values()]


def refused(run, error, *parts):
    with pytest.raises(error) as caught:
        run()
    missing = [part for part in parts if not re.search(part, str(caught.value))]
    assert not missing, f"{missing} not in: {caught.value}"


@pytest.mark.parametrize("changed, error, parts", FILTER_CASES, ids=FILTERS)
def test_a_filter_of_other_values(changed, error, parts):
    refused(lambda: SpectralFilter(**{"frequency": ONES} | changed), error, *parts)


@pytest.mark.parametrize("changed, error, parts", FILTER_CASES, ids=FILTERS)
def test_the_function_refuses_them_too(changed, error, parts):
    z = META if changed.get("frequency") is FILTERS["frequency_on_meta"][0]["frequency"] else Z
    refused(lambda: spectral_filter(z, **{"frequency": ONES} | changed), error, *parts)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_bank_of_gains_below_zero(value):
    bank = torch.ones(2, 1, 4, 6)
    bank[1, 0, 1, 2] = value
    refused(lambda: SpectralFilter(bank), ValueError, f"^frequency: {value}", r"\(1, 0, 1, 2\)", "finite and 0 or more")


def test_a_computation_in_sixteen_bits():
    refused(lambda: SpectralFilter(ONES, dtype=torch.float16), TypeError, "^dtype: torch.float16", "torch.float32")


def test_an_unknown_method():
    unknown: Any = "matmul"
    refused(lambda: SpectralFilter(ONES, method=unknown), ValueError, "^method='matmul'", "'products', 'fft' or None")


def test_products_of_what_is_not_separable():
    lopsided = torch.rand(4, 6) + 0.5
    refused(
        lambda: SpectralFilter(lopsided, transform="dft", method="products"),
        ValueError, "^method='products': R is not even", "choose 'fft' or None",
    )  # fmt: skip


def test_an_unknown_backend():
    refused(lambda: SpectralFilter(ONES, backend="gpu"), ValueError, "backend='gpu'; choose")


@pytest.mark.parametrize("backend", ["cuda", "triton"])
def test_a_backend_without_a_kernel(backend):
    refused(lambda: SpectralFilter(ONES, backend=backend)(Z), ValueError, f"backend='{backend}'", "spectral_filter")


def test_a_space_that_varies_needs_the_forward_transform():
    varying = ONES.clone()
    varying[0, 0] = 0.7
    refused(
        lambda: SpectralFilter(ONES, varying, skip_forward=True), ValueError, "^space: varies", "skip_forward=False"
    )


def test_without_the_forward_transform_there_is_no_adjoint():
    refused(lambda: SpectralFilter(ONES, skip_forward=True)(Z, adjoint=True), ValueError, "^adjoint:", "skip_forward")


def test_a_bank_in_the_function():
    refused(lambda: spectral_filter(Z, ONES.expand(2, 3, 4, 6)), ValueError, "^frequency:", "bank", "SpectralFilter")


def test_a_frequency_on_another_device_in_the_function():
    refused(lambda: spectral_filter(META, ONES), ValueError, "^frequency: on cpu", "z is on meta")
    refused(lambda: spectral_filter(META, META[0, 0], ONES), ValueError, "^space: on cpu", "z is on meta")


OVERLAPPING = torch.zeros(2 * 3 * 4 * 6 + 2)
CALLS = {
    "z_list": ({"z": [1.0]}, TypeError, "^z:", "list"),
    "z_of_integers": ({"z": Z.long()}, TypeError, "^z:", "int64"),
    "z_of_float64": ({"z": Z.double()}, TypeError, "^z:", "float64", "dtype=torch.float64"),
    "z_of_other_size": ({"z": Z[..., :5].contiguous()}, ValueError, "^z:", r"\(2, 3, 4, 5\)", r"\[B, C, 4, 6\]"),
    "z_without_batch": ({"z": Z[0, 0]}, ValueError, "^z:", r"\(4, 6\)", r"\[B, 4, 6\]"),
    "z_of_no_samples": ({"z": Z[:0]}, ValueError, "^z:", r"\(0, 3, 4, 6\)", "at least one"),
    "z_of_other_channels": ({"z": Z[:, :2].contiguous()}, ValueError, "^z:", "2 channels", "given 3"),
    "z_with_gaps": ({"z": Z.repeat(1, 1, 1, 2)[..., ::2]}, ValueError, "^z:", "strides", "contiguous"),
    "z_on_meta": ({"z": META}, ValueError, "^z: on meta", "the filter is on cpu"),
    "z_negated": ({"z": torch.ops.aten._neg_view(Z)}, ValueError, "^z:", "negative bit", "resolve_neg"),
    "out_text": ({"out": "x"}, TypeError, "^out:", "str"),
    "out_of_other_shape": ({"out": torch.zeros(2, 3, 6, 4)}, ValueError, "^out:", r"\(2, 3, 6, 4\)", r"\(2, 3, 4, 6\)"),
    "out_of_other_dtype": ({"out": Z.half()}, TypeError, "^out:", "float16", "float32"),
    "out_on_meta": ({"out": META}, ValueError, "^out: on meta", "z is on cpu"),
    "out_over_z": (
        {"z": OVERLAPPING[2:].view(2, 3, 4, 6), "out": OVERLAPPING[:-2].view(2, 3, 4, 6)},
        ValueError, "^out:", "shares memory with z", "exactly z",
    ),
    "out_with_gradient": ({"out": Z.clone().requires_grad_()}, ValueError, "^out:", "requires grad"),
    "index_beyond": ({"index": 1}, ValueError, "^index: 1", "0 to 0"),
    "index_negative": ({"index": -1}, ValueError, "^index: -1", "0 to 0"),
    "index_fraction": ({"index": 0.5}, TypeError, "^index:", "0.5", "integer"),
}  # fmt: skip


@pytest.mark.parametrize("changed, error, parts", [(c, e, p) for c, e, *p in CALLS.values()], ids=CALLS)
def test_a_call_of_other_images(changed, error, parts):
    refused(lambda: SpectralFilter(ONES.expand(3, 4, 6))(**{"z": Z} | changed), error, *parts)


def test_a_result_over_the_space_of_the_filter():
    filter_ = SpectralFilter(ONES, torch.full((2, 4, 6), 0.5))
    space = filter_._parts.space
    assert space is not None
    refused(lambda: filter_(Z[:1, :2].contiguous(), out=space[None]), ValueError, "^out: shares memory with space")


FILLS = {
    "out_list": ({"out": [1.0]}, TypeError, "^out:", "list"),
    "out_of_other_size": ({"out": torch.zeros(2, 3, 4, 5)}, ValueError, "^out:", r"\(2, 3, 4, 5\)"),
    "noise_integer": ({"noise": 5}, TypeError, "^noise:", "int"),
    "ids_of_other_batch": ({"noise": noise(3)}, ValueError, r"^noise\.sample_ids:", r"\(3,\)", r"\(2,\)"),
    "draw_negative": ({"draw": -1}, ValueError, "^draw: -1"),
    "draw_fraction": ({"draw": 1.5}, TypeError, "^draw:", "integer"),
    "out_with_gradient": ({"out": Z.clone().requires_grad_()}, ValueError, "^out:", "requires grad"),
}


@pytest.mark.parametrize("changed, error, parts", [(c, e, p) for c, e, *p in FILLS.values()], ids=FILLS)
def test_a_draw(changed, error, parts):
    given = {"out": torch.zeros(2, 3, 4, 6), "noise": noise(2)} | changed
    refused(lambda: SpectralFilter(ONES).fill(given.pop("out"), **given), error, *parts)


X = torch.zeros(2, 6)
SQUARES = {
    "x_list": ({"x": [1.0]}, TypeError, "^x:", "list"),
    "x_of_integers": ({"x": X.long()}, TypeError, "^x:", "int64"),
    "x_of_no_samples": ({"x": X[:0]}, ValueError, "^x:", r"\(0, 6\)", "at least one"),
    "x_scalar": ({"x": X[0, 0]}, ValueError, "^x:", r"\(\)", "at least one"),
    "x_transposed": ({"x": X.T}, ValueError, "^x:", "strides", "contiguous"),
    "out_text": ({"out": "x"}, TypeError, "^out:", "str"),
    "out_of_float32": ({"out": torch.zeros(2)}, TypeError, "^out:", "float32", "float64"),
    "out_of_other_batch": ({"out": torch.zeros(3).double()}, ValueError, "^out:", r"\(3,\)", r"need \(2,\)"),
    "out_with_gaps": ({"out": torch.zeros(4).double()[::2]}, ValueError, "^out:", "strides", "contiguous"),
    "out_on_meta": ({"out": torch.zeros(2, device="meta").double()}, ValueError, "^out: on meta", "x is on cpu"),
    "out_over_x": ({"out": X.view(-1)[:4].view(torch.float64)}, ValueError, "^out:", "shares memory with x"),
    "out_with_gradient": ({"out": torch.zeros(2).double().requires_grad_()}, ValueError, "^out:", "requires grad"),
}


@pytest.mark.parametrize("changed, error, parts", [(c, e, p) for c, e, *p in SQUARES.values()], ids=SQUARES)
def test_sum_of_squares(changed, error, parts):
    refused(lambda: sum_of_squares(**{"x": X} | changed), error, *parts)
