"""Steps of the schedulers for pipelines beside those of diffusers: time, torch operations, waits for the host, graphs.

python -m benchmarks.schedulers [--out FILE.json] [--quick]

Writes FILE.json and the tables to FILE.md, and prints them. Both run the same 20 steps of the same outputs, without a
network; a case whose last states differ is not timed. ``set_timesteps`` is timed apart: the first of a configuration,
and one that repeats the last. Theirs / ours within one run; see benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import diffusers
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import genie_samplers as gs
from genie_ext import StepRows, prepare_rows
from genie_samplers.integrations import diffusers as integration
from genie_samplers.integrations.diffusers.built import built

from .case import FULL, QUICK, Case, Competitor, Settings, shape_text
from .machine import describe_machine, describe_versions
from .measure import measure_case
from .report import write_tables

__all__ = ["main"]

STEPS = 20
SHAPES = ((1, 4, 64, 64), (8, 4, 64, 64), (1, 4096, 64), (1, 16, 21, 90, 160))  # latents of SD, 8 of them, FLUX, Wan
_OUTPUTS = 4  # different ones, or every multistep method would be DDIM
_ROUNDINGS_PER_STEP = 40
ours: Any = integration


@dataclass(frozen=True)
class Pair:
    """A class of diffusers, ours, and the options of both; own: of ours alone."""

    theirs: str
    ours: str
    options: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)

    def made(self) -> tuple[Any, Any]:
        """Ours and theirs."""
        theirs = getattr(diffusers, self.theirs)(**self.options)
        return getattr(ours, self.ours)(**self.options, **self.own), theirs


PAIRS = {
    "DDIM": Pair("DDIMScheduler", "DDIMScheduler", {"clip_sample": False}),
    "DDPM": Pair("DDPMScheduler", "DDPMScheduler", {"clip_sample": False}),
    "PNDM": Pair("PNDMScheduler", "PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1}),
    "DEIS": Pair("DEISMultistepScheduler", "DEISScheduler"),
    "DPM++ 2M": Pair("DPMSolverMultistepScheduler", "DPMSolverMultistepScheduler"),
    "DPM++ 2M SDE": Pair(
        "DPMSolverMultistepScheduler", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}
    ),
    "UniPC": Pair("UniPCMultistepScheduler", "UniPCScheduler"),
    "Euler": Pair("EulerDiscreteScheduler", "EulerScheduler"),
    "Heun": Pair("HeunDiscreteScheduler", "HeunScheduler"),
    "flow, Euler": Pair("FlowMatchEulerDiscreteScheduler", "FlowMatchScheduler", {"shift": 3.0}, {"solver": "euler"}),
}


def run(scheduler: Any, start: Tensor, outputs: Sequence[Tensor]) -> Tensor:
    """The steps of a pipeline, given outputs in place of a network's."""
    x = start
    for number, t in enumerate(scheduler.timesteps):
        x = scheduler.step(outputs[number % len(outputs)], t, x, return_dict=False)[0]
    return x


# --- times


def step_cases(settings: Settings) -> Iterator[Case]:
    for name, pair in PAIRS.items():
        for shape in settings.shapes:
            start, *outputs = torch.randn(1 + _OUTPUTS, *shape, generator=torch.Generator().manual_seed(0))
            mine, theirs = pair.made()
            mine.set_timesteps(STEPS)
            count = len(mine.timesteps)
            competitors = [
                _steps(label, scheduler, count, start, outputs)
                for label, scheduler in (("ours", mine), ("diffusers", theirs))
            ]
            yield Case(f"{name} {shape_text(shape)}", competitors, _disagreement(mine, theirs, start, outputs))


def _steps(name: str, scheduler: Any, count: int, start: Tensor, outputs: Sequence[Tensor]) -> Competitor:
    def steps() -> Tensor:
        return run(scheduler, start, outputs)

    # their schedulers count steps, so each run needs a restart
    return Competitor(name, steps, lambda: scheduler.set_timesteps(STEPS), repeatable=False, units=count)


