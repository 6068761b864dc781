"""The native core, csrc/bindings.cpp. Calls arrive checked and flattened by the ops' native.py."""

from collections.abc import Sequence

CALL_LAYOUT: int

def fused_step_cpu(arguments: list[int], threads: int, /) -> None: ...
def normal_fill_cpu(arguments: list[int], threads: int, /) -> None: ...
def jvp_distill_loss_cpu(arguments: list[int], threads: int, /) -> None: ...
def fused_step_cuda(arguments: list[int], stream: int, /) -> None:
    """Only where built_with_cuda()."""

def normal_fill_cuda(arguments: list[int], stream: int, /) -> None:
    """Only where built_with_cuda()."""

def jvp_distill_loss_cuda(arguments: list[int], stream: int, /) -> None:
    """Only where built_with_cuda()."""

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
