"""A run as JSON, and the same as a Markdown table beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["markdown", "write", "write_tables"]


def write(report: Mapping[str, Any], path: Path) -> str:
    """Write ``path`` and the table to the same name with .md; return the table."""
    return _written(report, markdown(report), path)


def _written(report: Mapping[str, Any], text: str, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    path.with_suffix(".md").write_text(text)
    return text


def write_tables(title: str, report: Mapping[str, Any], tables: Sequence[str], path: Path) -> str:
    """The same of a report with tables of its own."""
    return _written(report, "\n\n".join([f"# {title}", _facts(report), *tables]) + "\n", path)


def _facts(report: Mapping[str, Any]) -> str:
    machine, versions = report["machine"], report["versions"]
    facts = {
        "command": f"`{report['command']}` on {report['date']}",
        "machine": ", ".join(f"{k} {v}" for k, v in machine.items() if v is not None),
        "versions": ", ".join(f"{k} {v}" for k, v in versions.items()),
    }
    return "\n".join(f"* {key}: {value}" for key, value in facts.items())


def markdown(report: Mapping[str, Any]) -> str:
    explained = (
        "Times are median (minimum) over rounds in which the competitors take turns. "
        "Ratios are their time / ours within this run: of the medians (of the minima)."
    )
    sections = [_section(result) for result in report["results"]]
    return "\n\n".join(["# Benchmarks", _facts(report), explained, *sections]) + "\n"


def _section(result: Mapping[str, Any]) -> str:
    cases = result["cases"]
    others = list(dict.fromkeys(name for case in cases for name in case["ratios"]))
    moves = any(case["bytes"] for case in cases)
    header = ["case", "threads", "isa", f"us per {result['unit']}", *(["GB/s"] if moves else [])]
    rows = [[*header, *others], ["---"] * (len(header) + len(others))]
    rows += [_row(case, others, moves) for case in cases]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    notes = "\n".join(_notes(cases))
    title = f"## {result['benchmark']}: {result['summary']}"
    return "\n\n".join(part for part in (title, table, notes) if part)


def _row(case: Mapping[str, Any], others: Sequence[str], moves: bool) -> list[str]:
    cells = [case["case"], str(case["threads"]), case["isa"] or "-"]
    if case["disagreement"]:
        return [*cells, "outputs disagree", *["-"] * (moves + len(others))]
    ours = next(iter(case["seconds"].values()))
    cells.append(f"{ours['median'] * 1e6:.4g} ({ours['minimum'] * 1e6:.4g})")
    if moves:
        cells.append(f"{case['bytes'] / ours['median'] * 1e-9:.3g}" if case["bytes"] else "-")
    ratios = [case["ratios"].get(name) for name in others]
    return cells + ["-" if r is None else f"{r['of_medians']:.3g} ({r['of_minima']:.3g})" for r in ratios]


def _notes(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """What could not be compared, and why; the same reason once."""
    notes = [f"* {c['case']}: {c['disagreement']}" for c in cases if c["disagreement"]]
    absent: dict[str, list[str]] = {}
    for case in cases:
        for name, reason in case["absent"].items():
            first_line = reason.splitlines()[0]
            absent.setdefault(f"{name} did not run: {first_line}", []).append(case["case"])
    return notes + [f"* {reason} ({len(names)} cases)" for reason, names in absent.items()]
