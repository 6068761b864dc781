"""The cheapest path of an exact number of steps, by dynamic programming."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["shortest_path"]

Tail = tuple[int, ...]


def shortest_path(cost: Callable[..., float], *, last: int, steps: int, memory: int) -> tuple[tuple[int, ...], float]:
    """Nodes 0 = n_0 < n_1 < .. < n_steps = last of least total cost, and that cost.

    cost(.., p, i, j): of the step from i to j after up to ``memory`` earlier nodes, fewer at the start only. It is
    called once for every step that some path can take. ValueError if there are fewer than ``steps`` steps to take.
    """
    if not 1 <= steps <= last:
        raise ValueError(f"steps={steps}; {last + 1} nodes allow 1 to {last}, give more nodes or ask for fewer steps")
    known: dict[Tail, float] = {}
    layer: dict[Tail, tuple[float, Tail]] = {(0,): (0.0, (0,))}  # by the last nodes: cost of the best path, and it
    for left in reversed(range(steps)):
        following: dict[Tail, tuple[float, Tail]] = {}
        for tail, (spent, path) in layer.items():
            for node in range(tail[-1] + 1, last - left + 1) if left else (last,):
                step = (*tail, node)
                if step not in known:
                    known[step] = cost(*step)
                total, key = spent + known[step], step[-(memory + 1) :]
                if key not in following or total < following[key][0]:
                    following[key] = (total, (*path, node))
        layer = following
    total, path = min(layer.values())
    return path, total
