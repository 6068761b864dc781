"""A calibrated filter as a picture: K, R, A and the behaviour function. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..files import check_target, replacing, require
from ..plotting import plain_ticks
from .calibrate import Calibration

__all__ = ["write_picture"]


def write_picture(found: Calibration, path: Path | str) -> None:
    """A .png: the ratio K and the filter R of the first channel, the space filter A, and k(rho) with the zones."""
    target = Path(path)
    require("the picture of a filter", "matplotlib", extra="cli")
    check_target(target, suffix=".png", name="path")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7.5), layout="constrained")
    (ratio, frequency), (space, curve) = figure.subplots(2, 2)
    of_channel = found.spec.frequency if found.spec.frequency.ndim == 2 else found.spec.frequency[0]
    _image(figure, ratio, found.ratio[0], "K: log power, accelerated / vanilla")
    _image(figure, frequency, of_channel, f"R ({found.spec.transform})")
    if found.spec.space is None:
        space.text(0.5, 0.5, "A = 1: no space filter", ha="center")
        space.set_axis_off()
    else:
        _image(figure, space, found.spec.space.mean(axis=0), "A, mean over channels")
    curve.plot(found.behaviour.rho, found.behaviour.k, ".", markersize=3)
    curve.axhline(1.0, color="grey", linewidth=0.8)
    about = found.spec.about
    curve.axvline(about["r1"], color="C1", label=f"r1 = {about['r1']:.3f}, lambda1 = {about['lambda1']:.3f}")
    curve.axvline(about["r2"], color="C2", label=f"r2 = {about['r2']:.3f}, lambda2 = {about['lambda2']:.3f}")
    curve.set(xlabel="rho", ylabel="k(rho)")
    curve.legend()
    plain_ticks(curve)
    with replacing(target) as partial:
        figure.savefig(partial, dpi=100)


def _image(figure: Any, axes: Any, values: np.ndarray, title: str) -> None:
    figure.colorbar(axes.imshow(values), ax=axes)
    axes.set(title=title)
    axes.set_axis_off()
