"""The table of docs/schedulers.md: python -m tests.integrations.pipelines.table, from the root of the repository."""

from __future__ import annotations

import logging

from .cases import SAME, SAME_TIMES, diffusers, ours
from .tiny_pipelines import FLOW, TABLE, Tiny, difference, result, tiny

__all__ = ["main"]

_TABLE_COLUMNS = [name for name in TABLE if name != "ddim"]


def _cell(made: Tiny, theirs: object, mine: object) -> str:
    try:
        expected = result(made, theirs)
    except (TypeError, ValueError, AttributeError):
        return "no"  # their class does not run in this pipeline
    return f"{difference(result(made, mine), expected):.0e}"


def _rows() -> list[list[str]]:
    rows = [["scheduler", *_TABLE_COLUMNS], ["---"] * (1 + len(_TABLE_COLUMNS))]
    pipelines = {name: tiny(name) for name in _TABLE_COLUMNS}
    for name, pair in SAME.items():
        rows.append([name, *(_cell(made, *pair.made(made.config)) for made in pipelines.values())])
    return rows


def _flow_rows() -> list[list[str]]:
    euler, heun = diffusers.FlowMatchEulerDiscreteScheduler, diffusers.FlowMatchHeunDiscreteScheduler
    columns = ["Euler", "Heun", *(name for name in SAME_TIMES if name != "UniPC")]
    rows = [["pipeline", *columns], ["---"] * (1 + len(columns))]
    for name in FLOW:
        made = tiny(name)
        config = {"shift": made.config["flow_shift"]} if "flow_shift" in made.config else made.config
        pairs = [
            (euler.from_config(config), ours.FlowMatchScheduler.from_config(config, solver="euler")),
            (heun(shift=3.0), ours.FlowMatchScheduler(shift=3.0, solver="heun")),
            *(pair.made({}) for method, pair in SAME_TIMES.items() if method != "UniPC"),
        ]
        rows.append([name, *(_cell(made, *pair) for pair in pairs)])
    return rows


def main() -> None:
    """Print both tables."""
    logging.getLogger("diffusers").setLevel(logging.CRITICAL)
    for rows in (_rows(), _flow_rows()):
        print("\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n")


if __name__ == "__main__":
    main()
