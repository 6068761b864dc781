"""What a user installs: with and without a compiler, with and without torch at build time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

import genie_ext

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.long
SOURCES = ("csrc", "genie_ext", "python")
WITHOUT_TORCH = "import sys, runpy; sys.modules['torch'] = None; runpy.run_path('setup.py')"


def copy_sources(folder: Path) -> Path:
    """The sources without anything built."""
    built = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    for source in SOURCES:
        shutil.copytree(ROOT / source, folder / source, ignore=built)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_sources(tmp_path / "checkout")


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


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive."""
    checkout = copy_sources(tmp_path_factory.mktemp("archive") / "checkout")
    done = run_setup(checkout, "-q", "sdist")
    assert done.returncode == 0, done.stderr
    (archive,) = (checkout / "dist").glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def native_wheel(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source archive, without torch and CUDA, by a compiler that is told not to optimise."""
    quick = tmp_path_factory.mktemp("compiler") / "c++"
    quick.write_text(f'#!/bin/sh\nexec {os.environ.get("CXX", "c++")} "$@" -O0\n')
    quick.chmod(0o755)
    return wheel_of(archive, tmp_path_factory.mktemp("native"), GENIE_EXT_CUDA="off", CXX=str(quick))


@pytest.fixture(scope="module")
def pure_wheel(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without compiler."""
    return wheel_of(archive, tmp_path_factory.mktemp("pure"), GENIE_EXT_BUILD="0", CXX="/bin/false")


def wheel_of(archive: Path, folder: Path, **environment: str) -> Path:
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (sources,) = folder.iterdir()
    done = run_setup(sources, "-q", "bdist_wheel", **environment)
    assert done.returncode == 0, done.stderr
    (wheel,) = (sources / "dist").glob("*.whl")
    return wheel


def test_a_pure_python_wheel_needs_neither_compiler_nor_torch(pure_wheel):
    assert pure_wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(pure_wheel).namelist()
    assert not [name for name in names if name.endswith(".so")]
    expected = {"genie_ext/py.typed", "genie_ext/_C.pyi", "genie_samplers/py.typed"}
    assert expected <= set(names)


def test_a_wheel_holds_every_asset(pure_wheel):
    assets = ROOT / "python" / "genie_samplers" / "demo" / "assets"
    expected = {f"genie_samplers/demo/assets/{p.relative_to(assets)}" for p in assets.rglob("*") if p.is_file()}
    assert {name for name in zipfile.ZipFile(pure_wheel).namelist() if "/assets/" in name} == expected


def test_a_wheel_holds_the_folder_for_comfyui(pure_wheel):
    folder = ROOT / "python" / "genie_samplers" / "integrations" / "comfyui"
    expected = {f"genie_samplers/integrations/comfyui/{p.name}" for p in folder.iterdir() if p.is_file()}
    assert {name for name in zipfile.ZipFile(pure_wheel).namelist() if "/comfyui/" in name} == expected


def test_a_wheel_holds_the_templates_of_pages(pure_wheel):
    folder = ROOT / "python" / "genie_samplers" / "pages" / "templates"
    expected = {f"genie_samplers/pages/templates/{p.name}" for p in folder.iterdir() if p.is_file()}
    found = {name for name in zipfile.ZipFile(pure_wheel).namelist() if "/templates/" in name}
    assert found == expected and "genie_samplers/pages/templates/page.html" in found


def test_the_native_core_builds_and_loads_without_torch(native_wheel, tmp_path):
    with zipfile.ZipFile(native_wheel) as opened:
        (core,) = [name for name in opened.namelist() if name.endswith(".so")]
        opened.extract(core, tmp_path)
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", LOAD_ALONE, str(tmp_path / core)], capture_output=True, text=True
    )
    assert (loaded.returncode, loaded.stdout) == (0, "False False\n"), loaded.stderr


