"""What a benchmark is: cases, each a few competitors that compute the same thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

__all__ = ["FULL", "QUICK", "Benchmark", "Case", "Competitor", "Settings", "shape_text"]


@dataclass(frozen=True)
class Settings:
    """How much to measure. A block is calls under one stopwatch, a round one block of each."""

    device: str = "cpu"
    shapes: tuple[tuple[int, ...], ...] = (
        (1, 3, 32, 32),
        (64, 3, 32, 32),
        (1, 4, 64, 64),
        (1, 3, 1024, 1024),
    )
    images: tuple[tuple[int, ...], ...] = ((64, 3, 32, 32), (16, 3, 64, 64), (4, 3, 256, 256))
    normals: tuple[int, ...] = (2**12, 2**16, 2**20, 3 * 2**20)
    steps: int = 20  # of a whole sampler
    rounds: int = 15
    block_seconds: float = 4e-3
    case_seconds: float = 6.0  # no further round after this, once there are three
    compiled: bool = True  # torch.compile takes a few seconds per case


FULL = Settings()
QUICK = Settings(
    shapes=((1, 3, 32, 32), (1, 3, 1024, 1024)),
    images=((64, 3, 32, 32),),
    normals=(2**12, 2**20),
    rounds=5,
    block_seconds=1e-3,
    case_seconds=0.5,
    compiled=False,
)


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Competitor:
    """``run`` is timed; ``prepare`` comes before every block and is not.

    repeatable: whether ``run`` may follow ``run`` in a block. units: how many it does at once.
    """

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] = _nothing
    repeatable: bool = True
    units: int = 1


@dataclass(frozen=True)
class Case:
    """Competitors, this project's first, on one input.

    disagreement: None, or how the outputs of what is about to be timed differ; then nothing is
    timed. bytes: read and written per unit. absent: competitors that cannot run, and why.
    """

    name: str
    competitors: Sequence[Competitor]
    disagreement: Callable[[], str | None]
    bytes: int | None = None
    threads: int | None = None  # of torch and of the op; None leaves them alone
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """cases makes its tensors one case at a time. every_isa: repeat with every vector unit."""

    name: str
    unit: str
    summary: str
    cases: Callable[[Settings], Iterator[Case]]
    every_isa: bool = False


def shape_text(shape: Sequence[int] | torch.Size) -> str:
    return "x".join(str(n) for n in shape)
