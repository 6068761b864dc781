"""The native core, csrc/bindings.cpp. A call arrives flattened by its op's native.py."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

CALL_LAYOUT: int

class _Call:
    """A flattened call. Its tensors must live as long as it runs; it does not keep them."""

    def __init__(self, integers: list[int], /) -> None: ...
    def run_cpu(self, tensors: list[int], threads: int, /) -> None:
        """tensors: of each slot its number, address, stride and dtype."""

    def run_cuda(self, tensors: list[int], device: int, cuda_stream: int, /) -> None:
        """Only where built_with_cuda()."""

class FusedStep(_Call):
    def is_regular(self) -> bool:
        """Whether dtypes, columns and alignment agree and nothing that is written overlaps; False: look closer."""

class Tensors:
    """Tensors of this type, torch.Tensor, as its C exchange interface describes them (DLPack 1).

    ValueError or AttributeError where it has none.
    """

    def __init__(self, type: type[torch.Tensor], /) -> None: ...

class StepRows:
    """Rows of a table over the same tensors. layout: int32 [rows, 26], as genie_ext/ops/fused_step/rows.py has it."""

    def __init__(self, integers: list[int], layout: NDArray[np.int32], /) -> None: ...
    def are_regular(self) -> bool:
        """As of FusedStep, of every row."""

    def run_cpu(self, row: int, tensors: list[int], threads: int, /) -> None:
        """tensors: of each output and external draw its address, stride and dtype."""

    def run_cuda(self, row: int, tensors: list[int], device: int, cuda_stream: int, /) -> None:
        """Only where built_with_cuda()."""

    def move_cpu(self, row: int, x: int, made: int, tensors: list[int], threads: int, /) -> None:
        """From the state at the address x into made, both contiguous. Where the rows have an x_in, made is in its
        place, and x is not looked at.
        """

    def move_cuda(self, row: int, x: int, made: int, tensors: list[int], device: int, cuda_stream: int, /) -> None:
        """Only where built_with_cuda()."""

    def follow_cpu(
        self, row: int, tensors: Tensors, x: torch.Tensor, output: torch.Tensor, made: torch.Tensor, threads: int, /
    ) -> bool:
        """As move_cpu, from tensors that are looked at: False, with nothing done, where one is no dense tensor like
        made, or the row brings anything but one output.
        """

    def follow_cuda(
        self,
        row: int,
        tensors: Tensors,
        x: torch.Tensor,
        output: torch.Tensor,
        made: torch.Tensor,
        device: int,
        cuda_stream: int,
        /,
    ) -> bool:
        """Only where built_with_cuda()."""

class NormalFill(_Call): ...
class JvpDistillLoss(_Call): ...
class SpectralFilter(_Call): ...
class SumOfSquares(_Call): ...

def cuda_problem() -> str:
    """Why the kernels cannot run on the current device; empty if they can. Only where built_with_cuda()."""

def philox4x32_10(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    """One block of the generator, by the vector code of the selected instruction set."""

class Pages:
    """Memory of at least so many bytes, in huge pages; a buffer. The last that was freed is kept for the next."""

    def __init__(self, size: int, /) -> None: ...

def isa() -> str:
    """The instruction set that runs: baseline, avx2 or avx512; GENIE_EXT_ISA names a lower one."""

def built_with_cuda() -> bool: ...
def cuda_archs() -> str:
    """As the build was asked for them, separated by commas; empty without CUDA."""
