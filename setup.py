"""Builds genie_ext._C with CMake and Ninja; all else is in pyproject.toml. Needs no torch.

GENIE_EXT_BUILD=0       pure Python install, the ops run on the reference or Triton
GENIE_EXT_CUDA          auto (default: where nvcc is found), on, off
GENIE_EXT_CUDA_ARCHS    as CMake spells them, default "80-real;90-real;90-virtual"
GENIE_EXT_WERROR=1      warnings are errors
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).resolve().parent

FAILED = """genie_ext._C did not build: {cause}
{tail}
(whole output: {log})
Install what is missing (a C++20 compiler such as g++ >= 11; for CUDA nvcc >= 12.0) and run the same
command again, or install without CUDA:             GENIE_EXT_CUDA=off pip install .
or without the native core at all, which is slower:  GENIE_EXT_BUILD=0 pip install ."""


class CMakeBuild(build_ext):
    def build_extension(self, ext: Extension) -> None:
        destination = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build = Path(self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        log = build / "build.log"
        log.unlink(missing_ok=True)
        cmake = _tool("cmake")
        _run([cmake, "-S", str(ROOT), "-B", str(build), *_options(destination)], log)
        jobs = str(self.parallel or os.cpu_count() or 1)
        _run([cmake, "--build", str(build), "--parallel", jobs], log)


def _options(destination: Path) -> list[str]:
    import pybind11

    cuda = os.environ.get("GENIE_EXT_CUDA", "auto")
    if cuda not in ("auto", "on", "off"):
        raise CompileError(f"GENIE_EXT_CUDA={cuda}: choose auto, on or off")
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_LIBRARY_OUTPUT_DIRECTORY": destination,
        "CMAKE_MAKE_PROGRAM": _tool("ninja"),
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11.get_cmake_dir(),
        "GENIE_EXT_CUDA": cuda,
        "GENIE_EXT_WERROR": os.environ.get("GENIE_EXT_WERROR", "0"),
    }
    if archs := os.environ.get("GENIE_EXT_CUDA_ARCHS"):
        options["GENIE_EXT_CUDA_ARCHS"] = archs
    return ["-G", "Ninja", "--fresh", *(f"-D{name}={value}" for name, value in options.items())]


def _tool(name: str) -> str:
    """The pip package's program beside this interpreter, on the PATH or not, else the system's."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise CompileError(f"{name} was not found; 'pip install {name}', then run this again")
    return found


def _run(command: list[str], log: Path) -> None:
    """Run with the output in ``log``; on failure raise with its end and the next command to try."""
    with log.open("a") as output:
        try:
            code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode
        except OSError as error:
            fix = f"{command[0]} does not start ({error}); reinstall it with pip"
            raise CompileError(fix) from error
    if code != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        tail = "\n".join("  | " + line for line in lines[-15:])
        cause = f"'{Path(command[0]).name} {command[1]} ...' exited with {code}; its last lines:"
        raise CompileError(FAILED.format(cause=cause, tail=tail, log=log))


native = os.environ.get("GENIE_EXT_BUILD", "1") != "0"
setup(
    ext_modules=[Extension("genie_ext._C", sources=[])] if native else [],
    cmdclass={"build_ext": CMakeBuild},
)
