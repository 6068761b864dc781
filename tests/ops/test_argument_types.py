"""Arguments that are no plain tensors or integers are refused by name; integers of numpy are integers."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from genie_ext import Noise, fused_step, normal_fill

B, N = 2, 6
IDS = torch.arange(B)
ROW = torch.zeros(7)  # one output, one converted, no history, no draws
NESTED = torch.nested.nested_tensor([torch.zeros(3), torch.zeros(4)], layout=torch.jagged)


def zeros(*shape):
    return torch.zeros(shape or (B, N))


def noise(**fields):
    return Noise(torch.zeros(1, dtype=torch.int64), IDS)._replace(**fields)


def step(**changed):
    return fused_step(**{"x": zeros(), "outputs": [zeros()], "row": ROW, "converted": 1} | changed)


def fill(**changed):
    return normal_fill(**{"out": zeros(), "noise": noise()} | changed)


KINDS = {
    "x_list": ({"x": [1.0, 2.0]}, "^x:", "list"),
    "x_none": ({"x": None}, "^x:", "NoneType"),
    "x_nested": ({"x": NESTED}, "^x:", "nested"),
    "x_sparse": ({"x": zeros().to_sparse()}, "^x:", "sparse", "to_dense"),
    "row_list": ({"row": [0.0] * 7}, "^row:", "list"),
    "row_none": ({"row": None}, "^row:", "NoneType"),
    "row_sparse": ({"row": ROW.to_sparse()}, "^row:", "sparse", "to_dense"),
    "outputs_none": ({"outputs": None}, "^outputs:", "NoneType", "list"),
    "outputs_tensor": ({"outputs": zeros()}, "^outputs:", "Tensor", "list"),
    "output_none": ({"outputs": [None]}, r"^outputs\[0\]:", "NoneType"),
    "output_of_numpy": ({"outputs": [np.zeros((B, N), np.float32)]}, r"^outputs\[0\]:", "ndarray"),
    "history_none": ({"history": [None], "row": zeros(8)}, r"^history\[0\]:", "NoneType"),
    "history_tensor": ({"history": zeros()}, "^history:", "Tensor", "list"),
    "converted_fraction": ({"converted": 1.0}, "^converted:", "1.0 of type float", "integer"),
    "converted_text": ({"converted": "1"}, "^converted:", "str", "integer"),
    "aux_list": ({"aux": [1.0], "row": zeros(8)}, "^aux:", "list", "None"),
    "draws_integer": ({"draws": 3, "noise": noise()}, "^draws:", "3 of type int", "list"),
    "draw_none": ({"draws": [None], "noise": noise()}, r"^draws\[0\]:", "NoneType"),
    "noise_integer": ({"noise": 5}, "^noise:", "int", r"Noise\(seed"),
    "noise_tuple": ({"noise": (torch.zeros(1, dtype=torch.int64), IDS, 1)}, "^noise:", "tuple", r"Noise\(seed"),
    "seed_integer": ({"noise": noise(seed=0)}, r"^noise\.seed:", "0 of type int"),
    "sample_ids_list": ({"noise": noise(sample_ids=[0, 1])}, r"^noise\.sample_ids:", "list"),
    "stream_fraction": ({"noise": noise(stream=1.5)}, r"^noise\.stream:", "1.5", "integer"),
    "stream_text": ({"noise": noise(stream="1")}, r"^noise\.stream:", "str", "integer"),
    "out_true": ({"out": True}, "^out:", "bool", "or None"),
    "out_of_numpy": ({"out": np.zeros((B, N), np.float32)}, "^out:", "ndarray"),
    "aux_out_text": ({"aux_out": "x", "row": zeros(9)}, "^aux_out:", "str", "True or None"),
    "aux_out_dtype": ({"aux_out": torch.float16, "row": zeros(9)}, "^aux_out:", "dtype", "None"),
    "store_true": ({"store": True}, "^store:", "bool", "list"),
    "store_text": ({"store": ["x"]}, r"^store\[0\]:", "str"),
    "store_dtype": ({"store": [torch.float16]}, r"^store\[0\]:", "dtype"),
    "x_in_text": ({"x_in": "half"}, "^x_in:", "str"),
    "x_in_true": ({"x_in": True}, "^x_in:", "bool", "a torch.dtype or None"),
    "x_in_integers": ({"x_in": torch.int32}, "^x_in:", "int32", "need"),
    "nonfinite_true": ({"nonfinite": True}, "^nonfinite:", "bool", "None"),
}


@pytest.mark.parametrize("changed, parts", [(c, p) for c, *p in KINDS.values()], ids=KINDS)
def test_fused_step_names_what_has_another_python_type(changed, parts):
    with pytest.raises(TypeError, match=".*".join(parts)):
        step(**changed)


def test_an_absurd_count_is_refused_at_once():
    with pytest.raises(ValueError, match="converted: 10000000000000 given; fused_step takes 0 to 2"):
        step(converted=10**13)


FILL_KINDS = {
    "out_list": ({"out": [1.0]}, "^out:", "list"),
    "noise_none": ({"noise": None}, "^noise:", "NoneType", "Noise"),
    "noise_integer": ({"noise": 5}, "^noise:", "int", "Noise"),
    "noise_tuple": ({"noise": (IDS[:1], IDS, 1)}, "^noise:", "tuple", "Noise"),
    "seed_integer": ({"noise": noise(seed=0)}, r"^noise\.seed:", "int"),
    "stream_text": ({"noise": noise(stream="1")}, r"^noise\.stream:", "str", "integer"),
    "draw_text": ({"draw": "1"}, "^draw:", "str", "integer"),
    "sparse_out": ({"out": zeros().to_sparse()}, "^out:", "sparse", "to_dense"),
}


@pytest.mark.parametrize("changed, parts", [(c, p) for c, *p in FILL_KINDS.values()], ids=FILL_KINDS)
def test_normal_fill_names_what_has_another_python_type(changed, parts):
    with pytest.raises(TypeError, match=".*".join(parts)):
        fill(**changed)


def test_integers_of_numpy_are_integers():
    drawn = {"row": zeros(8), "draws": [np.int64(3)], "noise": noise(stream=np.int64(1))}
    step(**drawn, converted=np.int64(1))
    fill(draw=np.int64(3))


NEGATED = torch.ops.aten._neg_view(zeros())
NEGATED_INTEGERS = torch.ops.aten._neg_view(torch.zeros(B, dtype=torch.int64))
NEGATIVE = {
    "x": {"x": NEGATED},
    "outputs[0]": {"outputs": [torch.ones(B, N, dtype=torch.complex64).conj().imag]},
    "row": {"row": torch.ops.aten._neg_view(ROW)},
    "out": {"out": NEGATED},
    "noise.seed": {"noise": noise(seed=NEGATED_INTEGERS[:1])},
    "noise.sample_ids": {"noise": noise(sample_ids=NEGATED_INTEGERS)},
    "nonfinite": {"nonfinite": torch.ops.aten._neg_view(torch.zeros(B, dtype=torch.int32))},
}


@pytest.mark.parametrize("name, changed", NEGATIVE.items(), ids=NEGATIVE)
def test_views_that_negate(name, changed):
    with pytest.raises(ValueError, match=f"^{re.escape(name)}: a view with the negative bit.*resolve_neg"):
        step(**changed)


def test_normals_into_a_view_that_negates():
    with pytest.raises(ValueError, match=r"^out: a view with the negative bit.*resolve_neg"):
        fill(out=NEGATED)
