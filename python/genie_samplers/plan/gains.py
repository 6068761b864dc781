"""Columns of a row that are computed while it runs, one number per sample."""

from __future__ import annotations

from dataclasses import dataclass

from .sources import Source

__all__ = ["Gain"]


@dataclass(frozen=True)
class Gain:
    """A reduction of ``sources``, between the network's outputs and the row, whose results replace numbers of the row.

    reduction: its name, of :data:`genie_samplers.run.REDUCTIONS` or of what the run is given. columns: those that it
    writes, by ``genie_ext.column_names``, of the combinations alone: x, aux, y0, history0, draw0, ..., aux.x, ...
    parameters: numbers for the reduction. coupled: whether a sample's result depends on the others of its batch, so
    that a run may not be cut into chunks.
    """

    reduction: str
    sources: tuple[Source, ...]
    columns: tuple[str, ...]
    parameters: tuple[float, ...] = ()
    coupled: bool = False
