"""Where a sampler test runs: every backend of this machine, the reference included."""

from __future__ import annotations

import os
from typing import NamedTuple

import pytest
import torch

import genie_ext
from genie_samplers.run.workspace import KEPT


class Place(NamedTuple):
    backend: str
    device: str

    @property
    def interpreted(self) -> bool:
        """Triton's interpreter: tens of milliseconds per sample and row, so tests keep to a few."""
        return self.backend == "triton" and os.environ.get("TRITON_INTERPRET") == "1"


def places() -> list[Place]:
    states = genie_ext.backends()["fused_step"]
    gpu = "cuda" if torch.cuda.is_available() else "cpu"
    device = {"reference": "cpu", "cpu": "cpu", "cuda": gpu, "triton": gpu}
    return [Place(name, device[name]) for name, state in states.items() if state == "available"]


@pytest.fixture(params=places(), ids=lambda place: place.backend)
def place(request: pytest.FixtureRequest) -> Place:
    return request.param


@pytest.fixture(params=[place for place in places() if not place.interpreted], ids=lambda place: place.backend)
def quick_place(request: pytest.FixtureRequest) -> Place:
    """A backend that can run dozens of samples."""
    return request.param


@pytest.fixture
def nothing_kept() -> None:
    """This thread remembers no run of ``sample``."""
    KEPT.held.clear()


@pytest.fixture(params=["0", "1"], ids=["unchecked", "checked"])
def checks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepared calls that are checked once, and in every run."""
    monkeypatch.setenv("GENIE_EXT_CHECK", request.param)
