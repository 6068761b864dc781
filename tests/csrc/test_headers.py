"""The headers shared by C++ and CUDA, compiled and run without Python in between."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CXX = shutil.which(os.environ.get("CXX", "c++"))


@pytest.mark.skipif(CXX is None, reason="no C++ compiler")
@pytest.mark.parametrize("level", ["-O1", "-O3"])
def test_words_and_conversions_are_exact(tmp_path: Path, level: str) -> None:
    program = tmp_path / "header_checks"
    sources = [f"-I{HERE.parents[1] / 'csrc'}", str(HERE / "header_checks.cpp"), "-o", str(program)]
    subprocess.run([str(CXX), "-std=c++20", level, "-ffp-contract=off", *sources], check=True)
    outcome = subprocess.run([program], capture_output=True, text=True)
    assert (outcome.returncode, outcome.stdout) == (0, "")
