"""The methods in x = x_0 + sigma n as their papers write them, in float64, step by step; no table, no engine.

D: the denoiser at one level; s: falling levels; z: the draws, one per step that makes noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.polynomial import Polynomial
from torch import Tensor

Denoise = Callable[[Tensor, float], Tensor]

__all__ = ["dpm_2", "dpm_fast", "dpmpp_2m", "dpmpp_2m_sde", "euler", "euler_ancestral", "heun", "ipndm", "lms"]


def _slope(D: Denoise, x: Tensor, s: float) -> Tensor:
    """Karras et al., arXiv 2206.00364, eq. 3: dx/dsigma = epsilon."""
    return (x - D(x, s)) / s


def euler(D: Denoise, x: Tensor, s: Sequence[float]) -> Tensor:
    for a, b in pairwise(s):
        x = x + (b - a) * _slope(D, x, a)
    return x


def euler_ancestral(D: Denoise, x: Tensor, s: Sequence[float], z: Iterator[Tensor], eta: float = 1.0) -> Tensor:
    """Song, Meng and Ermon, arXiv 2010.02502, eq. 12 and 16 with alpha = 1."""
    for a, b in pairwise(s):
        up = eta * b * math.sqrt(1.0 - (b / a) ** 2)
        x0 = D(x, a)
        x = x0 + math.sqrt(b * b - up * up) * (x - x0) / a
        if b > 0.0 and eta > 0.0:
            x = x + up * next(z)
    return x


def heun(
    D: Denoise, x: Tensor, s: Sequence[float], z: Iterator[Tensor], churn: float = 0.0, noise: float = 1.0
) -> Tensor:
    """Karras et al., algorithm 2."""
    rate = min(churn / (len(s) - 1), math.sqrt(2.0) - 1.0)
    for a, b in pairwise(s):
        hat = a * (1.0 + rate)
        if rate > 0.0:
            x = x + noise * math.sqrt(hat * hat - a * a) * next(z)
        first = _slope(D, x, hat)
        guess = x + (b - hat) * first
        x = guess if b == 0.0 else x + (b - hat) * 0.5 * (first + _slope(D, guess, b))
    return x


def dpm_2(D: Denoise, x: Tensor, s: Sequence[float]) -> Tensor:
    """Lu et al., arXiv 2206.00927, algorithm 1 with r_1 = 1/2; Euler to 0."""
    for a, b in pairwise(s):
        x = _dpm_solver_step(D, x, a, b, 2 if b > 0.0 else 1)
    return x


def dpm_fast(D: Denoise, x: Tensor, low: float, high: float, n: int) -> Tensor:
    """Lu et al., section 3.4: orders 3, 3, .., then what is left of n evaluations, equal in lambda."""
    orders = [3] * (n // 3 - 1) + [2, 1] if n % 3 == 0 else [3] * (n // 3) + [n % 3]
    levels = [high * (low / high) ** (i / len(orders)) for i in range(len(orders) + 1)]
    for (a, b), order in zip(pairwise(levels), orders, strict=True):
        x = _dpm_solver_step(D, x, a, b, order)
    return x


def _dpm_solver_step(D: Denoise, x: Tensor, a: float, b: float, order: int) -> Tensor:
    e = _slope(D, x, a)
    if order == 1:
        return x + (b - a) * e
    h = math.log(a / b)
    if order == 2:
        middle = math.sqrt(a * b)
        return x - b * math.expm1(h) * _slope(D, x + (middle - a) * e, middle)
    one, two = a * math.exp(-h / 3), a * math.exp(-2 * h / 3)
    d1 = _slope(D, x - one * math.expm1(h / 3) * e, one) - e
    u2 = x - two * math.expm1(2 * h / 3) * e - two * 2.0 * (math.expm1(2 * h / 3) / (2 * h / 3) - 1.0) * d1
    d2 = _slope(D, u2, two) - e
    return x - b * math.expm1(h) * e - b * 1.5 * (math.expm1(h) / h - 1.0) * d2


def lms(D: Denoise, x: Tensor, s: Sequence[float], order: int = 4) -> Tensor:
    """Adams-Bashforth with the exact integrals of the Lagrange basis in sigma."""
    slopes: list[Tensor] = []
    for n, (a, b) in enumerate(pairwise(s)):
        slopes = [_slope(D, x, a), *slopes][:order]
        nodes = [s[n - j] for j in range(len(slopes))]
        x = x + sum(_integral(nodes, j, a, b) * slope for j, slope in enumerate(slopes))
    return x


def _integral(nodes: Sequence[float], j: int, a: float, b: float) -> float:
    others = [node for k, node in enumerate(nodes) if k != j]
    scale = float(np.prod([nodes[j] - node for node in others]))
    whole = Polynomial.fromroots([node - a for node in others]).integ() if others else Polynomial([0.0, 1.0])
    return float(whole(b - a) - whole(0.0)) / scale


def ipndm(D: Denoise, x: Tensor, s: Sequence[float], order: int = 4) -> Tensor:
    """Zhang and Chen, arXiv 2204.13902: the weights of equal steps on any."""
    weights = {1: [1.0], 2: [3 / 2, -1 / 2], 3: [23 / 12, -16 / 12, 5 / 12], 4: [55 / 24, -59 / 24, 37 / 24, -9 / 24]}
    slopes: list[Tensor] = []
    for a, b in pairwise(s):
        slopes = [_slope(D, x, a), *slopes][:order]
        x = x + (b - a) * sum(w * slope for w, slope in zip(weights[len(slopes)], slopes, strict=True))
    return x


def dpmpp_2m(D: Denoise, x: Tensor, s: Sequence[float]) -> Tensor:
    """Lu et al., arXiv 2211.01095, algorithm 2; order 1 in the first step and to 0."""
    return dpmpp_2m_sde(D, x, s, iter(()), eta=0.0)


def dpmpp_2m_sde(D: Denoise, x: Tensor, s: Sequence[float], z: Iterator[Tensor], eta: float = 1.0) -> Tensor:
    """Lu et al., arXiv 2211.01095, SDE-DPM-Solver++(2M), with eta on the noise's share of h."""
    older, h_older = None, 0.0
    for a, b in pairwise(s):
        x0 = D(x, a)
        if b == 0.0:
            return x0
        h = math.log(a / b)
        mixed = x0 if older is None else x0 + (x0 - older) * h / (2.0 * h_older)
        x = (b / a) * math.exp(-eta * h) * x - math.expm1(-(1.0 + eta) * h) * mixed
        if eta > 0.0:
            x = x + b * math.sqrt(-math.expm1(-2.0 * eta * h)) * next(z)
        older, h_older = x0, h
    return x
