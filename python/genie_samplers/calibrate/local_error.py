"""Local errors of a multistep solver between recorded nodes, without calling the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..plan import Plan

__all__ = ["LocalErrors", "factor", "is_multistep"]

Array = NDArray[np.float64]

_PROBE = 10  # steps of the grid that shows how far a row looks


def is_multistep(plan: Plan) -> bool:
    """Whether every step is one row, linear in its state and in predictions at the times of the grid."""
    if plan.recipe is None or plan.times != plan.recipe.grid[:-1] or len(plan.outputs) > 1:
        return False
    return all(
        step.calls == 1 and step.aux is None and not step.draws and all(np.isinf(c.bound) for c in step.converted)
        for step in plan.rows
    )


def factor(states: Array, epsilon: Array) -> Array:
    """Triangular R with \\|R c\\| = root mean square of sum_k c_k f_k over samples and elements.

    states: [n, B, D], epsilon: [m, B, D]; f: the n states, then the m predictions, of noise or of the flow. R is the
    Cholesky factor of their Gram matrix, by QR, so that small errors keep their digits. [at most n + m, n + m].
    """
    features = np.concatenate([states, epsilon])
    triangle = np.empty((0, len(features)))
    for sample in range(features.shape[1]):
        triangle = np.linalg.qr(np.concatenate([triangle, features[:, sample].T]), mode="r")
    return triangle / np.sqrt(features[0].size)


class LocalErrors:
    """The error of a step (.., p, i, j) from the flow's own states and outputs at its nodes.

    x_j - a x_i - sum_k b_k y_k is linear in states and predictions: its norm follows from their
    :func:`factor`. times: float64 [n], the nodes; triangle: the factor of n states and of n or n - 1 predictions.
    build: the solver's plan, for a network of these predictions, on any of their sub-grids.
    """

    def __init__(self, times: Array, triangle: Array, build: Callable[[Array], Plan]) -> None:
        self.times, self.triangle, self.build = times, triangle, build
        self.memory, self.lookahead = _reach(build, times)

    def __call__(self, *nodes: int) -> float:
        """Root mean square error of the step between the last two nodes, after those before.

        The first node is the start of the grid unless it is ``memory`` nodes before the step; where fewer are given,
        the missing ones follow at the distance of the first two.
        """
        return float(np.linalg.norm(self.triangle @ self.weights(self._with_history(nodes))))

    def weights(self, chain: Sequence[int]) -> Array:
        """Of every state and prediction in the error of the last step of ``chain``."""
        following = range(chain[-1] + 1, min(chain[-1] + 1 + self.lookahead, len(self.times)))
        plan = self.build(self.times[[*chain, *following]])
        row = len(chain) - 2
        step = plan.rows[row]
        weights, epsilon = np.zeros(self.triangle.shape[1]), len(self.times)
        weights[chain[-1]] = -1.0
        weights[chain[row]] += step.x.x
        read = [(row, h, weight) for h, weight in enumerate(step.x.y)]
        read += [(past.row, past.h, weight) for past, weight in zip(step.history, step.x.history, strict=True)]
        for source, h, weight in read:
            conversion = plan.rows[source].converted[h]
            weights[chain[source]] += weight * conversion.scale * conversion.p
            weights[epsilon + chain[source]] += weight * conversion.scale * conversion.q[0]
        return weights

    def _with_history(self, nodes: Sequence[int]) -> list[int]:
        chain = list(nodes)
        while len(chain) < self.memory + 2 and chain[0] > 0:
            chain.insert(0, max(0, 2 * chain[0] - chain[1]))
        return chain


def _reach(build: Callable[[Array], Plan], times: Array) -> tuple[int, int]:
    """How many nodes before a step its row reads, and how many after it change the row (lower orders at the end)."""
    grid = np.interp(np.linspace(0, len(times) - 1, _PROBE + 1), np.arange(len(times)), times)
    steps = build(grid).rows
    memory = max((row - past.row for row, step in enumerate(steps) for past in step.history), default=0)
    row = _PROBE // 2
    same = [build(grid[: row + 2 + after]).rows[row] == steps[row] for after in range(_PROBE - row)]
    return memory, same.index(True)
