"""What the plots of this library share. Needs matplotlib, which is imported where a plot is made."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["plain_ticks"]

_MANY_DECADES, _FEW_DECADES = 3.0, 1.0


def plain_ticks(axes: Any) -> None:
    """Plain numbers, 0.05 and not 5 x 10^-2, at both axes of a matplotlib ``Axes``. Call it when all is drawn.

    A logarithmic axis is ticked at its decades, at 1, 2 and 5 times them, or where it spans less than one evenly.
    """
    from matplotlib.ticker import AutoLocator, FuncFormatter, LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
        if axis.get_scale() != "log":
            continue
        low, high = axis.get_view_interval()
        decades = float(np.log10(high / low))
        digits = (1.0,) if decades > _MANY_DECADES else (1.0, 2.0, 5.0)
        axis.set_major_locator(AutoLocator() if decades < _FEW_DECADES else LogLocator(subs=digits))
        axis.set_minor_formatter(NullFormatter())
