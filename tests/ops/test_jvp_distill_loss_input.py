"""A wrong call of jvp_distill_loss is refused before anything runs; the error names argument, value and fix."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from genie_ext import jvp_distill_loss

B, C, N = 2, 2, 5


def zeros(*shape, dtype=torch.float32, device="cpu"):
    return torch.zeros(shape, dtype=dtype, device=device)


def loss(**changed):
    valid: dict[str, Any] = {"maps": zeros(B, 3 * C, N), "target": zeros(B, C, N), "gamma": torch.ones(B)}
    return jvp_distill_loss(**valid | changed)


def test_the_valid_call_is_accepted():
    assert loss() == 0


NEGATED = torch.ops.aten._neg_view(zeros(B, C, N))
WRONG = {
    "maps_list": ({"maps": [1.0]}, TypeError, "maps", "list"),
    "maps_of_integers": ({"maps": zeros(B, 3 * C, N, dtype=torch.int64)}, TypeError, "maps", "int64", "need"),
    "maps_sparse": ({"maps": zeros(B, 3 * C, N).to_sparse()}, TypeError, "maps", "to_dense"),
    "maps_of_four_parts": ({"maps": zeros(B, 4, N)}, ValueError, "maps", r"\(2, 4, 5\)", r"\[B, 3C, \.\.\.\]"),
    "maps_of_one_dimension": ({"maps": zeros(3)}, ValueError, "maps", r"\(3,\)", r"\[B, 3C, \.\.\.\]"),
    "no_samples": ({"maps": zeros(0, 3, N)}, ValueError, "maps", r"\(0, 3, 5\)", "at least one sample"),
    "maps_transposed": ({"maps": zeros(B, N, 3 * C).mT}, ValueError, "maps", "strides", "contiguous"),
    "target_none": ({"target": None}, TypeError, "target", "NoneType"),
    "target_shape": ({"target": zeros(B, C, N + 1)}, ValueError, "target", r"\(2, 2, 6\)", r"need \(2, 2, 5\)"),
    "target_as_maps": ({"target": zeros(B, 3 * C, N)}, ValueError, "target", r"\(2, 6, 5\)", r"need \(2, 2, 5\)"),
    "target_negated": ({"target": NEGATED}, ValueError, "target", "negative bit", "resolve_neg"),
    "target_elsewhere": ({"target": zeros(B, C, N, device="meta")}, ValueError, "target", "meta", "maps is on cpu"),
    "gamma_number": ({"gamma": 1.0}, TypeError, "gamma", "1.0 of type float"),
    "gamma_shape": ({"gamma": torch.ones(3)}, ValueError, "gamma", r"\(3,\)", r"need \(2,\)"),
    "gamma_of_half": ({"gamma": torch.ones(B).half()}, TypeError, "gamma", "float16", "need torch.float32"),
    "gamma_negated": ({"gamma": torch.ones(B)._neg_view()}, ValueError, "gamma", "negative bit", "resolve_neg"),
    "gamma_elsewhere": ({"gamma": zeros(B, device="meta")}, ValueError, "gamma", "meta", "maps is on cpu"),
    "weighting_name": ({"weighting": "snr"}, ValueError, "weighting", "'snr'", "gamma2, none, min_snr"),
    "weighting_number": ({"weighting": 2.0}, TypeError, "weighting", "2.0 of type float", "a name or"),
    "weighting_shape": ({"weighting": torch.ones(3)}, ValueError, "weighting", r"\(3,\)", r"need \(2,\)"),
    "weighting_negated": ({"weighting": torch.ones(B)._neg_view()}, ValueError, "weighting", "resolve_neg"),
    "reduction": ({"reduction": "average"}, ValueError, "reduction", "'average'", "mean, sum, none"),
    "backend": ({"backend": "gpu"}, ValueError, "backend='gpu'", "choose auto"),
}  # fmt: skip


@pytest.mark.parametrize("changed, error, parts", [(c, e, p) for c, e, *p in WRONG.values()], ids=WRONG)
def test_wrong_arguments(changed, error, parts):
    with pytest.raises(error) as caught:
        loss(**changed)
    missing = [part for part in parts if not re.search(part, str(caught.value))]
    assert not missing, f"{missing} not in: {caught.value}"
