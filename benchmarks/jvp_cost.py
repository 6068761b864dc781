"""What exact derivatives of epsilon cost on the embedded network, in units of its forward pass.

    python -m benchmarks.jvp_cost [--batch N] [--device DEVICE] [--rounds N]

Competitors take turns; ratios are of medians. "relative error" is the largest difference from the derivative of order 1
in float64, over its largest value.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

import genie_samplers as gs
from genie_samplers import genie

from .case import Competitor, Settings
from .timing import interleave

__all__ = ["main", "table"]

Run = Callable[[], Tensor]


def competitors(batch: int, device: str, dtype: torch.dtype) -> dict[str, Run]:
    """Name -> what it computes: the forward pass, then gamma_d_epsilon in every way."""
    model = gs.demo.embedded(device, dtype)
    times = np.linspace(model.schedule.t_end, model.schedule.t_max, batch)
    x = torch.randn(batch, 1, 28, 28, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    flow = genie.coefficients_at(model, x, torch.from_numpy(times))

    def derivative(order: int, method: str) -> Run:
        def run() -> Tensor:
            at = genie.linearize(model, x, flow.label, method=method)
            return genie.differentiate(at, flow, order=order).gamma_d_epsilon

        return run

    return {
        "forward": lambda: model(x, flow.label),
        "total derivative, forward mode": derivative(1, "forward"),
        "total derivative, double backward and its check": derivative(1, "double_backward"),
        "first and second derivative, forward mode": derivative(2, "forward"),
    }


def table(batch: int, device: str, rounds: int) -> str:
    """Markdown."""
    runs = competitors(batch, device, torch.float32)
    exact = competitors(batch, device, torch.float64)["total derivative, forward mode"]().float()
    settings = Settings(device=device, rounds=rounds, block_seconds=0.0, case_seconds=float("inf"))
    times = interleave([Competitor(name, run) for name, run in runs.items()], settings)
    unit = times["forward"].median
    lines = [f"| batch {batch}, {device} | forward passes | seconds | relative error |", "| --- | --- | --- | --- |"]
    for name, run in runs.items():
        error = float((run() - exact).abs().max() / exact.abs().max())
        shown = "" if name == "forward" else f"{error:.1e}"
        lines.append(f"| {name} | {times[name].median / unit:.2f} | {times[name].median:.4f} | {shown} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jvp_cost", description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args(arguments)
    with torch.no_grad():
        print(table(given.batch, given.device, given.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
