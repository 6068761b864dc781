"""python -m benchmarks.spectral_methods: matrix products beside the library's FFT, by the size of an image.

Prints a table of nanoseconds per element, the least of the rounds, and the multiplications per element that
genie_ext/ops/spectral_filter/methods.py decides by. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import sys

import torch

from genie_ext import SpectralFilter
from genie_ext.ops.spectral_filter.filters import Method, Transform
from genie_ext.ops.spectral_filter.matrices import frequencies
from genie_ext.ops.spectral_filter.methods import MULTIPLICATIONS, multiplications

from .case import FULL, Competitor
from .ops.spectral_filter import radial
from .timing import interleave

__all__ = ["main"]

_ELEMENTS = 3 * 2**16
_METHODS: tuple[Method, ...] = ("products", "fft")


def main() -> int:
    print(f"products up to {MULTIPLICATIONS} multiplications per element\n")
    print("| size | transform | changed | multiplications | threads | products | fft |\n" + "| --- " * 7 + "|")
    for n in (8, 16, 32, 48, 64, 96, 128, 192, 256):
        for transform in ("dct", "dft"):
            for whole in (False, True):
                for threads in (1, 2):
                    print(_row(n, transform, whole, threads), flush=True)
    return 0


def _row(n: int, transform: Transform, whole: bool, threads: int) -> str:
    frequency = radial(n, n, transform) * (0.5 if whole else 1.0)
    changed = (frequency != 1).any(1)
    even, odd = (int(changed[frequencies(transform, n, parity)].sum()) for parity in (0, 1))
    count = multiplications((n, n), (even, odd), (even, odd), wrapped=transform == "dft", forward=True)
    z = torch.randn(max(1, _ELEMENTS // (3 * n * n)), 3, n, n)
    out = torch.empty_like(z)
    filters = {m: SpectralFilter(frequency, transform=transform, method=m) for m in _METHODS}
    torch.set_num_threads(threads)
    competitors = [Competitor(m, lambda f=f: f(z, out)) for m, f in filters.items()]
    times = interleave(competitors, FULL)
    nanoseconds = (f"{times[m].minimum / z.numel() * 1e9:.2f}" for m in _METHODS)
    part = "all" if whole else f"{int(changed.sum())}/{n}"
    return f"| {n} | {transform} | {part} | {count:.0f} | {threads} | {' | '.join(nanoseconds)} |"


if __name__ == "__main__":
    sys.exit(main())
