"""How a prepared call is checked, and on which backends, for the tests of prepared calls."""

from __future__ import annotations

import pytest

import genie_ext


@pytest.fixture(params=["1", "0"], ids=["every_run_checked", "slots_checked"])
def checks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways."""
    monkeypatch.setenv("GENIE_EXT_CHECK", request.param)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENIE_EXT_CHECK", "0")


@pytest.fixture(params=genie_ext.available_backends("fused_step"))
def any_backend(request: pytest.FixtureRequest) -> str:
    """The reference too."""
    return request.param
