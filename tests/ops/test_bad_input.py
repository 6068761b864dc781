"""A wrong call is refused before anything runs; the error names argument, value and fix."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from genie_ext import Noise, fused_step, normal_fill

B, N = 2, 6
ROW = torch.zeros(7)  # one output, one converted, no history, no draws
F16, F64 = torch.float16, torch.float64


def zeros(*shape, dtype=torch.float32, device="cpu"):
    return torch.zeros(shape or (B, N), dtype=dtype, device=device)


def noise(**fields):
    return Noise(torch.zeros(1, dtype=torch.int64), torch.arange(B))._replace(**fields)


def step(**changed):
    valid = {"x": zeros(), "outputs": [zeros()], "row": ROW, "converted": 1}
    return fused_step(**valid | changed)


def fill(**changed):
    return normal_fill(**{"out": zeros(), "noise": noise()} | changed)


def refused(op, changed, error, *parts):
    with pytest.raises(error) as caught:
        op(**changed)
    missing = [part for part in parts if not re.search(part, str(caught.value))]
    assert not missing, f"{missing} not in: {caught.value}"


def test_the_valid_calls_are_accepted():
    step()
    fill()


TRANSPOSED = zeros(N, B).T
GAPS = zeros(B, 2 * N)[:, ::2]
REPEATED = zeros(1, N).expand(B, N)

SHAPES = {
    "output": ({"outputs": [zeros(B, 5)]}, r"outputs\[0\]", r"\(2, 5\)", r"need \(2, 6\)"),
    "output_batch": ({"outputs": [zeros(1, N)]}, r"outputs\[0\]", r"\(1, 6\)", r"need \(2, 6\)"),
    "history": ({"history": [zeros(B, 5)], "row": zeros(8)}, r"history\[0\]", r"\(2, 5\)", "need"),
    "aux": ({"aux": zeros(B, 5), "row": zeros(8)}, "aux", r"\(2, 5\)", "need"),
    "draw": ({"draws": [zeros(B, 5)], "row": zeros(8)}, r"draws\[0\]", r"\(2, 5\)", "need"),
    "out": ({"out": zeros(B, 5)}, "out", r"\(2, 5\)", "need"),
    "aux_out": ({"aux_out": zeros(B, 5), "row": zeros(9)}, "aux_out", r"\(2, 5\)", "need"),
    "store": ({"store": [zeros(B, 5)]}, r"store\[0\]", r"\(2, 5\)", "need"),
    "x_in": ({"x_in": zeros(B, 5)}, "x_in", r"\(2, 5\)", "need"),
    "nonfinite": (
        {"nonfinite": zeros(3, dtype=torch.int32)}, "nonfinite", r"\(3,\)", r"need \(2,\)"
    ),
    "empty_batch": ({"x": zeros(0, N)}, "x", r"\(0, 6\)", "at least one sample"),
    "scalar": ({"x": torch.tensor(1.0)}, "x", r"\(\)", "at least one sample"),
    "short_row": ({"row": zeros(6)}, "row", r"\(6,\)", r"pass \[7\] or \[2, 7\]", "row_columns"),
    "row_of_other_batch": ({"row": zeros(3, 7)}, "row", r"\(3, 7\)", r"pass \[7\] or \[2, 7\]"),
    "strided_row": ({"row": zeros(14)[::2]}, "row", r"\(2,\)", "contiguous"),
    "too_many_outputs": ({"outputs": [zeros()] * 9}, "outputs", "9 given", "0 to 8"),
    "too_many_converted": ({"converted": 3}, "converted", "3 given", "0 to 2"),
    "negative_converted": ({"converted": -1, "store": []}, "converted", "-1 given", "0 to 2"),
    "too_much_history": ({"history": [zeros()] * 17}, "history", "17 given", "0 to 16"),
    "too_many_draws": ({"draws": [0, 1, 2]}, "draws", "3 given", "0 to 2"),
    "too_few_stores": ({"store": []}, "store", "0 entries", "converted=1", "one entry"),
    "transposed": ({"x": TRANSPOSED}, "x", r"strides \(1, 2\)", "contiguous"),
    "gaps": ({"outputs": [GAPS]}, r"outputs\[0\]", r"strides \(12, 2\)", "contiguous"),
    "repeated_samples": ({"out": REPEATED}, "out", r"strides \(0, 1\)", "contiguous"),
}  # fmt: skip


@pytest.mark.parametrize("changed, parts", [(c, p) for c, *p in SHAPES.values()], ids=SHAPES)
def test_shapes_counts_and_strides(changed, parts):
    refused(step, changed, ValueError, *parts)


TYPES = {
    "integer_x": ({"x": zeros(dtype=torch.int64)}, "x", "int64", "need torch.float32"),
    "integer_output": ({"outputs": [zeros(dtype=torch.int8)]}, r"outputs\[0\]", "int8", "need"),
    "complex_output": ({"outputs": [zeros(dtype=torch.complex64)]}, r"outputs\[0\]", "complex64"),
    "row_of_float64": ({"row": ROW.double()}, "row", "float64", "needs torch.float32"),
    "row_of_float32": ({"x": zeros(dtype=F64)}, "row", "float32", "needs torch.float64"),
    "out_of_other_dtype": ({"out": zeros(dtype=F16)}, "out", "float16", "need torch.float32"),
    "history_of_other_dtype": (
        {"history": [zeros(dtype=F16)], "row": zeros(8)}, r"history\[0\]", "float16", "float32"
    ),
    "aux_of_other_dtype": ({"aux": zeros(dtype=F64), "row": zeros(8)}, "aux", "float64", "need"),
    "aux_out_of_other_dtype": (
        {"aux_out": zeros(dtype=F16), "row": zeros(9)}, "aux_out", "float16", "need"
    ),
    "store_of_other_dtype": ({"store": [zeros(dtype=F16)]}, r"store\[0\]", "float16", "float32"),
    "nonfinite_of_bools": (
        {"nonfinite": zeros(B, dtype=torch.bool)}, "nonfinite", "bool", "int32"
    ),
    "strided_nonfinite": (
        {"nonfinite": zeros(4, dtype=torch.int32)[::2]}, "nonfinite", "contiguous int32"
    ),
}  # fmt: skip


@pytest.mark.parametrize("changed, parts", [(c, p) for c, *p in TYPES.values()], ids=TYPES)
def test_dtypes(changed, parts):
    refused(step, changed, TypeError, *parts)


ELSEWHERE = zeros(device="meta")
DEVICES = {
    "outputs[0]": {"outputs": [ELSEWHERE]},
    "history[0]": {"history": [ELSEWHERE], "row": zeros(8)},
    "draws[0]": {"draws": [ELSEWHERE], "row": zeros(8)},
    "aux": {"aux": ELSEWHERE, "row": zeros(8)},
    "out": {"out": ELSEWHERE},
    "aux_out": {"aux_out": ELSEWHERE, "row": zeros(9)},
    "store[0]": {"store": [ELSEWHERE]},
    "x_in": {"x_in": ELSEWHERE},
    "row": {"row": zeros(7, device="meta")},
    "nonfinite": {"nonfinite": zeros(B, dtype=torch.int32, device="meta")},
    "noise.seed": {"noise": noise(seed=zeros(1, dtype=torch.int64, device="meta"))},
    "noise.sample_ids": {"noise": noise(sample_ids=zeros(B, dtype=torch.int64, device="meta"))},
}


@pytest.mark.parametrize("name, changed", DEVICES.items(), ids=DEVICES)
def test_tensors_on_another_device(name, changed):
    refused(step, changed, ValueError, re.escape(name), "on meta", "x is on cpu", "move one")


def shared():
    """Two overlapping [B, N] tensors."""
    memory = torch.zeros(B * N + 2)
    return memory[: B * N].view(B, N), memory[2:].view(B, N)


OVERLAPS = {
    "out with x": lambda a, b: {"x": a, "out": b},
    "out with outputs[0]": lambda a, b: {"outputs": [a], "out": b},
    "out with history[0]": lambda a, b: {"history": [a], "row": zeros(8), "out": b},
    "out with draws[0]": lambda a, b: {"draws": [a], "row": zeros(8), "out": b},
    "out with aux": lambda a, b: {"aux": a, "row": zeros(8), "out": b},
    "out with row": lambda a, b: {"row": a.view(-1)[:7], "out": b},
    "aux_out with x": lambda a, b: {"x": a, "aux_out": b, "row": zeros(9)},
    "aux_out with out": lambda a, b: {"out": a, "aux_out": b, "row": zeros(9)},
    "aux_out with aux": lambda a, b: {"aux": a, "aux_out": b, "row": zeros(11)},
    "x_in with x": lambda a, b: {"x": a, "x_in": b},
    "x_in with out": lambda a, b: {"out": a, "x_in": b},
    "store[0] with x": lambda a, b: {"x": a, "store": [b]},
    "store[0] with out": lambda a, b: {"out": a, "store": [b]},
    "store[1] with store[0]": lambda a, b: {"converted": 2, "row": zeros(12), "store": [a, b]},
    "out with nonfinite": lambda a, b: {"nonfinite": a[0, 2:4].view(torch.int32), "out": b},
    "nonfinite with x": lambda a, b: {"x": a, "nonfinite": b[0, :2].view(torch.int32)},
    "nonfinite with row": lambda a, b: {"row": a.view(-1)[:7], "nonfinite": b[0, :2].view(torch.int32)},
    "nonfinite with noise.sample_ids": lambda a, b: {
        "noise": noise(sample_ids=a.view(-1)[:4].view(torch.int64)),
        "nonfinite": b[0, :2].view(torch.int32),
    },
}


@pytest.mark.parametrize("pair", OVERLAPS)
def test_partial_overlap(pair):
    written, other = (re.escape(name) for name in pair.split(" with "))
    refused(step, OVERLAPS[pair](*shared()), ValueError, f"^{written}: shares", other, "memory of its own")


def test_memory_of_two_storages_may_overlap_too():
    memory = np.zeros(B * N + 2, np.float32)
    first, second = (torch.from_numpy(part).view(B, N) for part in (memory[:-2], memory[2:]))
    refused(step, {"x": first, "out": second}, ValueError, "^out: shares", "x", "memory of its own")


@pytest.mark.parametrize("name", ["seed", "sample_ids"])
def test_normals_are_not_written_over_their_source(name):
    source = torch.zeros(1 if name == "seed" else B, dtype=torch.int64)
    out = source.view(torch.float32).view(-1, 1)[:B]
    refused(fill, {"out": out, "noise": noise(**{name: source})}, ValueError, "^out: shares", name)


def test_one_sample_may_be_written_in_place_under_another_batch_stride():
    memory = torch.ones(2 * B, N)
    x, out = memory[::2][:1], memory[:1]
    assert x.stride() != out.stride()
    step(x=x, outputs=[zeros(1, N)], out=out)
    assert memory[0].eq(0).all()


@pytest.mark.parametrize("pair", ["aux_out with x", "x_in with x", "store[0] with x"])
def test_only_out_may_be_x(pair):
    same = zeros()
    refused(step, OVERLAPS[pair](same, same), ValueError, "only out is x")


@pytest.mark.parametrize("first, second", [(slice(0, 2), slice(2, 4)), (slice(0, 4, 2), slice(1, 4, 2))])
def test_halves_of_one_buffer_do_not_overlap(first, second):
    both = torch.ones(2 * B, N)
    step(x=both[first], out=both[second])
    assert both[second].eq(0).all()


NOISES = {
    "draw_too_large": ({"draws": [2**32], "noise": noise()}, ValueError, "draws", "4294967296", r"2\^32-1"),
    "draw_negative": ({"draws": [-1], "noise": noise()}, ValueError, "draws", "-1", r"0\.\.2\^32-1"),
    "draw_fraction": ({"draws": [1.5], "noise": noise()}, TypeError, r"draws\[0\]", "1.5", "pass an integer"),
    "too_many_elements": (
        {
            "x": zeros(1, 2**34 + 4, device="meta"),
            "outputs": (),
            "row": zeros(2, device="meta"),
            "converted": 0,
            "noise": Noise(zeros(1, dtype=torch.int64, device="meta"), zeros(1, dtype=torch.int64, device="meta")),
        },
        ValueError,
        "noise",
        "17179869188 elements",
        r"2\^34",
        "several samples",
    ),
    "no_noise": ({"draws": [3]}, ValueError, "noise: missing", r"\[3\]", "Noise"),
    "short_seed": (
        {"noise": noise(seed=torch.zeros(0, dtype=torch.int64))},
        ValueError,
        r"noise\.seed",
        r"\(0,\)",
        r"\(1,\)",
    ),
    "ids_of_other_batch": (
        {"noise": noise(sample_ids=torch.arange(3))},
        ValueError,
        r"noise\.sample_ids",
        r"\(3,\)",
        r"\(2,\)",
    ),
    "seed_of_int32": ({"noise": noise(seed=torch.zeros(1, dtype=torch.int32))}, TypeError, "seed", "int32", "int64"),
    "strided_ids": ({"noise": noise(sample_ids=torch.arange(4)[::2])}, TypeError, "sample_ids", "contiguous int64"),
    "stream": ({"noise": noise(stream=2**32)}, ValueError, r"noise\.stream", "4294967296", r"2\^32-1"),
}


@pytest.mark.parametrize("changed, error, parts", [(c, e, p) for c, e, *p in NOISES.values()], ids=NOISES)
def test_noise_of_fused_step(changed, error, parts):
    refused(step, {"row": zeros(7 + len(changed.get("draws", [])))} | changed, error, *parts)


FILLS = {
    "integers": ({"out": zeros(dtype=torch.int32)}, TypeError, "out", "int32", "need"),
    "empty_batch": ({"out": zeros(0, N)}, ValueError, "out", r"\(0, 6\)", "at least one"),
    "transposed": ({"out": TRANSPOSED}, ValueError, "out", "strides", "contiguous"),
    "draw": ({"draw": 2**32}, ValueError, "draw", "4294967296", r"2\^32-1"),
    "draw_fraction": ({"draw": 1.5}, TypeError, "draw", "1.5", "pass an integer"),
    "ids": ({"noise": noise(sample_ids=torch.arange(3))}, ValueError, "sample_ids", r"\(3,\)", "need"),
}


@pytest.mark.parametrize("changed, error, parts", [(c, e, p) for c, e, *p in FILLS.values()], ids=FILLS)
def test_normal_fill(changed, error, parts):
    refused(fill, changed, error, *parts)
