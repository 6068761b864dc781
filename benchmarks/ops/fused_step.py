"""fused_step on rows of real plans, against a copy of the same total bytes, eager and compiled.

Timed as the engine calls it: building the call, flattening it and the kernel, without the checks
of the public function. The eager formula knows its coefficients in advance and stores no history
where the network's output can serve, so both baselines do a little less than the op.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext import SLOT, FusedStepCall, Noise, normal_fill, prepare
from genie_samplers.plan import Plan

from ..case import Benchmark, Case, Competitor, Settings, shape_text

__all__ = ["BENCHMARK"]

# (solver, options, dtype of the network); the state is float32
_ROWS = (
    ("ddim", {}, torch.float32),
    ("deis_tab3", {}, torch.float32),
    ("ddim", {}, torch.bfloat16),
    ("deis_tab3", {}, torch.bfloat16),
    ("ddim", {"eta": 1.0}, torch.float32),
)
# The last row but one: history full, output stored for the last, and alpha'/alpha so near one that
# a state stays finite over thousands of repetitions in place.
_ROW = -2

Formula = Callable[..., dict[str, Tensor]]


def _cases(settings: Settings) -> Iterator[Case]:
    schedule = gs.schedules.vp_linear()
    for solver, options, dtype in _ROWS:
        plan = gs.make_plan(solver, schedule, nfe=settings.steps, options=options)
        name = " ".join([solver, *(f"{k}={v:g}" for k, v in options.items())])
        for shape in settings.shapes:
            row = _Row(plan, _Tensors.make(plan, shape, dtype, settings.device))
            yield _case(f"{name} {shape_text(shape)} {str(dtype)[6:]}", row, settings.compiled)


@dataclass
class _Tensors:
    start: Tensor
    x: Tensor
    output: Tensor
    history: list[Tensor]
    stored: Tensor | None
    x_in: Tensor | None
    noise: Noise
    nonfinite: Tensor

    @staticmethod
    def make(plan: Plan, shape: Sequence[int], dtype: torch.dtype, device: str) -> _Tensors:
        layout = plan.layout[_ROW]
        start = torch.randn(tuple(shape), device=device)
        ids = torch.arange(shape[0], device=device)
        return _Tensors(
            start=start,
            x=start.clone(),
            output=torch.randn_like(start).to(dtype),
            history=[torch.randn_like(start) for _ in layout.history],
            stored=None if layout.store[0] is None else torch.empty_like(start),
            x_in=None if dtype == start.dtype else torch.empty_like(start, dtype=dtype),
            noise=Noise(torch.tensor([5], device=device), ids),
            nonfinite=torch.zeros(shape[0], dtype=torch.int32, device=device),
        )


class _Row:
    """One row on one set of tensors: the op, the same as a person writes it, and the truth."""

    def __init__(self, plan: Plan, tensors: _Tensors) -> None:
        self.t, self.layout, self.weights = tensors, plan.layout[_ROW], plan.rows[_ROW].x
        device = tensors.x.device
        table = torch.from_numpy(plan.table[_ROW, : self.layout.columns].copy())
        self.coefficients = table.to(device, torch.float32)
        call = FusedStepCall(
            x=tensors.x, outputs=(SLOT,), history=tensors.history, row=self.coefficients,
            converted=1, aux=None, draws=self.layout.draws, noise=tensors.noise, out=tensors.x,
            aux_out=None, stored=(tensors.stored,), x_in=tensors.x_in, nonfinite=tensors.nonfinite,
        )  # fmt: skip
        self.prepared = prepare("fused_step", call)

    def reset(self) -> None:
        self.t.x.copy_(self.t.start)

    def fused(self) -> dict[str, Tensor | None]:
        self.prepared((self.t.output,))
        return {"x": self.t.x, "y": self.t.stored, "x_in": self.t.x_in}

    def formula(self) -> Formula:
        """The row in plain torch; z: the noise, None draws it."""
        a, (b,), past, scales = (
            self.weights.x, self.weights.y, self.weights.history, self.weights.draws,
        )  # fmt: skip
        network_dtype = self.t.output.dtype
        narrow, stores = network_dtype != torch.float32, self.t.stored is not None

        def step(x: Tensor, output: Tensor, history: Sequence[Tensor], z: Tensor | None = None) -> dict[str, Tensor]:
            y = output.float()
            x_next = a * x + b * y
            for c, older in zip(past, history, strict=True):
                x_next = x_next + c * older
            for c in scales:
                x_next = x_next + c * (torch.randn_like(x) if z is None else z)
            results = {"x": x_next}
            if narrow:
                results["x_in"] = x_next.to(network_dtype)
                if stores:
                    results["y"] = y
            return results

        return step

    def bytes(self) -> int:
        """Read and written; x counts twice, as it is updated in place."""
        t = self.t
        tensors = [t.x, t.x, t.output, *t.history, t.stored, t.x_in]
        return sum(v.numel() * v.element_size() for v in tensors if v is not None)

    def draws(self) -> list[Tensor]:
        return [normal_fill(torch.empty_like(self.t.x), noise=self.t.noise, draw=d) for d in self.layout.draws]

    def disagreement(self, formulas: dict[str, Formula]) -> str | None:
        """Compare every competitor's results with float64, to the roundings of float32."""
        t, w, draws = self.t, self.weights, self.draws()
        values = [t.start, t.output, *t.history, *draws]
        terms = [
            c * v.double()
            for c, v in zip((w.x, *w.y, *w.history, *w.draws), values, strict=True)
        ]  # fmt: skip
        expected = torch.stack(terms).sum(0)
        # per term: its coefficient, its product and every sum are rounded; one to spare for float64
        slack = (len(terms) + 3) * 2.0**-24 * torch.stack(terms).abs().sum(0)
        truth = {
            "x": (expected, slack),
            "y": (t.output.double(), torch.zeros_like(expected)),
            "x_in": (expected, slack + 2.0**-8 * (expected.abs() + slack)),  # bfloat16: 8 bits
        }
        self.reset()
        results: dict[str, Mapping[str, Tensor | None]] = {"fused_step": self.fused()}
        for name, formula in formulas.items():
            results[name] = formula(t.start, t.output, t.history, *draws)
        for name, tensors in results.items():
            for key, value in tensors.items():
                if value is not None and (why := _differs(value, *truth[key])):
                    return f"{name}: {key} {why}"
        return None


