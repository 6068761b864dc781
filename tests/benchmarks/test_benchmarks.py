"""Benchmarks run, time what computes the same thing, and report nothing where outputs disagree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("diffusers")

import torch

from benchmarks import run as command
from benchmarks.case import Benchmark, Case, Competitor, Settings
from benchmarks.machine import isa
from benchmarks.measure import measure, measure_case
from benchmarks.ops import fused_step
from benchmarks.registry import BENCHMARKS
from benchmarks.report import markdown
from benchmarks.steps import against_diffusers

TINY = Settings(
    shapes=((1, 3, 5, 7), (3, 1, 4, 4)),
    images=((2, 3, 8, 10),),
    normals=(256,),
    rounds=2,
    block_seconds=0.0,
    case_seconds=0.0,
    compiled=False,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from a second, and a busy machine may take it away for long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def first_case(name: str, settings: Settings = TINY) -> Case:
    return next(BENCHMARKS[name].cases(settings))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_case_agrees_and_has_a_ratio_to_every_competitor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENIE_EXT_ISA", isa() or "baseline")  # no second process
    cases = measure(name, TINY)["cases"]
    assert cases
    assert [case["disagreement"] for case in cases] == [None] * len(cases)
    assert all(case["ratios"] and len(case["seconds"]) == len(case["ratios"]) + 1 for case in cases)
    assert all(s["median"] >= s["minimum"] > 0.0 for c in cases for s in c["seconds"].values())


@pytest.mark.skipif(isa() != "avx512", reason="one vector unit, so one process")
def test_normal_fill_is_measured_with_every_vector_unit() -> None:
    cases = measure("normal_fill", TINY)["cases"]
    assert {case["isa"] for case in cases} == {"avx2", "avx512"}


def test_a_compiled_formula_agrees_or_says_why_it_is_absent() -> None:
    case = first_case("fused_step", replace(TINY, compiled=True))
    names = {competitor.name for competitor in case.competitors} | set(case.absent)
    assert "torch.compile" in names
    assert case.disagreement() is None


def test_no_time_is_taken_while_outputs_disagree() -> None:
    calls: list[str] = []
    competitors = [Competitor(name, lambda: calls.append("run")) for name in ("ours", "theirs")]
    result = measure_case(Case("case", competitors, lambda: "theirs: off by 1"), TINY)
    assert (calls, result["seconds"], result["ratios"]) == ([], {}, {})
    assert result["disagreement"] == "theirs: off by 1"


def test_a_slip_in_a_coefficient_of_a_row_is_noticed() -> None:
    case = first_case("fused_step")
    row = case.disagreement.func.__self__  # type: ignore[attr-defined]
    row.coefficients[-2] *= 1.0 + 2.0**-18
    found = case.disagreement()
    assert found is not None and found.startswith("fused_step: x is off")


@pytest.mark.parametrize("key", ["x", "x_in", "y"])
def test_a_formula_that_computes_something_else_is_noticed(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    formula = fused_step._Row.formula

    def slipped(row: fused_step._Row) -> fused_step.Formula:
        exact = formula(row)

        def step(*tensors: object, **options: object) -> dict[str, torch.Tensor]:
            results = exact(*tensors, **options)
            return {k: v * 1.02 if k == key else v for k, v in results.items()}

        return step

    monkeypatch.setattr(fused_step._Row, "formula", slipped)
    found = [case.disagreement() for case in BENCHMARKS["fused_step"].cases(TINY)]
    assert any(why is not None and why.startswith(f"eager: {key} is off") for why in found)


def test_another_method_than_that_of_diffusers_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    tab = against_diffusers.gs.solvers.deis_tab
    deis = replace(against_diffusers._METHODS[1], build=lambda s, g: tab(s, g, order=2))
    monkeypatch.setattr(against_diffusers, "_METHODS", (deis,))
    found = first_case("sampler_step").disagreement()
    assert found is not None and found.startswith("diffusers: the last state differs")


def test_normals_of_another_scale_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    randn = torch.randn
    monkeypatch.setattr(torch, "randn", lambda *shape, out: randn(*shape, out=out).mul_(2.0))
    found = first_case("normal_fill", replace(TINY, normals=(4096,))).disagreement()
    assert found is not None and found.startswith("torch.randn: mean square")


def toy_benchmarks(disagreement: str | None) -> dict[str, Benchmark]:
    competitors = [Competitor(name, lambda: None) for name in ("ours", "theirs")]
    cases = [
        Case("alike", competitors, lambda: None, bytes=8),
        Case("odd", competitors, lambda: disagreement, absent={"compiled": "no compiler\nat all"}),
    ]
    return {"toy": Benchmark("toy", "call", "a toy", lambda settings: iter(cases))}


@pytest.mark.parametrize(("disagreement", "status"), [(None, 0), ("theirs: off by 1", 1)])
def test_a_run_writes_json_and_a_table_and_fails_if_outputs_disagree(
    disagreement: str | None,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    toys = toy_benchmarks(disagreement)
    monkeypatch.setattr("benchmarks.measure.BENCHMARKS", toys)
    monkeypatch.setattr("benchmarks.run.BENCHMARKS", toys)
    monkeypatch.setattr("benchmarks.run.FULL", TINY)
    out = tmp_path / "new" / "result.json"
    assert command.main(["--out", str(out)]) == status
    report = json.loads(out.read_text())
    assert report["command"] == f"python -m benchmarks.run --out {out}"
    assert {"cpu", "cores", "threads", "isa", "backend", "load_average"} <= set(report["machine"])
    assert report["versions"]["torch"] == torch.__version__
    table = out.with_suffix(".md").read_text()
    assert table == markdown(report)
    assert table in capsys.readouterr().out
    assert "* compiled did not run: no compiler (1 cases)" in table
    assert ("* odd: theirs: off by 1" in table) == bool(disagreement)
    assert ("| odd | 1 | " in table) and (("outputs disagree" in table) == bool(disagreement))
