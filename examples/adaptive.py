"""Evaluations and error of rk45 at several tolerances: the two tables of docs/adaptive.md.

python examples/adaptive.py
"""

from __future__ import annotations

import torch
from torch import Tensor

import genie_samplers as gs

SCHEDULE = gs.schedules.vp_linear()
WEIGHTS, MEANS, SCALES = (torch.tensor(v).double() for v in ((0.3, 0.7), (-1.0, 0.8), (0.25, 0.4)))


def marginal(t: float) -> tuple[Tensor, Tensor]:
    """Means and standard deviations of the mixture's components at time t."""
    alpha, sigma = float(SCHEDULE.alpha(t)), float(SCHEDULE.sigma(t))
    return alpha * MEANS, torch.sqrt((alpha * SCALES) ** 2 + sigma**2)


def mixture(x: Tensor, t: Tensor) -> Tensor:
    """The exact noise prediction of mixture data, x [B, n], t [B]."""
    outputs = []
    for row, time in zip(x, (t.double() / 999.0).tolist(), strict=True):
        mean, scale = marginal(time)
        z = (row[:, None] - mean) / scale
        share = torch.softmax(torch.log(WEIGHTS / scale) - 0.5 * z * z, dim=-1)
        outputs.append(float(SCHEDULE.sigma(time)) * (share * z / scale).sum(-1))
    return torch.stack(outputs)


def exact_flow(x: Tensor, t: float, t_end: float) -> Tensor:
    """The probability flow keeps the distribution function: inverted by bisection."""

    def probability(y: Tensor, t: float) -> Tensor:
        mean, scale = marginal(t)
        return (WEIGHTS * torch.special.ndtr((y[..., None] - mean) / scale)).sum(-1)

    target, low, high = probability(x, t), torch.full_like(x, -10.0), torch.full_like(x, 10.0)
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = probability(middle, t_end) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return low


def rmse(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).square().mean().sqrt())


def mixture_table() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(1, 1000, generator=generator, dtype=torch.float64).clamp(-4.0, 4.0)
    exact = exact_flow(start, SCHEDULE.t_max, SCHEDULE.t_end)
    print("| mixture, tolerance | log_gamma | gamma | t |\n|---|---|---|---|")
    for tol in (1e-3, 1e-5):
        cells = []
        for variable in ("log_gamma", "gamma", "t"):
            result = gs.rk45(mixture, SCHEDULE, state=start, rtol=tol, atol=tol, variable=variable)
            cells.append(f"{result.nfe[0]} / {rmse(result.x, exact):.1e}")
        print(f"| {tol:.0e} | {' | '.join(cells)} |")


def network_table() -> None:
    model = gs.demo.embedded()
    common = {"shape": (10, 1, 28, 28), "cond": {"class_labels": torch.arange(10)}}
    fine = gs.rk45(model, SCHEDULE, **common, rtol=1e-6, atol=1e-6).x
    print("\n| embedded network | mean NFE | least and most | RMSE |\n|---|---|---|---|")
    for name in ("deis_tab3", "dpmpp_2m"):
        for nfe in (20, 50, 100):
            x = gs.sample(model, gs.make_plan(name, SCHEDULE, nfe, grid="karras"), **common)
            print(f"| `{name}` | {nfe} | | {rmse(x, fine):.1e} |")
    for variable in ("log_gamma", "gamma", "t"):
        for tol in (1e-2, 1e-3, 1e-5):
            result = gs.rk45(model, SCHEDULE, **common, rtol=tol, atol=tol, variable=variable)
            nfe = result.nfe
            error = f"{rmse(result.x, fine):.1e}"
            print(f"| `rk45` {variable}, {tol:.0e} | {nfe.mean():.0f} | {nfe.min()} .. {nfe.max()} | {error} |")


if __name__ == "__main__":
    mixture_table()
    network_table()
