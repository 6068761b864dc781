"""Where a Triton program works: the arithmetic of sizes near 2^31, which no test can allocate."""

# Triton's language is not typed as Python runs it
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

import pytest
import torch

triton = pytest.importorskip("triton")
tl = pytest.importorskip("triton.language")

from genie_ext.ops.triton_math import place  # noqa: E402


@triton.jit
def place_kernel(found, elements, BLOCK: tl.constexpr):
    sample, first = place(elements, BLOCK)
    tl.store(found + 2 * tl.program_id(0), sample)
    tl.store(found + 2 * tl.program_id(0) + 1, first)


@pytest.mark.parametrize("elements", [2, 2**20, 2**31 - 1, 2**31, 2**33])
def test_the_second_block_of_a_sample_follows_the_first(elements):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = torch.zeros(2, 2, dtype=torch.int64, device=device)
    block = 2**30
    place_kernel[(2,)](found, elements, BLOCK=block)
    second = [0, block] if elements > block else [1, 0]
    assert found.tolist() == [[0, 0], second]
