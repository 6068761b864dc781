"""GENIE's tables: the figures of a sampler without plans (torch, float64, the same latents), and the documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import genie_few_steps, genie_orders

DOCUMENTS = Path(__file__).parents[2] / "docs"
NEAR = 0.25  # a slope that close to a whole number names it
ORDERS = {"DDIM": 1, "AB2": 2, "Heun": 2, "TTM2": 2, "exponential": 2, "TTM3": 3, "Hermite 3": 3, "Hermite 4": 4}

# of 5 and 10 evaluations, in two digits
THREE: dict[str, tuple[float, float]] = {
    "DDIM": (0.180, 0.088),
    "TTM2": (0.071, 0.021),
    "TTM3": (0.064, 0.0094),
    "Hermite 3 in gamma": (0.066, 0.015),
    "exponential TTM2 (x0, log gamma)": (0.163, 0.022),
    "DPM-Solver++(2M)": (0.204, 0.052),
}
TOY64: dict[str, tuple[float, float]] = {
    "DDIM": (0.124, 0.058),
    "TTM2": (0.075, 0.023),
    "TTM2 + AFS": (0.052, 0.019),
    "TTM3": (0.062, 0.023),
    "Hermite 3 in gamma + AFS": (0.050, 0.019),
    "AB2 in gamma": (0.092, 0.030),
    "exponential TTM2 (x0, log gamma)": (0.20, 0.054),
    "DPM-Solver++(2M)": (0.25, 0.076),
}
FIGURES = [
    pytest.param(mixture, method, nfe, figure, id=f"{mixture}-{method}-{nfe}")
    for mixture, figures in {"three": THREE, "toy64": TOY64}.items()
    for method, row in figures.items()
    for nfe, figure in zip((5, 10), row, strict=True)
]
FLOW_STEPS = 100  # of the classical Runge-Kutta method, 0.1 in log gamma: the flow to 2e-6 on average


@pytest.mark.parametrize(("mixture", "method", "nfe", "figure"), FIGURES)
def test_few_exact_evaluations_err_as_an_independent_sampler(
    mixture: str, method: str, nfe: int, figure: float
) -> None:
    assert float(f"{genie_few_steps.error(mixture, method, nfe, FLOW_STEPS):.2g}") == float(f"{figure:.2g}")


def documented(document: str, title: str, method: str) -> list[str]:
    """The cells after the name, below the title."""
    text = (DOCUMENTS / document).read_text()
    lines = text[text.index(title) :].splitlines()
    row = next(line for line in lines if line.startswith(f"| {method} |"))
    return [cell.strip() for cell in row.split("|")[2:-1]]


@pytest.mark.parametrize(("mixture", "method", "nfe", "figure"), FIGURES)
def test_the_document_shows_them(mixture: str, method: str, nfe: int, figure: float) -> None:
    title = {"three": "## 3 overlapping", "toy64": "## 64 narrow"}[mixture]
    cells = documented("genie-few-steps.md", title, method)
    assert float(cells[genie_few_steps.NFES.index(nfe)]) == float(f"{figure:.2g}")


@pytest.mark.parametrize("method", genie_orders.METHODS)
def test_the_document_shows_slopes_that_name_the_order(method: str) -> None:
    *_, slope = documented("genie-orders.md", "# Orders", method)
    order = next(order for start, order in ORDERS.items() if method.startswith(start))
    assert float(slope) == pytest.approx(order, abs=NEAR)


@pytest.mark.parametrize("method", ["DDIM", "TTM2", "Hermite 4 in gamma"])
def test_the_slopes_in_the_document_are_measured(method: str) -> None:
    coarse, fine, slope = (float(cell) for cell in documented("genie-orders.md", "# Orders", method))
    assert [genie_orders.error(method, 40), genie_orders.error(method, 320)] == pytest.approx([coarse, fine], rel=0.05)
    assert genie_orders.slope(method) == pytest.approx(slope, abs=0.02)
