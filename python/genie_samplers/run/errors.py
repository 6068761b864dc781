"""A state that became inf or NaN, with what was finished before it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

__all__ = ["NonFiniteError"]


class NonFiniteError(ValueError):
    """The state of some samples became inf or NaN.

    row: of the plan; None where the starting state was not finite already, and in an adaptive run. sample_ids: the
    samples concerned. finished: [n, ...] final states of the samples that were finished, finished_ids theirs.
    """

    def __init__(
        self, message: str, *, row: int | None, sample_ids: Sequence[int], finished: Tensor, finished_ids: Sequence[int]
    ) -> None:
        super().__init__(message)
        self.row, self.sample_ids = row, tuple(sample_ids)
        self.finished, self.finished_ids = finished, tuple(finished_ids)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (str(self), self.row, self.sample_ids, self.finished, self.finished_ids)


def _rebuilt(
    message: str, row: int | None, sample_ids: tuple[int, ...], finished: Tensor, finished_ids: tuple[int, ...]
) -> NonFiniteError:
    return NonFiniteError(message, row=row, sample_ids=sample_ids, finished=finished, finished_ids=finished_ids)
