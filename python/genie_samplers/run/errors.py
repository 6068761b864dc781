"""A state that became inf or NaN, with what was finished before it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..plan import Apply, Plan

__all__ = ["NonFiniteError", "nonfinite_message"]


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


def nonfinite_message(plan: Plan, row: int | None, samples: str) -> str:
    """Where inf or NaN came from, and what to look at. row: None where a run began so; samples: their ids."""
    if row is None:
        made = f" (or operators[{plan.init.operator!r}] made them)" if plan.init.operator else ""
        return f"state or image: holds inf or NaN for sample ids {samples}{made}; pass finite starting states"
    at = plan.rows[row]
    if isinstance(at, Apply):
        return f"operators[{at.operator!r}]: made inf or NaN of {at.source} in row {row} for sample ids {samples}"
    if at.gains:
        return (
            f"model: the state became inf or NaN in row {row} for sample ids {samples}; its gains "
            f"({', '.join(gain.reduction for gain in at.gains)}) are not finite where what they divide by is 0"
        )
    return (
        f"model: the state became inf or NaN in row {row} for sample ids {samples}; check the network's output "
        "there, its dtype (float16 overflows) and its prediction type"
    )
