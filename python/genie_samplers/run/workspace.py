"""What a run of ``sample`` works in, kept by its thread for the next run of the same plan on the same shape.

To make and prepare it costs as much as some ten rows over a small state. While a run uses one nobody else has it, so
that a network may sample by itself; where a run fails it is not kept. Results never lie in it.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from genie_ext import times_written

from ..models.outputs import OutputReader
from .state import PlanState

__all__ = ["KEPT", "MOST_BYTES", "MOST_WORKSPACES", "KeptWorkspaces", "Workspace"]

MOST_WORKSPACES, MOST_BYTES = 4, 8 * 2**20


@dataclass
class Workspace:
    """key: runs that agree in it may use the same one; None: it serves a single run."""

    key: Hashable
    state: PlanState
    labels: Sequence[Tensor]  # of each row, views of one tensor
    sample_ids: tuple[int, ...]  # of the state's noise

    def restart(self, x: Tensor | None, seed: int, sample_ids: tuple[int, ...], reader: OutputReader) -> None:
        """The state at its first row again; x: what the start reads, None where that is noise alone."""
        state = self.state
        state.reader = reader
        x = state.x if x is None else x
        if state.noise is None:
            state.restart(x)
            return
        state.restart(x, seed=seed, sample_ids=None if sample_ids == self.sample_ids else sample_ids)
        self.sample_ids = sample_ids

    @cached_property
    def nbytes(self) -> int:
        return self.state.nbytes + self.state.program.table.nbytes + sum(label.nbytes for label in self.labels)

    @property
    def may_be_kept(self) -> bool:
        return self.key is not None and self.nbytes <= MOST_BYTES

    @property
    def is_untouched(self) -> bool:
        """Whether no network wrote into the labels, or made tensors that it was given record gradients."""
        given = (self.state.x, self.state.model_input, *self.labels)
        recording = any(tensor.requires_grad or tensor.grad is not None for tensor in given)
        return not recording and times_written(self.labels[0]) == 0


class KeptWorkspaces(threading.local):
    """Of this thread: those used last, at most ``MOST_WORKSPACES`` of at most ``MOST_BYTES`` in all."""

    def __init__(self) -> None:
        self.held: list[Workspace] = []

    def take(self, key: Hashable) -> Workspace | None:
        """One with this key, no longer kept."""
        for place, workspace in enumerate(self.held):
            if workspace.key == key:
                del self.held[place]
                return workspace if workspace.is_untouched else None
        return None

    def finished(self, workspace: Workspace, count: int, out: Tensor | None) -> Tensor:
        """The first ``count`` final states, in ``out`` if given; the workspace, no longer the caller's, may be kept."""
        x = workspace.state.x
        x = x if count >= len(x) else x[:count]
        if out is not None:
            out.copy_(x)
        elif workspace.may_be_kept:
            with torch.inference_mode(False):  # a plain tensor, as of a workspace that is not kept
                out = x.clone()
        else:
            out = x
        if workspace.may_be_kept:
            self._keep(workspace)
        return out

    def _keep(self, workspace: Workspace) -> None:
        """The oldest leave where there are too many."""
        self.held.append(workspace)
        while len(self.held) > MOST_WORKSPACES or sum(kept.nbytes for kept in self.held) > MOST_BYTES:
            del self.held[0]


KEPT = KeptWorkspaces()
