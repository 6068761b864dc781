"""The schedulers as users run them; tests/integrations/pipelines has every run checked whole."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def as_users_run_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENIE_EXT_CHECK", "0")