def _disagreement(mine: Any, theirs: Any, start: Tensor, outputs: Sequence[Tensor]) -> Callable[[], str | None]:
    def disagreement() -> str | None:
        ends = []
        for scheduler in (mine, theirs):
            torch.manual_seed(0)
            scheduler.set_timesteps(STEPS)
            ends.append(run(scheduler, start, outputs).double())
        error = float((ends[0] - ends[1]).abs().max() / ends[1].abs().max())
        allowed = STEPS * _ROUNDINGS_PER_STEP * 2.0**-24
        return None if error <= allowed else f"the last state differs by {error:.3g} of its largest entry"

    return disagreement


def set_timesteps_times(pair: Pair, rounds: int) -> dict[str, float]:
    """Seconds: ours the first time and again, theirs."""

    def seconds(scheduler: Any) -> float:
        begin = time.perf_counter()
        scheduler.set_timesteps(STEPS)
        return time.perf_counter() - begin

    _, theirs = pair.made()
    found: dict[str, list[float]] = {"first": [], "again": [], "diffusers": []}
    for _ in range(rounds):
        built.cache_clear()
        mine, _ = pair.made()
        found["first"].append(seconds(mine))
        found["again"].append(seconds(mine))
        found["diffusers"].append(seconds(theirs))
    return {name: median(values) for name, values in found.items()}


# --- counts


class _Counting(TorchDispatchMode):
    """Operations of torch that run, and those among them that wait for the device to hand a number to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        self.reads += func is torch.ops.aten._local_scalar_dense.default  # type: ignore[attr-defined]
        return func(*args, **(kwargs or {}))


def counted(scheduler: Any, start: Tensor, outputs: Sequence[Tensor]) -> dict[str, float]:
    """Per step of a second run: the first makes what is kept."""
    scheduler.set_timesteps(STEPS)
    run(scheduler, start, outputs)
    scheduler.set_timesteps(STEPS)
    with _Counting() as counting:
        run(scheduler, start, outputs)
    count = len(scheduler.timesteps)
    return {"operations": counting.operations / count, "reads": counting.reads / count}


def graphs(scheduler: Any, start: Tensor, outputs: Sequence[Tensor]) -> int:
    """How many torch.compile makes of the loop over the steps."""
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    scheduler.set_timesteps(STEPS)
    counter = CompileCounter()
    torch.compile(run, backend=counter)(scheduler, start, outputs)
    return counter.frame_count


# --- a whole generation


def share_of_a_generation(pair: Pair, rounds: int) -> dict[str, float]:
    """Seconds of 20 evaluations of the embedded network, one image, and what part of them is the scheduler's."""
    network, x = gs.demo.embedded(), torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    label = {"class_labels": torch.tensor([3])}
    found: dict[str, list[float]] = {}
    for name, scheduler in zip(("ours", "diffusers"), pair.made(), strict=True):
        for _ in range(rounds):
            begin, inside = time.perf_counter(), 0.0
            scheduler.set_timesteps(STEPS)
            state = x
            for t in scheduler.timesteps:
                output = network(state, t.float().expand(1), **label)
                before = time.perf_counter()
                state = scheduler.step(output, t, state, return_dict=False)[0]
                inside += time.perf_counter() - before
            whole = time.perf_counter() - begin
            found.setdefault(f"{name}, whole", []).append(whole)
            found.setdefault(f"{name}, share", []).append(inside / whole)
    return {name: median(values) for name, values in found.items()}


# --- what a step cannot do without


