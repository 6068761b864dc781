"""The site of docs/ and docstrings: it is built without a warning, and no public name is missing from it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from .documents import ROOT

pytest.importorskip("mkdocs", reason="the site is made with genie-ext[docs]")
pytest.importorskip("mkdocstrings", reason="the site is made with genie-ext[docs]")

pytestmark = pytest.mark.long
PACKAGE = ROOT / "python" / "genie_samplers"
DOORS = ["genie_samplers.integrations.diffusers", "genie_samplers.integrations.k_diffusion"]
ROOMS = [
    f"genie_samplers.{path.parent.name}"
    for path in PACKAGE.glob("*/__init__.py")
    if path.parent.name != "cli" and "__all__" in path.read_text()
]
PUBLIC = ["genie_ext", "genie_ext.testing", "genie_samplers", "genie_samplers.models.guidance", *sorted(ROOMS), *DOORS]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "--site-dir", str(made)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.mark.parametrize("room", PUBLIC)
def test_every_public_name_of_a_room_is_in_the_reference(site: Path, room: str) -> None:
    page = (site / "reference" / f"{room}.html").read_text()
    module = import_module(room)
    things = [name for name in module.__all__ if not isinstance(getattr(module, name), ModuleType)]
    missing = [name for name in things if not re.search(rf'id="({re.escape(room)}|[\w.]+\.{name})\.{name}"', page)]
    assert missing == []


def test_the_first_page_is_the_readme_and_leads_to_the_guides(site: Path) -> None:
    page = (site / "index.html").read_text()
    assert "<h1" in page and "genie-ext" in page
    assert 'href="which-solver.html"' in page


def test_roles_of_docstrings_are_shown_as_code(site: Path) -> None:
    pages = [path.read_text() for path in (site / "reference").glob("*.html")]
    assert [page for page in pages if ":func:" in page or ":class:" in page] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_every_page_of_docs_is_reached_from_the_menu(site: Path, page: Path) -> None:
    assert f'href="./{page.stem}.html"' in (site / "search.html").read_text()
