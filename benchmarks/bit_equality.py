"""python -m benchmarks.bit_equality [--out FILE.json] [--quick] [--only BACKEND] [--require BACKEND]

Runs the same calls on every backend and device of this machine and compares the bits with those of the reference on
the CPU. Without a GPU Triton runs under its interpreter. The exit status is 1 if a bit differs, 2 if a required backend
is not here or nothing could be compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import genie_ext
from genie_ext.testing import assert_same_bits

from .bit_cases import Case, Results, cases
from .machine import describe_machine, describe_versions

__all__ = ["Lane", "compare", "lanes", "main"]


@dataclass(frozen=True)
class Lane:
    """Where a call can run."""

    backend: str
    device: str

    def __str__(self) -> str:
        return f"{self.backend} on {self.device}"


REFERENCE = Lane("reference", "cpu")
INTERPRETER = Lane("triton", "cpu")


def lanes() -> list[Lane]:
    """Every other backend and device that can run here."""
    gpu = torch.cuda.is_available()
    if not gpu:  # before triton is imported
        os.environ.setdefault("TRITON_INTERPRET", "1")
    available = genie_ext.available_backends("fused_step")
    home = {"cpu": "cpu", "cuda": "cuda", "triton": "cuda" if gpu else "cpu"}
    native = [Lane(backend, device) for backend, device in home.items() if backend in available]
    return [*native, *([Lane("reference", "cuda")] if gpu else [])]


def compare(case: Case, others: Sequence[Lane]) -> dict[str, object]:
    """The reference's digest, and per lane None or what differs."""
    expected = case.run(REFERENCE.backend, REFERENCE.device)
    has = (*genie_ext.available_backends(case.op), REFERENCE.backend) if case.op else None
    chosen = [
        lane for lane in others if (case.interpreted or lane != INTERPRETER) and (has is None or lane.backend in has)
    ]
    differences = {str(lane): _difference(case, lane, expected) for lane in chosen}
    return {"case": case.name, "digest": _digest(expected), "differences": differences}


def _difference(case: Case, lane: Lane, expected: Results) -> str | None:
    try:
        actual = case.run(lane.backend, lane.device)
        if actual.keys() != expected.keys():
            return f"wrote {list(actual)}, the reference {list(expected)}"
        for name, tensor in actual.items():
            assert_same_bits(tensor, expected[name], name)
    except Exception as error:  # a launch that failed is a finding like any other, and the next case may work
        return f"{type(error).__name__}: {error}"
    return None


def _digest(results: Results) -> str:
    """Of names and bits; NaN payloads are not portable, so all NaN count as one."""
    digest = hashlib.md5()
    for name, tensor in sorted(results.items()):
        plain = tensor.masked_fill(tensor.isnan(), float("nan")) if tensor.is_floating_point() else tensor
        digest.update(name.encode() + plain.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    found = [lane for lane in lanes() if options.only in (None, lane.backend)]
    missing = set(options.require) - {lane.backend for lane in found}
    if missing or not found:
        state = genie_ext.backends()["fused_step"]
        print("\n".join(f"{name} is not here: {state[name]}" for name in sorted(missing)) or "nothing to compare with")
        return 2
    device = "cuda" if torch.cuda.is_available() else "cpu"
    results = [compare(case, found) for case in cases(options.quick)]
    report = {
        "machine": describe_machine(device), "versions": describe_versions(),
        "lanes": [str(lane) for lane in (REFERENCE, *found)], "results": results,
    }  # fmt: skip
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    wrong = [
        f"{result['case']}: {lane}: {why}"
        for result in results
        for lane, why in result["differences"].items()  # type: ignore[attr-defined]
        if why
    ]
    print("\n".join([*wrong, f"{len(results)} cases on {', '.join(report['lanes'])}: {len(wrong)} differences"]))
    return int(bool(wrong))


def _parser() -> argparse.ArgumentParser:
    names = ("cpu", "cuda", "triton")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bit_equality", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    parser.add_argument("--quick", action="store_true", help="without the cases of more than 2^16 samples or elements")
    parser.add_argument("--only", choices=names, help="compare this backend with the reference and no other")
    parser.add_argument("--require", action="append", default=[], choices=names, help="fail where it cannot run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