def floor(start: Tensor, output: Tensor, calls: int = 2000) -> dict[str, float]:
    """Seconds of a new tensor; of that and one native call, which is what a step is made of; of one addition."""
    plan = gs.make_plan("ddim", gs.schedules.vp_linear(), nfe=1)
    rows = prepare_rows(StepRows(plan.packed_layout, torch.tensor(plan.table).float(), torch.empty_like(start)))
    works: dict[str, Callable[[], object]] = {
        "torch.empty_like": lambda: torch.empty_like(start),
        "torch.empty_like and a native row": lambda: rows.move(0, start, (output,)),
        "torch.add": lambda: start + output,
    }
    return {name: min(_seconds(work, calls // 20) for _ in range(20)) for name, work in works.items()}


def _seconds(work: Callable[[], object], calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - begin) / calls


# --- all of it


@torch.no_grad()
def measured(settings: Settings, rounds: int) -> dict[str, Any]:
    start, *outputs = torch.randn(1 + _OUTPUTS, *SHAPES[0], generator=torch.Generator().manual_seed(0))
    counts: dict[str, Any] = {}
    for name, pair in PAIRS.items():
        mine, theirs = (counted(scheduler, start, outputs) for scheduler in pair.made())
        compiled = [graphs(s, start, outputs) if settings.compiled else None for s in pair.made()]
        counts[name] = {
            "ours": {**mine, "graphs": compiled[0]}, "diffusers": {**theirs, "graphs": compiled[1]},
            "set_timesteps": set_timesteps_times(pair, rounds),
        }  # fmt: skip
    return {
        "steps": [measure_case(case, settings) for case in step_cases(settings)],
        "counts": counts,
        "floor": floor(start, outputs[0]),
        "generation": {name: share_of_a_generation(PAIRS[name], 3) for name in ("DPM++ 2M", "UniPC")},
    }


def tables(report: dict[str, Any]) -> list[str]:
    """Of times per step, of its least parts, of counts and set_timesteps, of a whole generation; Markdown."""
    steps = [["case", "ours, us per step", "diffusers, us", "diffusers / ours"], ["---"] * 4]
    for case in report["steps"]:
        if case["disagreement"]:
            steps.append([case["case"], case["disagreement"], "-", "-"])
            continue
        seconds = {
            name: f"{value['median'] * 1e6:.3g} ({value['minimum'] * 1e6:.3g})"
            for name, value in case["seconds"].items()
        }
        ratio = case["ratios"]["diffusers"]
        steps.append([case["case"], *seconds.values(), f"{ratio['of_medians']:.3g} ({ratio['of_minima']:.3g})"])
    heads = ["ours", "diffusers"]
    counts = [["scheduler", *(f"{what}, {who}" for what in ("operations", "host reads", "graphs") for who in heads),
               "set_timesteps first, us", "again, us", "diffusers, us"], ["---"] * 10]  # fmt: skip
    for name, values in report["counts"].items():
        cells = [values[who][what] for what in ("operations", "reads", "graphs") for who in heads]
        own = (f"{values['set_timesteps'][key] * 1e6:.3g}" for key in ("first", "again", "diffusers"))
        counts.append([name, *("-" if cell is None else f"{cell:.3g}" for cell in cells), *own])
    whole = [["generation of 20 evaluations, embedded network", "ours", "diffusers"], ["---"] * 3]
    for name, values in report["generation"].items():
        cells = (f"{values[f'{who}, whole'] * 1e3:.3g} ms, {values[f'{who}, share']:.2%} in step" for who in heads)
        whole.append([name, *cells])
    least = [["at the first size, least time", "us"], ["---"] * 2]
    least += [[name, f"{seconds * 1e6:.3g}"] for name, seconds in report["floor"].items()]
    return ["\n".join("| " + " | ".join(row) + " |" for row in table) for table in (steps, least, counts, whole)]


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedulers", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "latest_schedulers.json")
    parser.add_argument("--quick", action="store_true", help="one size, few rounds, no compiling")
    options = parser.parse_args(given)
    logging.getLogger("diffusers").setLevel(logging.ERROR)  # a note at every step of Euler's without its model input
    base = QUICK if options.quick else FULL
    settings = Settings(
        shapes=SHAPES[:1] if options.quick else SHAPES, rounds=base.rounds, block_seconds=base.block_seconds,
        case_seconds=min(base.case_seconds, 3.0), compiled=base.compiled,
    )  # fmt: skip
    report = {
        "command": shlex.join(["python", "-m", "benchmarks.schedulers", *given]),
        "date": date.today().isoformat(),
        "machine": describe_machine("cpu"),
        "versions": describe_versions(),
        **measured(settings, 3 if options.quick else 15),
    }
    print(write_tables("Schedulers for pipelines", report, tables(report), options.out))
    return int(any(case["disagreement"] for case in report["steps"]))


if __name__ == "__main__":
    sys.exit(main())
