"""Calls of the ops and of whole samplers whose bits must not depend on backend or device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext import Noise, normal_fill, sum_of_squares
from genie_ext.testing import LossCase, SentinelView, StepCase, run_loss, run_step

__all__ = ["Case", "Results", "cases"]

F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
DTYPES = {"f32": F32, "f64": F64, "f16": F16, "bf16": BF16}
LARGE = 2**20 + 5  # more than the blocks of one launch cover at once, and no multiple of a vector
MANY = 65537  # samples: more than a grid has rows

Results = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """``run(backend, device)`` returns what was written, on the CPU. large: left out of a quick run.

    interpreted: False where Triton's interpreter would take an hour, a program of it being milliseconds. op: of which
    not every backend has a version, whose others are left out; "" where all run the case.
    """

    name: str
    run: Callable[[str, str], Results]
    large: bool = False
    interpreted: bool = True
    op: str = ""


def cases(quick: bool = False) -> Iterator[Case]:
    for case in (*_fills(), *_steps(), *_losses(), *_norms(), *_plans()):
        if not (quick and case.large):
            yield case


def _fills() -> Iterator[Case]:
    for name, dtype in DTYPES.items():
        for shape in ((3, 1), (3, 127), (2, 4099), (1, LARGE)):
            run = partial(_fill, dtype, shape)
            yield Case(f"normal_fill {name} {shape[0]}x{shape[1]}", run, large=shape[1] == LARGE)
    for draw, stream, seed in ((2**32 - 1, 0, 2**63 - 1), (16, 2**32 - 1, -1), (0, 3, 0)):
        run = partial(_fill, F32, (3, 4099), draw=draw, stream=stream, seed=seed)
        yield Case(f"normal_fill draw {draw}, stream {stream}, seed {seed}", run)
    yield Case("normal_fill of samples with gaps", partial(_fill, F32, (3, 127), gap=3))
    yield Case(f"normal_fill of {MANY} samples", partial(_fill, F32, (MANY, 5)), large=True, interpreted=False)


def _fill(
    dtype: torch.dtype, shape: tuple[int, int], backend: str, device: str, *,
    draw: int = 3, stream: int = 1, seed: int = 5, gap: int = 0,
) -> Results:  # fmt: skip
    view = SentinelView(*shape, dtype=dtype, device=device, start=1 if gap else 0, gap=gap)
    ids = 2**32 - 1 - torch.arange(shape[0])
    noise = Noise(torch.tensor([seed]).to(device), ids.to(device), stream)
    normal_fill(view.tensor, noise=noise, draw=draw, backend=backend)
    if not view.intact():
        raise AssertionError("normal_fill: written outside its memory")
    return {"out": view.tensor.cpu()}


_EVERYTHING = StepCase(
    outputs=(F32, F16, BF16), converted=2, history=3, draws=(1, F32), aux=True, aux_out=True,
    store=(True, True), x_in=BF16,
)  # fmt: skip


def _steps() -> Iterator[Case]:
    for name, dtype in DTYPES.items():
        full = replace(_EVERYTHING, state=dtype)
        shapes = {
            "one element": replace(full, length=1),
            "unaligned": replace(full, length=4099, start=1, gap=1),
            "aligned": replace(full, length=3072, store=(True, False)),
            "a row per sample": replace(full, length=1023, per_sample=True, clamped=True),
            "in place": replace(full, length=1023, in_place=True),
            "large": replace(full, length=LARGE, batch=1),
        }
        for shape, case in shapes.items():
            yield Case(f"fused_step {name}, {shape}", partial(_step, case), large=shape == "large")
    terms = StepCase(outputs=(F32, BF16, F16, F64) * 2, converted=2, history=16, draws=(0, 2**32 - 1), length=1023)
    yield Case("fused_step of the most terms", partial(_step, terms))
    small = StepCase(outputs=(F32,), length=4099, coefficients=(("p1", 0.0), ("Q1.1", 1e-30), ("W0.y1", 1e-14)))
    yield Case("fused_step, subnormal results", partial(_step, small))
    batch = StepCase(batch=MANY, length=5, draws=(3,), sample_ids=tuple(range(MANY)), per_sample=True)
    yield Case(f"fused_step of {MANY} samples", partial(_step, batch), large=True, interpreted=False)


def _step(case: StepCase, backend: str, device: str) -> Results:
    return run_step(case, backend, device)


def _losses() -> Iterator[Case]:
    for name, dtype in DTYPES.items():
        full = LossCase(dtype, dtype, (3, 1, 3072))
        shapes = {
            "one element": replace(full, shape=(3, 1, 1)),
            "unaligned": replace(full, shape=(3, 1, 4099), start=1, gap=1),
            "aligned": full,
            "large": replace(full, shape=(1, 1, LARGE)),
        }
        for shape, case in shapes.items():
            yield Case(f"jvp_distill_loss {name}, {shape}", partial(run_loss, case), large=shape == "large")
    mixed = LossCase(BF16, F32, (3, 2, 1023), weighting="none")
    yield Case("jvp_distill_loss of mixed dtypes", partial(run_loss, mixed))
    small = LossCase(shape=(3, 1, 3072), scale=1e-20)
    yield Case("jvp_distill_loss, subnormal results", partial(run_loss, small))
    batch = LossCase(shape=(MANY, 1, 5))
    yield Case(f"jvp_distill_loss of {MANY} samples", partial(run_loss, batch), large=True, interpreted=False)


def _norms() -> Iterator[Case]:
    for name, dtype in DTYPES.items():
        for shape in ((3, 1), (3, 1023), (3, 1024), (2, 4099), (1, LARGE)):
            run = partial(_norm, dtype, shape)
            large = shape[1] == LARGE
            yield Case(f"sum_of_squares {name} {shape[0]}x{shape[1]}", run, large=large, op="sum_of_squares")
    run = partial(_norm, F32, (MANY, 5))
    yield Case(f"sum_of_squares of {MANY} samples", run, large=True, op="sum_of_squares")
    run = partial(_norm, F32, (3, 127), gap=3)
    yield Case("sum_of_squares of samples with gaps", run, op="sum_of_squares")


def _norm(dtype: torch.dtype, shape: tuple[int, int], backend: str, device: str, *, gap: int = 0) -> Results:
    view = SentinelView(*shape, dtype=dtype, device=device, start=1 if gap else 0, gap=gap)
    noise = Noise(torch.tensor([5]).to(device), torch.arange(shape[0]).to(device))
    normal_fill(view.tensor, noise=noise, backend="reference")
    return {"out": sum_of_squares(view.tensor, backend=backend).cpu()}


def _plans() -> Iterator[Case]:
    solvers: dict[str, dict[str, object]] = {
        "ddim": {"eta": 1.0}, "deis_tab3": {}, "dpmpp_2m": {}, "edm_heun": {}, "predictor_corrector": {"n_steps": 2},
    }  # fmt: skip
    for solver, options in solvers.items():
        for name, dtype in (("f32", F32), ("f64", F64)):
            yield Case(f"sample {solver} {name}", partial(_sample, solver, options, dtype))


def _sample(solver: str, options: Mapping[str, object], dtype: torch.dtype, backend: str, device: str) -> Results:
    plan = gs.make_plan(solver, gs.schedules.vp_linear(), nfe=9, options=options)
    x = gs.sample(_network, plan, shape=(3, 3, 5, 7), seed=11, dtype=dtype, device=device, backend=backend)
    return {"x": x.cpu()}


def _network(x: Tensor, t: Tensor) -> Tensor:
    """One multiplication, which every device rounds alike."""
    return 0.3 * x
