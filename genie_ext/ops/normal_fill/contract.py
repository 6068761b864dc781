"""The call that every backend of ``normal_fill`` receives, and its checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..._checks import check_apart, check_integer, check_samples, check_tensor, check_word
from ..noise import Noise, check_noise, check_noise_types
from ..slots import check_slot_count

__all__ = ["NormalFillCall", "check", "own"]


@dataclass(slots=True)
class NormalFillCall:
    """Fill ``out`` [B, ...] (any float dtype, dense within a sample) with draw number ``draw`` of ``noise``."""

    out: Tensor
    noise: Noise
    draw: int

    def filled(self, outputs: Sequence[Tensor], draws: Sequence[Tensor], x: Tensor | None) -> NormalFillCall:
        """The call itself: nothing is read but its noise, so it has no slots."""
        check_slot_count("outputs", len(outputs), 0)
        check_slot_count("draws", len(draws), 0)
        check_slot_count("x", int(x is not None), 0)
        return self

    def check_slot(self, name: str, value: object) -> Tensor:
        raise ValueError(f"{name}: a prepared normal_fill has no slots")

    def read(self) -> list[tuple[str, Tensor | None]]:
        return [("noise.seed", self.noise.seed), ("noise.sample_ids", self.noise.sample_ids)]

    def written(self) -> list[tuple[str, Tensor | None]]:
        return [("out", self.out)]


def own(call: NormalFillCall) -> NormalFillCall:
    """The call once more, each part of the right type, whatever becomes of the one given."""
    return NormalFillCall(
        check_tensor("out", call.out), check_noise_types(call.noise), check_integer("draw", call.draw)
    )


def check(call: NormalFillCall) -> None:
    check_samples("out", call.out)
    check_noise(call.noise, call.out)
    check_word("draw", call.draw)
    check_apart(call.written(), call.read())
