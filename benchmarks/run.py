"""python -m benchmarks.run [--only NAME] [--out FILE.json] [--quick] [--device DEVICE]

Writes FILE.json and the same as a table to FILE.md, and prints the table. The exit status is 1 if
any outputs disagree: then the numbers of that case are not taken.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from .case import FULL, QUICK, Settings
from .machine import describe_machine, describe_versions
from .measure import measure
from .registry import BENCHMARKS
from .report import write

__all__ = ["main", "run"]

_RESULTS = Path(__file__).parent / "results"


def run(names: Sequence[str], settings: Settings, command: str) -> dict[str, Any]:
    """Measure and return the report."""
    return {
        "command": command,
        "date": date.today().isoformat(),
        "machine": describe_machine(settings.device),
        "versions": describe_versions(),
        "results": [measure(name, settings) for name in names],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    settings = replace(QUICK if options.quick else FULL, device=options.device)
    command = shlex.join(["python", "-m", "benchmarks.run", *given])
    report = run(options.only or list(BENCHMARKS), settings, command)
    print(write(report, options.out))
    cases = [case for result in report["results"] for case in result["cases"]]
    return int(any(case["disagreement"] for case in cases))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHMARKS, metavar="NAME",
                        help=f"one of {', '.join(BENCHMARKS)}; may be given again")  # fmt: skip
    parser.add_argument("--out", type=Path, default=_RESULTS / "latest.json", metavar="FILE.json")
    parser.add_argument("--quick", action="store_true", help="two sizes, few rounds, no compiling")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    return parser


if __name__ == "__main__":
    sys.exit(main())
