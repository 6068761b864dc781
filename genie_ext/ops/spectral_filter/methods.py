"""Which method computes a filter on the CPU: matrix products or the library's FFT, as measured.

``python -m benchmarks.spectral_methods`` measures both, by the multiplications per element that are counted here.
"""

from __future__ import annotations

from .folding import Fold

__all__ = ["LARGEST_BLOCK", "MULTIPLICATIONS", "multiplications"]

# Up to so many multiplications per element matrix products are the faster of the two. On one thread with AVX2 they take
# 1 + count / 32 ns per element; scipy's FFT, both ways and with the gains, takes 9 to 12 from 96 x 96 on, more below.
MULTIPLICATIONS = {"dct": 280.0, "dft": 280.0}
# A block of at most this share of the frequencies is changed alone and the rest kept: at least a quarter of a white
# image then passes as it is, so the rounding errors of what is kept stay small beside the result.
LARGEST_BLOCK = 0.75


def multiplications(
    size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int], *, wrapped: bool, forward: bool
) -> float:
    """Per element of an image, of its products with the matrices; rows, columns: changed frequencies by parity."""
    height, width = size
    of_rows, of_columns = (
        sum(count * Fold.of(n, wrapped=wrapped).length(parity) for parity, count in enumerate(counts))
        for n, counts in ((height, rows), (width, columns))
    )
    there = of_rows * width + sum(rows) * of_columns
    back = of_rows * sum(columns) + height * of_columns
    return (there * forward + back) / (height * width)
