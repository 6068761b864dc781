"""What the tests of distillation share."""

from __future__ import annotations

import pytest

from genie_samplers.genie.distillation import trajectories


@pytest.fixture
def coarse_trajectories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fine trajectories of fewer steps, for what holds however fine they are."""
    monkeypatch.setattr(trajectories, "_FINE_STEPS", 12)
