"""python -m benchmarks.end_to_end [--out FILE.json] [--device DEVICE] [--quick]

The embedded network sampling in 10 evaluations: all of it, the network alone, the sampler alone, and on a GPU the same
from a CUDA graph. ``genie_samplers.sample`` as a whole cannot be captured, since it uploads its tables and reads the
finiteness flags; a ``PlanState`` between them can, and ``Loop`` is one.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext import Noise
from genie_samplers.run import Start, run_rows

from .case import FULL, QUICK, Case, Competitor, Settings
from .machine import describe_machine, describe_versions
from .measure import measure_case
from .report import write

__all__ = ["Loop", "cases", "main", "shares"]

_SOLVER, _NFE, _IMAGE = "deis_tab2", 10, (1, 28, 28)
_BATCHES, _QUICK_BATCHES = (1, 16, 64), (1,)
_OTHER_SEED = 7
# Of images in [-1, 1]. The network may round otherwise in a graph; noise kept from the capture is off by far more.
_SAME_IMAGE = 1e-2

Network = Callable[[Tensor, Tensor], Tensor]


class Loop:
    """Sampling with every tensor allocated beforehand: no upload, no wait, so a CUDA graph can hold it."""

    def __init__(self, network: Network, plan: gs.Plan, labels: Tensor) -> None:
        """labels: float32 [rows, B], on the device to run on."""
        device, batch = labels.device, labels.shape[1]
        self.network, self.labels = network, labels
        self.seed = torch.zeros(1, dtype=torch.int64, device=device)
        self.noise = Noise(self.seed, torch.arange(batch, device=device))
        self.empty = torch.empty(batch, *_IMAGE, device=device)  # never read
        program = gs.Program.of(plan, device=device)
        self.state = gs.PlanState(program, self.empty, self.noise, start=Start(0.0, plan.init.scale))

    @property
    def x(self) -> Tensor:
        return self.state.x

    def run(self) -> Tensor:
        """The images of ``seed``, [B, 1, 28, 28]; the same tensor each time."""
        self.state.restart(self.empty)
        return run_rows(self.state, lambda call, state: self.network(state.model_input, self.labels[call.row])).x


def cases(settings: Settings, batches: Sequence[int]) -> Iterator[Case]:
    schedule = gs.schedules.vp_linear()
    plan = gs.make_plan(_SOLVER, schedule, nfe=_NFE)
    model = gs.demo.embedded(settings.device)
    times = model.label(np.asarray(plan.times))
    for batch in batches:
        labels = torch.tensor(times, dtype=torch.float32, device=settings.device)[:, None].repeat(1, batch)
        yield _case(plan, model, labels)


def _case(plan: gs.Plan, model: Any, labels: Tensor) -> Case:
    """Three calls of the library, and the same three as loops of a graph (on the CPU: as loops)."""
    shape, device = (labels.shape[1], *_IMAGE), labels.device
    reply, x = (torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device) for seed in (0, 1))

    def replay(x: Tensor, t: Tensor) -> Tensor:
        return reply

    def network_alone() -> None:
        for label in labels:
            model(x, label)

    sample = {name: partial(gs.sample, network, plan, shape=shape, device=device) for name, network in
              (("sample", model), ("sampler alone", replay))}  # fmt: skip
    loops = {"sample": Loop(model, plan, labels), "sampler alone": Loop(replay, plan, labels)}
    kind, ready = ("graph", _captured) if labels.is_cuda else ("loop", _as_it_is)
    looped = {name: ready(loop.run) for name, loop in loops.items()} | {"network alone": ready(network_alone)}
    competitors = [Competitor(name, run) for name, run in (sample | {"network alone": network_alone}).items()]
    competitors += [Competitor(f"{kind}: {name}", run) for name, run in looped.items()]
    return Case(f"{shape[0]} images", competitors, partial(_disagreement, sample, loops, looped))


def _disagreement(
    sample: Mapping[str, Callable[..., Tensor]], loops: Mapping[str, Loop], looped: Mapping[str, Callable[[], object]]
) -> str | None:
    """Another seed than the one captured: the sampler alone has the same bits, with the network the same images."""
    for name, loop in loops.items():
        expected = sample[name](seed=_OTHER_SEED)
        loop.seed.fill_(_OTHER_SEED)
        looped[name]()
        error = float((loop.x - expected).abs().max())
        if not error <= (_SAME_IMAGE if name == "sample" else 0.0):  # nor is NaN the same
            return f"loop: {name} is off by up to {error:.3g}"
    return None


def _as_it_is(run: Callable[[], object]) -> Callable[[], object]:
    return run


def _captured(run: Callable[[], object]) -> Callable[[], object]:
    """``run`` as one CUDA graph, warmed up on a stream of its own as capturing asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def shares(results: Sequence[Mapping[str, Any]]) -> str:
    """The sampler's share of the time, as a Markdown table."""
    rows = ["| images | ms per call | sampler | ms per loop | sampler in the loop |", "| --- | --- | --- | --- | --- |"]
    for case in results:
        medians = {name: seconds["median"] for name, seconds in case["seconds"].items()}
        if not medians:
            continue
        loop = next(name.partition(":")[0] for name in medians if ":" in name)
        cells = [case["case"].split()[0]]
        for prefix in ("", f"{loop}: "):
            whole, sampler = medians[f"{prefix}sample"], medians[f"{prefix}sampler alone"]
            cells += [f"{whole * 1e3:.4g}", f"{sampler / whole:.2%}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(["## The sampler's share of the time", "", *rows, ""])


@torch.no_grad()
def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    settings = replace(QUICK if options.quick else FULL, device=options.device)
    batches = _QUICK_BATCHES if options.quick else _BATCHES
    results = [measure_case(case, settings) for case in cases(settings, batches)]
    report = {
        "command": shlex.join(["python", "-m", "benchmarks.end_to_end", *given]),
        "date": date.today().isoformat(),
        "machine": describe_machine(settings.device),
        "versions": describe_versions(),
        "results": [{"benchmark": "end_to_end", "unit": "call", "cases": results,
                     "summary": f"the embedded network, {_SOLVER}, {_NFE} evaluations"}],
    }  # fmt: skip
    table = write(report, options.out) + "\n" + shares(results)
    options.out.with_suffix(".md").write_text(table)
    print(table)
    return int(any(case["disagreement"] for case in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__)
    out = Path(__file__).parent / "results" / "latest.end_to_end.json"
    parser.add_argument("--out", type=Path, default=out, metavar="FILE.json")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--quick", action="store_true", help="one image, few rounds")
    return parser


if __name__ == "__main__":
    sys.exit(main())
