"""A GPU backend that never gave the right bits on a GPU is not preferred without a word."""

from __future__ import annotations

import json
import types
import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

import genie_ext
from genie_ext import _dispatch
from genie_ext._dispatch import resolve

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
GPU = torch.device("cuda:0")


def verified_by(folder: Path) -> set[str]:
    """The backends that a report of benchmarks/bit_equality.py of a machine with a GPU found equal in every case."""
    found: set[str] = set()
    for path in folder.rglob("*.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(report, dict) or not report.get("machine", {}).get("gpu") or "lanes" not in report:
            continue
        compared = [result["differences"] for result in report["results"]]
        found |= {
            backend
            for backend in ("cuda", "triton")
            if compared and all(f"{backend} on cuda" in case and not case[f"{backend} on cuda"] for case in compared)
        }
    return found


def test_what_counts_as_verified_is_what_the_kept_results_show():
    assert verified_by(RESULTS) == _dispatch.VERIFIED_ON_GPU


@pytest.mark.parametrize(
    "gpu, difference, expected",
    [("NVIDIA H100", None, {"cuda"}), (None, None, set()), ("NVIDIA H100", "x: 3 of 9 elements differ", set())],
    ids=["equal", "no_gpu", "different"],
)
def test_a_report_verifies_what_was_equal_on_a_gpu(tmp_path, gpu, difference, expected):
    lanes = ["reference on cpu", "cuda on cuda"]
    cases = [{"case": "a", "differences": {lanes[1]: None}}, {"case": "b", "differences": {lanes[1]: difference}}]
    report = {"machine": {"gpu": gpu}, "lanes": lanes, "results": cases}
    (tmp_path / "h100").mkdir()
    (tmp_path / "h100/bits.json").write_text(json.dumps(report))
    assert verified_by(tmp_path) == expected


@pytest.fixture
def gpu(monkeypatch):
    """What _dispatch sees of a machine with a GPU that runs both backends."""
    module = types.ModuleType("_C")
    answers = {"built_with_cuda": True, "cuda_problem": "", "cuda_archs": "90-real"}
    vars(module).update({name: lambda answer=answer: answer for name, answer in answers.items()})
    monkeypatch.setattr(_dispatch, "_load_native", lambda: (module, ""))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())
    monkeypatch.setattr(_dispatch, "_runner", lambda op, backend: None)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    _dispatch._report_unverified.cache_clear()
    yield
    _dispatch._report_unverified.cache_clear()


def verify(monkeypatch, *names: str) -> None:
    monkeypatch.setattr(_dispatch, "VERIFIED_ON_GPU", frozenset(names))


@pytest.mark.parametrize(
    "verified, cuda, triton",
    [
        ((), "available, not verified on a GPU", "available, not verified on a GPU"),
        (("triton",), "available, not verified on a GPU", "available"),
        (("cuda", "triton"), "available", "available"),
    ],
    ids=["none", "triton", "both"],
)
def test_backends_says_what_is_not_verified(gpu, monkeypatch, verified, cuda, triton):
    verify(monkeypatch, *verified)
    states = genie_ext.backends()["fused_step"]
    assert (states["cuda"], states["triton"], states["cpu"]) == (cuda, triton, "available")
    assert genie_ext.available_backends("fused_step") == ("reference", "cpu", "cuda", "triton")


def test_triton_is_preferred_over_cuda_kernels_that_are_not_verified(gpu, monkeypatch):
    verify(monkeypatch)
    message = (
        r"runs on triton for cuda tensors.*no kept run has verified.*choose with backend=.*GENIE_EXT_BACKEND: .*cuda"
    )
    with pytest.warns(UserWarning, match=message):
        assert resolve("fused_step", GPU)[0] == "triton"


def test_it_is_said_once(gpu, monkeypatch):
    verify(monkeypatch)
    with pytest.warns(UserWarning, match="no kept run has verified"):
        resolve("fused_step", GPU)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve("normal_fill", GPU)


def test_cuda_kernels_that_are_not_verified_run_where_there_is_no_triton(gpu, monkeypatch):
    verify(monkeypatch)
    monkeypatch.setattr(_dispatch, "_why_not_triton", lambda device_type: "not installed")
    with pytest.warns(UserWarning, match="runs on cuda for cuda tensors.*no kept run has verified"):
        assert resolve("fused_step", GPU)[0] == "cuda"


def test_verified_kernels_are_preferred_without_a_word(gpu, monkeypatch):
    verify(monkeypatch, "cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve("fused_step", GPU)[0] == "cuda"


@pytest.mark.parametrize("name", ["cuda", "triton"])
def test_who_chooses_is_not_warned(gpu, monkeypatch, name):
    verify(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve("fused_step", GPU, name)[0] == name


def test_an_unknown_op_has_no_backends():
    with pytest.raises(ValueError, match="op='nothing'; choose fused_step, normal_fill, jvp_distill_loss, "):
        genie_ext.available_backends("nothing")