LOAD_ALONE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_C", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.built_with_cuda(), "torch" in sys.modules)
"""


def install(wheel: Path, folder: Path) -> Path:
    """The programs of a new environment with this wheel; the rest comes from the one that runs the tests."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    # on the path after the wheel's own; what an editable install left there is not followed
    (site / "rest.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    return folder / "bin"


def run_installed(programs: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Outside the source tree."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [str(programs / program), *arguments], cwd=programs, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def native_programs(native_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(native_wheel, tmp_path_factory.mktemp("native_installed"))


@pytest.fixture(scope="module")
def pure_programs(pure_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(pure_wheel, tmp_path_factory.mktemp("pure_installed"))


# prints where the packages are, then what the check says of the backend asked for and of one that it has not
CHECK = """
import runpy, sys, genie_ext, genie_samplers
script, backend, other = sys.argv[1:]
print(genie_ext.__file__, genie_samplers.__file__, sep="\\n")
sys.argv[1:] = [backend]
runpy.run_path(script, run_name="__main__")
sys.argv[1:] = [other]
runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.parametrize(("kind", "backend", "other"), [("native", "cpu", "reference"), ("pure", "reference", "cpu")])
def test_an_installed_wheel_passes_the_check_of_the_wheels(kind, backend, other, request):
    programs = request.getfixturevalue(f"{kind}_programs")
    script = str(ROOT / "scripts" / "check_installed.py")
    done = run_installed(programs, "python", "-W", "ignore", "-c", CHECK, script, backend, other)
    *homes, passed = done.stdout.splitlines()
    assert [home for home in homes if not Path(home).is_relative_to(programs.parent)] == []
    assert passed.endswith(": as every release"), done.stderr
    assert done.returncode == 1 and f"need {other}" in done.stderr


def test_an_installed_wheel_samples_outside_the_source_tree(native_programs, tmp_path):
    pytest.importorskip("diffusers", reason="the embedded network is a diffusers U-Net")
    image = tmp_path / "x.png"
    done = run_installed(native_programs, "genie-samplers", "sample", "--count", "4", "--nfe", "3", "--out", str(image))
    assert done.returncode == 0, done.stderr
    assert image.stat().st_size > 0


def test_cuda_that_was_asked_for_and_is_not_there_is_named(checkout):
    nowhere = str(checkout / "no" / "nvcc")
    done = run_setup(checkout, "-q", "build_ext", "--inplace", GENIE_EXT_CUDA="on", CUDACXX=nowhere)
    assert done.returncode != 0
    assert "GENIE_EXT_CUDA=on, but there is no working nvcc" in done.stderr


def program(name: str) -> str:
    """Beside this interpreter, else on the PATH."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}")
    return found


def configure(folder: Path, cuda: str) -> subprocess.CompletedProcess[str]:
    """CMake's first step with an nvcc that only says its version: 11.8."""
    nvcc = folder / "nvcc"
    nvcc.write_text("#!/bin/sh\necho Cuda compilation tools, release 11.8, V11.8.89\n")
    nvcc.chmod(0o755)
    cmake, ninja = (program(name) for name in ("cmake", "ninja"))
    pybind11 = pytest.importorskip("pybind11", reason="the module's bindings need pybind11")
    options = {
        "CMAKE_CUDA_COMPILER": nvcc,
        "CMAKE_MAKE_PROGRAM": ninja,
        "GENIE_EXT_CUDA": cuda,
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11.get_cmake_dir(),
    }
    command = [cmake, "-S", str(ROOT), "-B", str(folder / "build"), "-G", "Ninja"]
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


def test_the_source_archive_holds_what_the_build_needs(archive):
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


def wheels() -> dict[str, Any]:
    """What pyproject.toml says."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_python_that_the_package_is_for_gets_a_wheel():
    settings = wheels()
    named = [re.findall(r":: (3\.\d+)$", line) for line in settings["project"]["classifiers"]]
    pythons = [version for found in named for version in found]
    built = [re.fullmatch(r"cp3(\d+)-\*", name) for name in settings["tool"]["cibuildwheel"]["build"]]
    assert [f"3.{found[1]}" for found in built if found] == pythons
    assert settings["project"]["requires-python"] == f">={pythons[0]}"


def test_the_checks_of_the_wheels_run_what_is_there():
    command = wheels()["tool"]["cibuildwheel"]["test-command"]
    workflow = (ROOT / ".github" / "workflows" / "wheels.yml").read_text()
    scripts = re.findall(r"scripts/\S+", command + workflow)
    assert len(scripts) == 2 and [script for script in scripts if not (ROOT / script).is_file()] == []


SCRIPT = (ROOT / "scripts" / "packaging.sh").read_text()
CASES = re.findall(r"\w+", re.findall(r"^cases=\((.*)\)$", SCRIPT, re.MULTILINE)[0])


@pytest.mark.parametrize("case", CASES)
def test_the_page_has_a_pass_for_every_case_of_the_script(case):
    page = (ROOT / "docs" / "packaging.md").read_text()
    (result,) = re.findall(rf"^\| {case.replace('_', ' ')} \|[^|]*\| (\w+) \|", page, re.MULTILINE)
    assert result == "PASS"


def test_every_case_of_the_script_is_run():
    assert re.findall(r"^case_(\w+)\(\)", SCRIPT, re.MULTILINE) == CASES


def test_a_case_that_the_script_does_not_have_is_refused():
    done = subprocess.run([str(ROOT / "scripts" / "packaging.sh"), "wheels"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "wheels: no such case; choose of wheel sdist" in done.stderr
