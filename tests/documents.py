"""What a Markdown page of this project promises: code, links and paths. Shared by the tests of README and docs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .forked import ForkServer

__all__ = ["ROOT", "blocks", "is_there", "links", "place", "repository_paths", "run_python"]

ROOT = Path(__file__).parents[1]
_TOP = "|".join(sorted(folder.name for folder in ROOT.iterdir() if folder.is_dir() and folder.name[0] not in "._"))
_PATH = re.compile(rf"`((?:{_TOP}|\.ci)/[\w./<>-]*|[\w.-]+\.(?:toml|cff|md|txt)|setup\.py|Makefile)`")
_GENERATED = re.compile(r"^(build|demo|dist|benchmarks/results/latest)\b")


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """Targets inside the repository, relative to the page."""
    return re.findall(r"\]\((?!http)([^)#]+)\)", _prose(page))


def repository_paths(page: Path) -> list[str]:
    """Paths in backticks that start at the root, but not those of what a command writes."""
    found = dict.fromkeys(_PATH.findall(_prose(page)))
    return [path for path in found if not _GENERATED.match(path)]


def is_there(path: str) -> bool:
    """Whether a path exists; <op> in it stands for any name."""
    return any(ROOT.glob(re.sub(r"<\w+>", "*", path)))


def place(code: Sequence[str], folder: Path) -> str:
    """Write each block that begins with a comment of its path to that file of ``folder``; return the rest, joined."""
    rest = []
    for block in code:
        named = re.match(r"(?:#|//) ([\w./]+/[\w.]+)\n", block)
        if named is None:
            rest.append(block)
            continue
        target = folder / named[1]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block)
    return "\n".join(rest)


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def run_python(code: Sequence[str], folder: Path, server: ForkServer) -> subprocess.CompletedProcess[str]:
    """Run a page's blocks as one script in ``folder``; blocks that are files go into a copy of genie_ext there."""
    script = folder / "page.py"
    script.write_text(place(code, folder))
    if not any(block.startswith("# genie_ext/") for block in code):
        return server.run(f"import runpy\nrunpy.run_path({str(script)!r}, run_name='__main__')", cwd=folder)
    shutil.copytree(
        ROOT / "genie_ext", folder / "genie_ext", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}
    return subprocess.run([sys.executable, str(script)], cwd=folder, env=environment, capture_output=True, text=True)
