"""What nvcc makes of the kernels, read without a GPU: IEEE operations only, no local memory.

The rounding intrinsics must hold on their own, so the PTX is read as built and under nvcc's
defaults, which allow fma.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
NVCC = shutil.which("nvcc")
pytestmark = [pytest.mark.long, pytest.mark.skipif(NVCC is None, reason="nvcc is not on PATH")]

KERNELS = [
    "fused_step_float_1_vector",
    "fused_step_float_2_vector",
    "fused_step_float_2_scalar",
    "fused_step_double_1_vector",
    "fused_step_double_2_vector",
    "fused_step_double_2_scalar",
    "normal_fill_vector",
    "normal_fill_scalar",
    "jvp_distill_loss_float_vector",
    "jvp_distill_loss_float_scalar",
    "jvp_distill_loss_double_vector",
    "jvp_distill_loss_double_scalar",
    "jvp_distill_loss_rows_float",
    "jvp_distill_loss_rows_double",
    "jvp_distill_loss_finish_float",
    "jvp_distill_loss_finish_double",
    "sum_of_squares_vector",
    "sum_of_squares_scalar",
    "sum_of_squares_finish",
]
OPS = ("fused_step", "normal_fill", "jvp_distill_loss", "sum_of_squares")
DRAWING = [kernel for kernel in KERNELS if kernel.startswith(("fused_step", "normal_fill"))]
ROUNDS_OTHERWISE = re.compile(
    r"\b(?:fma|mad\.f|mad\.rn|div(?!\.(?:[su]|rn))|rcp(?!\.rn)|rsqrt|sin|cos|ex2|lg2)\.\S*|\S*\.(?:approx|ftz)\S*"
)

by_kernel = pytest.mark.parametrize("kernel", KERNELS)
by_flags = pytest.mark.parametrize("flags", ["as_built", "nvcc_defaults"])
by_arch = pytest.mark.parametrize("arch", [pytest.param("sm_80", marks=pytest.mark.product), "sm_90"])


class Resources(NamedTuple):
    registers: int
    stack: int
    spilled: int


def label(mangled: str) -> str:
    """The name used here of a mangled kernel."""
    names = "fused_step|normal_fill|jvp_distill_loss(?:_rows|_finish)?|sum_of_squares(?:_finish)?"
    found = re.search(rf"({names})_kernel(?:I([fd](?=L|E))?)?(?:Li(\d)E)?(?:\w*?AccessE(\d)E)?", mangled)
    assert found is not None, mangled
    op, compute, sums, access = found.groups()
    parts = [
        op,
        {"f": "float", "d": "double"}.get(compute),
        sums,
        {"0": "vector", "1": "scalar"}.get(access),
    ]
    return "_".join(part for part in parts if part)


def project_flags() -> list[str]:
    cmake = (ROOT / "CMakeLists.txt").read_text()
    options = re.search(r"target_compile_options\(kernels_cuda PRIVATE\s+([^)]*)\)", cmake)
    assert options is not None
    return [option for option in options[1].split() if option.startswith("-")]


def nvcc(op: str, *arguments: str) -> str:
    """Compile the op's kernels; return what the compiler says."""
    source = ROOT / f"csrc/{op}/{op}_cuda.cu"
    command = [str(NVCC), "-std=c++20", "-O3", f"-I{ROOT / 'csrc'}", str(source), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[str, str]]:
    """(op, arch) -> what ptxas says of it and its PTX, of one run of nvcc with the project's flags; no host code."""

    @cache
    def made(op: str, arch: str) -> tuple[str, str]:
        folder = tmp_path_factory.mktemp(f"built_{op}_{arch}")
        kept = ["-cubin", "-o", str(folder / f"{op}.cubin"), "--keep", "--keep-dir", str(folder)]
        said = nvcc(op, f"-arch={arch}", "-Xptxas", "-v", *kept, *project_flags())
        (ptx,) = folder.glob("*.ptx")
        return said, ptx.read_text()

    return made


@pytest.fixture(scope="session")
def read_ptx(
    build: Callable[[str, str], tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], dict[str, str]]:
    """(op, flags) -> kernel -> its PTX for sm_90."""
    folder = tmp_path_factory.mktemp("ptx")

    def by_default(op: str) -> str:
        path = folder / f"{op}.ptx"
        nvcc(op, "-arch=sm_90", "-ptx", "-o", str(path))
        return path.read_text()

    @cache
    def read(op: str, flags: str) -> dict[str, str]:
        ptx = build(op, "sm_90")[1] if flags == "as_built" else by_default(op)
        bodies = re.split(r"\.entry (\w+)", ptx)
        return {label(name): body for name, body in zip(bodies[1::2], bodies[2::2], strict=True)}

    return read


@pytest.fixture(scope="session")
def read_resources(build: Callable[[str, str], tuple[str, str]]) -> Callable[[str, str], dict[str, Resources]]:
    """(op, arch) -> kernel -> what ptxas reports."""
    report = re.compile(
        r"entry function '(\w+)' for '\w+'.*?(\d+) bytes stack frame, (\d+) bytes spill stores.*?"
        r"Used (\d+) registers",
        re.DOTALL,
    )

    @cache
    def read(op: str, arch: str) -> dict[str, Resources]:
        return {
            label(name): Resources(int(registers), int(stack), int(spilled))
            for name, stack, spilled, registers in report.findall(build(op, arch)[0])
        }

    return read


def op_of(kernel: str) -> str:
    return next(op for op in OPS if kernel.startswith(op))


@by_flags
@pytest.mark.parametrize("op", OPS)
def test_these_are_all_the_kernels(read_ptx, op, flags):
    assert sorted(read_ptx(op, flags)) == sorted(k for k in KERNELS if op_of(k) == op)


@by_kernel
@by_flags
def test_no_instruction_rounds_otherwise(read_ptx, flags, kernel):
    assert ROUNDS_OTHERWISE.findall(read_ptx(op_of(kernel), flags)[kernel]) == []


@pytest.mark.parametrize("kernel", DRAWING)
@by_flags
def test_two_square_roots_correctly_rounded(read_ptx, flags, kernel):
    ptx = read_ptx(op_of(kernel), flags)[kernel]
    assert re.findall(r"sqrt[.\w]*", ptx) == ["sqrt.rn.f32"] * 2  # one per Box-Muller pair


@by_kernel
@by_flags
def test_every_float_addition_and_product_names_its_rounding(read_ptx, flags, kernel):
    ptx = read_ptx(op_of(kernel), flags)[kernel]
    operations = set(re.findall(r"\b(?:add|mul)\.[.\w]*f(?:32|64)\b", ptx))
    assert operations
    assert not [operation for operation in operations if ".rn." not in operation]


@by_kernel
@by_arch
def test_nothing_spills_to_local_memory(read_resources, arch, kernel):
    resources = read_resources(op_of(kernel), arch)[kernel]
    assert (resources.stack, resources.spilled) == (0, 0)


@by_kernel
@by_arch
def test_two_full_blocks_fit_on_a_multiprocessor(read_resources, arch, kernel):
    threads, register_file = 256, 65536
    assert read_resources(op_of(kernel), arch)[kernel].registers * 2 * threads <= register_file
