"""The model card of a distilled head."""

from __future__ import annotations

from dataclasses import asdict

from ..heads.files import Head
from .distill import DistillOptions
from .report import HeadReport

__all__ = ["card"]


def card(head: Head, options: DistillOptions, found: HeadReport) -> str:
    """Markdown: what the head is, how it was made and how good it is on held-out data."""
    pointwise = options.target == "pointwise"
    derivative = head.config.derivative
    target = "gamma d epsilon/d gamma" if pointwise else "what steps of genie_hermite lack"
    unused = (
        {"values", "nfes", "grids", "trajectories", "pool_steps", "forced_steps"}
        if pointwise
        else {"gamma_max", "weighting"}
    )
    used = {name: value for name, value in asdict(options).items() if name not in unused}
    parameters = sum(p.numel() for p in head.parameters())
    lines = [
        "# A GENIE head",
        "",
        f"Predicts {target}, from the last feature map of the network that",
        "lies beside it: `genie_samplers.genie.with_head(model, folder)`, for plans with",
        f'derivative="{derivative}" such as '
        "those of `genie_ttm2` and `genie_hermite3`. Dockhorn, Vahdat and Kreis, arXiv 2210.05475.",
        "",
        "| | |",
        "|---|---|",
        f"| parameters | {parameters:,}, stored as float16 |",
        *(f"| {name} | {value} |" for name, value in used.items() if value not in ("", None)),
        "",
        f"Error of {target} on held-out data, relative to its rms; RMSE of solvers to the fine solution from held-out",
        "latents:",
        "",
        str(found),
        "",
    ]
    return "\n".join(lines)
