"""Plots have plain numbers at their axes."""

from __future__ import annotations

from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.figure import Figure

from genie_samplers.plotting import plain_ticks
from genie_samplers.training import plot_loss


def labels(low: float, high: float, scale: str) -> list[str]:
    """What is written at the vertical axis of a plot over this range."""
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1.0, 2.0], [low, high])
    axes.set_yscale(scale)
    plain_ticks(axes)
    figure.canvas.draw()
    every = [*axes.get_yticklabels(), *axes.get_yticklabels(minor=True)]
    below, above = axes.get_ylim()
    shown = [label for label in every if below <= label.get_position()[1] <= above]
    return [label.get_text() for label in shown if label.get_text()]


@pytest.mark.parametrize(
    ("low", "high", "scale", "expected"),
    [
        (6.0, 9.0, "log", ["6", "6.5", "7", "7.5", "8", "8.5", "9"]),
        (0.03, 2.0, "log", ["0.05", "0.1", "0.2", "0.5", "1", "2"]),
        (0.01, 150.0, "log", ["0.01", "0.1", "1", "10", "100"]),
        (0.0, 1.0, "linear", ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
    ],
)
def test_ticks_are_plain_numbers(low: float, high: float, scale: str, expected: list[str]) -> None:
    found = labels(low, high, scale)
    assert [text for text in expected if text not in found] == []
    assert [text for text in found if "times" in text or "mathdefault" in text or "\u2212" in text] == []


def test_the_curve_of_losses_is_ticked_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[str]] = []
    real = matplotlib.figure.Figure.savefig

    def looked_at(figure: Figure, *arguments: object, **options: object) -> None:
        figure.canvas.draw()
        axes = figure.axes[0]
        drawn.append([label.get_text() for label in (*axes.get_yticklabels(), *axes.get_yticklabels(minor=True))])
        real(figure, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", looked_at)
    plot_loss(list(np.linspace(6.0, 9.0, 300)), tmp_path / "loss.png", "loss")
    assert "7" in drawn[0] and not [text for text in drawn[0] if "times" in text]


def test_a_run_without_losses_has_a_picture_too(tmp_path: Path) -> None:
    plot_loss([], tmp_path / "loss.png", "loss")
    assert (tmp_path / "loss.png").stat().st_size > 0
