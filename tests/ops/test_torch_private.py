"""What torch does not publish is used in one file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import genie_ext
from genie_ext import all_times_written, times_written

PACKAGE = Path(genie_ext.__file__).parent
HOME = "_torch_private.py"
PRIVATE = re.compile(r"\btorch\.(?:\w+\.)*_(?!_)|\bfrom torch\._|\._(?:current_level|version|C)\b|import _functorch")
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != HOME)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_file_uses_private_names_of_torch(path):
    assert PRIVATE.findall(path.read_text(encoding="utf-8").replace("genie_ext._C", "")) == []


def test_the_pattern_finds_those_of_that_file():
    assert len(PRIVATE.findall((PACKAGE / HOME).read_text(encoding="utf-8"))) >= 5


def test_writes_are_counted():
    tensor = torch.zeros(2)
    before = times_written(tensor)
    tensor.add_(1.0)
    assert times_written(tensor) == before + 1


def test_inference_tensors_count_nothing():
    with torch.inference_mode():
        tensor = torch.zeros(2).add_(1.0)
    assert times_written(tensor) == 0
    other = torch.zeros(2).add_(1.0)
    assert all_times_written([other, tensor]) == [times_written(other), 0] == [1, 0]
