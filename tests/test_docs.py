"""The pages of docs/: their code runs, their C++ compiles, what they name exists."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .documents import ROOT, blocks, is_there, links, place, repository_paths, run_python
from .forked import ForkServer

PAGES = sorted((ROOT / "docs").glob("*.md"))
pytestmark = pytest.mark.long
NEW_OP = ROOT / "docs" / "adding-an-op.md"


def every(find: Callable[[Path], list[str]]) -> list[Any]:
    """Each thing found on each page."""
    return [pytest.param(page, thing, id=f"{page.stem}-{thing}") for page in PAGES for thing in find(page)]


@pytest.mark.parametrize(("page", "path"), every(repository_paths))
def test_paths_exist(page: Path, path: str) -> None:
    assert is_there(path)


@pytest.mark.parametrize(("page", "link"), every(links))
def test_links_point_at_files(page: Path, link: str) -> None:
    assert (page.parent / link).exists()


# encoding.md is run by samplers/test_encoding_docs.py, which holds what it prints, too
@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p, "python") and p.stem != "encoding"], ids=lambda page: page.stem
)
def test_python_code_runs(page: Path, tmp_path: Path, programs: ForkServer) -> None:
    done = run_python(blocks(page, "python"), tmp_path, programs)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler (c++) on PATH")
@pytest.mark.parametrize(
    ("source", "warnings"),
    [("renoise_cpu.cpp", ["-Wall", "-Wextra", "-Werror"]), ("renoise_cuda.cu", [])],  # CUDA's pragmas are not C++'s
    ids=["cpu", "cuda"],
)
def test_the_new_op_compiles(source: str, warnings: list[str], tmp_path: Path) -> None:
    place(blocks(NEW_OP, "cpp"), tmp_path)
    includes = [tmp_path / "csrc", ROOT / "csrc", ROOT / "tests" / "csrc" / "cuda_on_host"]
    flags = ["-std=c++20", *warnings, "-fopenmp", "-fsyntax-only", "-x", "c++"]
    command = ["c++", *flags, *(f"-I{folder}" for folder in includes), str(tmp_path / "csrc" / "renoise" / source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_lines_of_the_new_op_are_numbered_alike_everywhere() -> None:
    versions = [b for language in ("python", "cpp") for b in blocks(NEW_OP, language)]
    numbered = [b for b in versions if "1 scale" in b]
    assert len(numbered) == 3
    assert [b for b in numbered if not b.index("1 scale") < b.index("3 add")] == []
