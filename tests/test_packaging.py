"""What a user installs: with and without a compiler, with and without torch at build time."""

from __future__ import annotations

import os
import re
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


def test_the_native_core_builds_and_loads_without_torch(checkout):
    done = run_setup(checkout, "-q", "bdist_wheel", GENIE_EXT_CUDA="off")
    assert done.returncode == 0, done.stderr
    (wheel,) = (checkout / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        (core,) = [name for name in opened.namelist() if name.endswith(".so")]
        opened.extract(core, checkout / "alone")
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", LOAD_ALONE, str(checkout / "alone" / core)], capture_output=True, text=True
    )
    assert (loaded.returncode, loaded.stdout) == (0, "False False\n"), loaded.stderr


LOAD_ALONE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_C", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.built_with_cuda(), "torch" in sys.modules)
"""


def test_cuda_that_was_asked_for_and_is_not_there_is_named(checkout):
    nowhere = str(checkout / "no" / "nvcc")
    done = run_setup(checkout, "-q", "build_ext", "--inplace", GENIE_EXT_CUDA="on", CUDACXX=nowhere)
    assert done.returncode != 0
    assert "GENIE_EXT_CUDA=on, but there is no working nvcc" in done.stderr


def configure(folder: Path, cuda: str) -> subprocess.CompletedProcess[str]:
    """CMake's first step with an nvcc that only says its version: 11.8."""
    nvcc = folder / "nvcc"
    nvcc.write_text("#!/bin/sh\necho Cuda compilation tools, release 11.8, V11.8.89\n")
    nvcc.chmod(0o755)
    programs = Path(sys.executable).parent
    pybind11 = pytest.importorskip("pybind11", reason="the module's bindings need pybind11")
    options = {
        "CMAKE_CUDA_COMPILER": nvcc,
        "CMAKE_MAKE_PROGRAM": programs / "ninja",
        "GENIE_EXT_CUDA": cuda,
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11.get_cmake_dir(),
    }
    command = [str(programs / "cmake"), "-S", str(ROOT), "-B", str(folder / "build"), "-G", "Ninja"]
    command += [f"-D{name}={value}" for name, value in options.items()]
    return subprocess.run(command, capture_output=True, text=True)


def test_an_nvcc_without_cxx20_is_left_alone(tmp_path):
    done = configure(tmp_path, "auto")
    assert done.returncode == 0, done.stderr
    assert re.search(r"Built without CUDA: \S*nvcc 11.8 is too old.*nvcc >= 12.0", done.stdout)


def test_an_nvcc_without_cxx20_is_refused_where_cuda_was_asked_for(tmp_path):
    done = configure(tmp_path, "on")
    assert done.returncode != 0
    assert re.search(r"GENIE_EXT_CUDA=on, but\s+\S*nvcc\s+11.8\s+is\s+too\s+old", done.stderr)


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
    assert "GENIE_EXT_CUDA=off pip install ." in done.stderr
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
