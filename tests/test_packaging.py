"""What a user installs: with and without a compiler, with and without torch at build time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import genie_ext

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("csrc", "genie_ext", "python")
WITHOUT_TORCH = "import sys, runpy; sys.modules['torch'] = None; runpy.run_path('setup.py')"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the sources without anything built."""
    copy = tmp_path / "checkout"
    built = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, copy / folder, ignore=built)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, copy)
    return copy


def run_setup(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments],
        cwd=checkout,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def test_the_native_core_is_built_here():
    assert genie_ext.backends()["fused_step"]["cpu"] == "available"


def test_a_pure_python_wheel_needs_neither_compiler_nor_torch(checkout):
    done = run_setup(checkout, "-q", "bdist_wheel", GENIE_EXT_BUILD="0", CXX="/bin/false")
    assert done.returncode == 0, done.stderr
    (wheel,) = (checkout / "dist").glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.endswith(".so")]
    expected = {"genie_ext/py.typed", "genie_ext/_C.pyi", "genie_samplers/py.typed"}
    assert expected <= set(names)


def test_the_source_archive_holds_what_the_build_needs(checkout):
    done = run_setup(checkout, "-q", "sdist")
    assert done.returncode == 0, done.stderr
    (archive,) = (checkout / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"CMakeLists.txt", "csrc/bindings.cpp", "csrc/common/philox.h", "setup.py"} <= names


def test_a_failing_compiler_is_one_message_with_the_next_command(checkout):
    done = run_setup(checkout, "-q", "build_ext", "--inplace", GENIE_EXT_CUDA="off", CXX="/bin/false")
    assert done.returncode != 0
    assert done.stderr.count("genie_ext._C did not build") == 1
    assert "GENIE_EXT_BUILD=0 pip install ." in done.stderr
    assert "Traceback" not in done.stderr
    assert list(checkout.rglob("*.so")) == []


def test_a_misspelt_build_option_is_refused(checkout):
    done = run_setup(checkout, "-q", "build_ext", "--inplace", GENIE_EXT_CUDA="yes")
    assert done.returncode != 0
    assert "GENIE_EXT_CUDA=yes: choose auto, on or off" in done.stderr


@pytest.mark.skipif(shutil.which("readelf") is None, reason="no readelf")
@pytest.mark.parametrize("library", ["libtorch", "libc10", "libcuda", "libcudart"])
def test_the_module_is_linked_against_no(library):
    _C = pytest.importorskip("genie_ext._C")
    command = ["readelf", "-d", _C.__file__]
    dynamic = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "(NEEDED)" in dynamic
    assert library not in dynamic
