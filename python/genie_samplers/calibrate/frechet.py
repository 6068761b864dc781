"""The Frechet distance between Gaussians fitted to two sets of features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["frechet_distance"]

Array = NDArray[np.float64]


def frechet_distance(a: Array, b: Array) -> float:
    """|m - m'|^2 + tr(S + S' - 2 (S^(1/2) S' S^(1/2))^(1/2)) of features [N, F] and [M, F], N and M 2 or more.

    Heusel et al., arXiv 1706.08500, with any features. ValueError for other shapes.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"features have shapes {a.shape} and {b.shape}; need [N, F] and [M, F], two of each or more")
    root = _root(np.atleast_2d(np.cov(a, rowvar=False)))
    other = np.atleast_2d(np.cov(b, rowvar=False))
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0.0)).sum()
    traces = np.trace(root @ root) + np.trace(other)
    return float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + traces - 2.0 * cross)


def _root(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
