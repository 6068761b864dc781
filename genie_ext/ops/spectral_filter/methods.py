"""Which method computes a filter on the CPU: matrix products or the library's FFT, as measured.

``python -m benchmarks.spectral_methods`` measures both and prints where they meet; its table is in README.md.
"""

from __future__ import annotations

__all__ = ["LARGEST_BLOCK", "MULTIPLICATIONS", "multiplications"]

# Up to so many multiplications per element matrix products are the faster of the two.
MULTIPLICATIONS = {"dct": 200.0, "dft": 120.0}
# A block of at most this share of the frequencies is changed alone and the rest kept: at least a quarter of a white
# image then passes as it is, so the rounding errors of what is kept stay small beside the result.
LARGEST_BLOCK = 0.75


def multiplications(height: int, width: int, block: tuple[int, int], *, forward: bool) -> float:
    """Per element of an image, of the products with the matrices of one transform or both."""
    rows, columns = block
    there = rows * height * width + rows * width * columns
    back = height * rows * columns + height * columns * width
    return (there * forward + back) / (height * width)