def _differs(value: Tensor, expected: Tensor, slack: Tensor) -> str | None:
    error = (value.double() - expected).abs()
    if bool((error <= slack).all()):
        return None
    return f"is off by up to {float(error.max()):.3g}; rounding explains {float(slack.max()):.3g}"


def _case(name: str, row: _Row, compiled: bool) -> Case:
    formula = row.formula()
    formulas, absent = {"eager": formula}, {}
    if compiled:
        try:
            formulas["torch.compile"] = _compile(row, formula)
        except Exception as error:  # any reason that this machine cannot compile, reported as it is
            absent["torch.compile"] = f"{type(error).__name__}: {error}".strip()[:300]
    t, half = row.t, row.bytes() // 8
    source, target = torch.ones(2, half, device=t.x.device)
    competitors = [
        Competitor("fused_step", row.fused, prepare=row.reset),
        Competitor("copy", partial(target.copy_, source)),
        *(Competitor(key, partial(plain, t.start, t.output, t.history)) for key, plain in formulas.items()),
    ]
    return Case(name, competitors, partial(row.disagreement, formulas), row.bytes(), absent=absent)


def _compile(row: _Row, formula: Formula) -> Formula:
    """Compiled for these shapes and called once; nothing of earlier cases counts as recompiling."""
    torch._dynamo.reset()
    compiled = torch.compile(formula, dynamic=False, fullgraph=True)
    compiled(row.t.start, row.t.output, row.t.history)
    return compiled


BENCHMARK = Benchmark(
    "fused_step",
    unit="call",
    summary="one row, against a copy of the same total bytes, eager torch and torch.compile",
    cases=_cases,
)
