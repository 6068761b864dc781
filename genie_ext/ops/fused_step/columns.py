"""The columns of a row of coefficients: how many, in which order, and their names."""

from __future__ import annotations

__all__ = ["column_names", "row_columns"]


def column_names(
    *, outputs: int, converted: int, history: int, draws: int, aux: bool = False, aux_out: bool = False
) -> tuple[str, ...]:
    """The names of a row's columns in order; all numbers count from 0.

    Per converted output h: 'p{h}' (of x), 'q{h}.{o}' (of output o), 'bound{h}', 'scale{h}'. Then the next state's
    coefficients of 'x', 'aux', 'y{h}', 'history{k}', 'draw{d}'; with aux_out the same of the second state, as 'aux.x',
    'aux.aux', 'aux.y{h}', ...; last 'feed', which multiplies the next state into the network's input.
    """
    convert: list[str] = []
    for h in range(converted):
        convert += [f"p{h}", *(f"q{h}.{o}" for o in range(outputs)), f"bound{h}", f"scale{h}"]
    terms = ["x", "aux"] if aux else ["x"]
    terms += [f"y{h}" for h in range(converted)]
    terms += [f"history{k}" for k in range(history)]
    terms += [f"draw{d}" for d in range(draws)]
    second = [f"aux.{term}" for term in terms] if aux_out else []
    return (*convert, *terms, *second, "feed")


def row_columns(
    *, outputs: int, converted: int, history: int, draws: int, aux: bool = False, aux_out: bool = False
) -> int:
    """The number of coefficients in a row of this layout, that of its ``column_names``."""
    convert = converted * (outputs + 3)
    combine = 1 + aux + converted + history + draws
    return convert + (1 + aux_out) * combine + 1
