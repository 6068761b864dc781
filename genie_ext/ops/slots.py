"""Slots: what stands in a prepared call where each run brings a tensor of its own."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

__all__ = ["SLOT", "check_slot_count", "slots_in"]


class _Slot(Enum):
    SLOT = "SLOT"

    def __repr__(self) -> str:
        return "genie_ext.SLOT"


SLOT: Any = _Slot.SLOT  # typed as what it stands for


def slots_in(values: Sequence[object]) -> list[int]:
    """The places of the slots."""
    return [i for i, value in enumerate(values) if value is SLOT] if values else []


def check_slot_count(name: str, given: int, slots: int) -> None:
    if given != slots:
        raise ValueError(f"{name}: {given} given; the prepared call has {slots} slots among its {name}")
