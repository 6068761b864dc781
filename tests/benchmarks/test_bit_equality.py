"""The comparison that a GPU machine runs finds a wrong bit, a launch that fails and a backend that is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import bit_equality
from benchmarks.bit_cases import Case, Results, cases
from benchmarks.bit_equality import Lane, compare, main

CPU = Lane("cpu", "cpu")
SMALL = [case for case in cases(quick=True) if "1x" in case.name or "one element" in case.name or "f64" in case.name]


def wrong_in_the_last_bit(backend: str, device: str) -> Results:
    x = torch.ones(3, 4)
    if backend != "reference":
        x.view(torch.int32)[1, 2] += 1
    return {"out": x}


def failing(backend: str, device: str) -> Results:
    if backend != "reference":
        raise RuntimeError("launch failed: grid (1, 1)")
    return {"out": torch.ones(1, 1)}


def quiet_nan(backend: str, device: str) -> Results:
    payload = 0x7FC00000 if backend == "reference" else -0x3FFFFF
    return {"out": torch.tensor([payload], dtype=torch.int32).view(torch.float32)}


def incomplete(backend: str, device: str) -> Results:
    results = {"out": torch.ones(1), "aux": torch.ones(1)}
    return results if backend == "reference" else {"out": results["out"]}


@pytest.mark.parametrize(
    ("run", "finding"),
    [
        (wrong_in_the_last_bit, r"out: 1 of 12 elements differ, the first at (1, 2)"),
        (failing, "RuntimeError: launch failed: grid (1, 1)"),
        (incomplete, "wrote ['out'], the reference ['out', 'aux']"),
    ],
)
def test_what_is_wrong_is_found(run, finding: str) -> None:
    assert finding in str(compare(Case("case", run), [CPU])["differences"])


def test_a_backend_without_a_version_of_the_op_is_left_out() -> None:
    """Triton has none of sum_of_squares; what it has is compared."""
    (case,) = (case for case in cases(quick=True) if case.name == "sum_of_squares f32 3x1023")
    assert compare(case, [CPU, Lane("triton", "cpu")])["differences"] == {"cpu on cpu": None}


def test_nan_payloads_may_differ() -> None:
    assert compare(Case("case", quiet_nan), [CPU])["differences"] == {"cpu on cpu": None}


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_the_cpu_backend_has_the_bits_of_the_reference(case: Case) -> None:
    assert compare(case, [CPU])["differences"] == {"cpu on cpu": None}


def test_names_are_unique() -> None:
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("run", "status"), [(quiet_nan, 0), (wrong_in_the_last_bit, 1)])
def test_a_run_writes_what_it_found_and_fails_on_a_difference(
    run, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bit_equality, "cases", lambda quick: [Case("toy", run)])
    out = tmp_path / "new" / "bits.json"
    assert main(["--out", str(out), "--only", "cpu", "--require", "cpu"]) == status
    report = json.loads(out.read_text())
    assert report["lanes"] == ["reference on cpu", "cpu on cpu"]
    assert [result["case"] for result in report["results"]] == ["toy"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_required_backend_that_is_not_here_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--require", "cuda"]) == 2
    assert "cuda is not here: " in capsys.readouterr().out
