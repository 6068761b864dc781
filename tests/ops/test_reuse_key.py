"""reuse_key: when prepared rows may run in place of new ones."""

from __future__ import annotations

import os

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import genie_ext

CPU = torch.device("cpu")


def test_rows_of_the_same_backend_and_checks_are_alike() -> None:
    assert genie_ext.reuse_key(CPU) == genie_ext.reuse_key(CPU)
    assert genie_ext.reuse_key(CPU, backend="reference") == genie_ext.reuse_key(CPU, backend="reference")


def test_another_backend_however_it_is_asked_for_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = genie_ext.reuse_key(CPU)
    assert genie_ext.reuse_key(CPU, backend="reference") != usual
    with genie_ext.use_backend("reference"):
        assert genie_ext.reuse_key(CPU) == genie_ext.reuse_key(CPU, backend="reference") != usual
    monkeypatch.setenv("GENIE_EXT_BACKEND", "reference")
    assert genie_ext.reuse_key(CPU) != usual


def test_other_checks_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = genie_ext.reuse_key(CPU)
    monkeypatch.setenv("GENIE_EXT_CHECK", "0" if os.environ.get("GENIE_EXT_CHECK") == "1" else "1")
    assert genie_ext.reuse_key(CPU) != usual


def test_none_are_on_a_gpu_or_among_the_tensors_of_a_mode() -> None:
    assert genie_ext.reuse_key(torch.device("cuda", 0)) is None
    assert genie_ext.reuse_key(torch.device("meta")) is None
    with TorchDispatchMode():
        assert genie_ext.reuse_key(CPU) is None


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="backend='abacus'; choose auto"):
        genie_ext.reuse_key(CPU, backend="abacus")
