"""The embedded Runge-Kutta pairs of the adaptive driver."""

from __future__ import annotations

from ..numerics import butcher

__all__ = ["DOPRI5", "EULER_CHANGE"]

_B = ("35/384", 0, "500/1113", "125/192", "-2187/6784", "11/84")

DOPRI5 = butcher(
    5,
    a=(
        ("1/5",),
        ("3/40", "9/40"),
        ("44/45", "-56/15", "32/9"),
        ("19372/6561", "-25360/2187", "64448/6561", "-212/729"),
        ("9017/3168", "-355/33", "46732/5247", "49/176", "-5103/18656"),
        _B,
    ),
    b=(*_B, 0),
    error=("-71/57600", 0, "71/16695", "-71/1920", "17253/339200", "-22/525", "1/40"),
    error_order=4,
)
"""Dormand and Prince's 5(4) pair (J. Comp. Appl. Math. 6, 1980); its last stage stands at the new state."""

EULER_CHANGE = butcher(1, a=((1,),), b=(1, 0), error=(-1, 1), error_order=0)
"""An Euler step whose "error" is h times the change of the derivative: the probe that chooses the first step."""
