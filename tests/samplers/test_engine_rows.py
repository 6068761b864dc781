"""on_row, progress, and that the host does not wait for the device."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import genie_ext
import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan, RowEvent, predictions
from genie_samplers.plan import Combination, Conversion, Row

from .fakes import (
    KINDS,
    SCHEDULE,
    TABLES,
    VARIANTS,
    FakeModel,
    euler,
    plan_of,
    run,
    same_label,
    small_plan,
    solver_plan,
    thinned,
    with_derivatives_of_a_point,
)

# --- on_row


def test_on_row_sees_row_time_and_ids_of_every_chunk() -> None:
    plan, events = solver_plan("edm_heun", 3), []
    gs.sample(FakeModel(), plan, shape=(3, 4), batch_size=2, sample_ids=[7, 8, 9], on_row=events.append)
    rows = [(row, time) for row, time in enumerate(plan.times)]
    assert [(event.row, event.time) for event in events] == rows + rows
    assert plan.recipe is not None
    assert [event.next_time for event in events[:3]] == [*plan.times[1:], plan.recipe.grid[-1]]
    assert [event.ends_step for event in events[:3]] == [False, True, True]
    assert [event.sample_ids for event in events] == [(7, 8)] * 3 + [(9,)] * 3
    assert [tuple(event.x.shape) for event in events] == [(2, 4)] * 3 + [(1, 4)] * 3


def test_on_row_sees_copies() -> None:
    plan, events = VARIANTS["deis_tab2"], []

    def spoiling(event: RowEvent) -> None:
        events.append(event.x.clone())
        event.x.fill_(float("nan"))

    final = run(plan, 2, on_row=spoiling)
    assert_same_bits(final, run(plan, 2))
    assert_same_bits(final, events[-1])


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["state", "separate input"])
def test_on_row_may_replace_the_state(dtype: torch.dtype | None) -> None:
    plan = plan_of(euler(1.0), euler(0.5, input_scale=2.0), euler(0.2))
    model = FakeModel(lambda x, t: torch.zeros_like(x), dtype=dtype, label=same_label)
    replacement = torch.full((1, 3), 8.0)
    x = gs.sample(
        model,
        plan,
        shape=(3, 3),
        batch_size=2,
        on_row=lambda e: replacement.expand(len(e.sample_ids), -1) if e.row == 0 else None,
    )
    assert torch.equal(x, replacement.expand(3, -1))
    assert torch.equal(model.calls[1].x, torch.full((2, 3), 16.0, dtype=dtype))
    assert torch.equal(model.calls[4].x[0], torch.full((3,), 16.0, dtype=dtype))


@pytest.mark.parametrize("scale", [1.0, 0.7])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_state_that_is_replaced_by_itself_is_not_replaced(dtype: torch.dtype, scale: float) -> None:
    plan = plan_of(euler(1.0, input_scale=scale), euler(0.5, input_scale=scale), euler(0.2, input_scale=scale))
    start = torch.linspace(-1.0, 1.0, 30).reshape(3, 10)

    def final(**options: Any) -> Tensor:
        model = FakeModel(lambda x, t: x * x, dtype=torch.float32, label=same_label)
        return gs.sample(model, plan, state=start, dtype=dtype, batch_size=2, **options)

    assert_same_bits(final(on_row=lambda event: event.x), final())


def test_a_replacement_is_scaled_in_the_precision_of_the_coefficients() -> None:
    plan = plan_of(euler(1.0), euler(0.5, input_scale=0.7))
    model, new = FakeModel(dtype=torch.float32, label=same_label), torch.linspace(1.0, 2.0, 9)[None].bfloat16()
    gs.sample(model, plan, shape=(1, 9), dtype=torch.bfloat16, on_row=lambda event: new)
    assert_same_bits(model.calls[1].x, new.float() * 0.7)


SOLVERS = [*KINDS, *(name for name in sorted(TABLES) if name not in KINDS)]


@thinned(  # every kind of row with every prediction, every other solver with one
    lambda name, prediction: name < len(KINDS) or prediction == name % len(predictions.PREDICTIONS),
    name={name: name for name in SOLVERS},
    prediction={prediction: prediction for prediction in predictions.PREDICTIONS},
)
def test_predicted_x0_is_the_models_for_every_prediction(name: str, prediction: str) -> None:
    plan = small_plan(name, prediction=prediction)
    x0, seen = torch.tensor([[0.5, -1.0, 0.25]], dtype=torch.float64), []
    times = iter(plan.times)

    def model(x: Tensor, _: Tensor) -> Tensor:
        alpha, sigma = (float(f(next_time)) for next_time in [next(times)] for f in (SCHEDULE.alpha, SCHEDULE.sigma))
        epsilon = (x - alpha * x0) / sigma
        return {
            "epsilon": epsilon,
            "x0": x0.expand_as(x),
            "v": alpha * epsilon - sigma * x0,
            "score": -epsilon / sigma,
            "flow": epsilon - x0,
        }[prediction]

    gs.sample(
        FakeModel(lambda x, t: with_derivatives_of_a_point(plan, model(x, t).clone())),
        plan,
        shape=(2, 3),
        dtype=torch.float64,
        on_row=lambda event: seen.append(event.predicted_x0()),
    )
    # epsilon = (x - alpha x0) / sigma undone: two roundings over alpha, 1 / alpha <= 153
    assert torch.stack(seen) == pytest.approx(x0.expand(plan.nfe, 2, 3), abs=64 * 153 * 2.0**-53)


def test_predicted_x0_is_of_the_state_before_the_row() -> None:
    plan, seen = solver_plan("ddim", 3), []
    model = FakeModel(lambda x, t: 0.5 * x)
    gs.sample(model, plan, shape=(1, 4), on_row=lambda event: seen.append(event.predicted_x0()))
    alpha, sigma = float(SCHEDULE.alpha(plan.times[0])), float(SCHEDULE.sigma(plan.times[0]))
    x = model.calls[0].x
    assert_same_bits(seen[0], (x - sigma * (0.5 * x)) / alpha)


def test_predicted_x0_is_refused_once_on_row_has_returned() -> None:
    events: list[RowEvent] = []
    gs.sample(FakeModel(), solver_plan("ddim", 3), shape=(1, 4), on_row=events.append)
    with pytest.raises(RuntimeError, match="predicted_x0: row 1 is over; call predicted_x0 inside on_row"):
        events[1].predicted_x0()


def test_predicted_x0_is_clamped_as_the_row_is() -> None:
    step = Row(0.5, Combination(y=(1.0,)), converted=(Conversion(0.0, (1.0,), bound=1.0, scale=3.0),))
    plan = Plan(gs.plan.Init(1.0), ("x0",), "x0", (step,))
    seen: list[Tensor] = []
    gs.sample(
        FakeModel(lambda x, t: 2.0 * x, label=same_label),
        plan,
        state=torch.tensor([[0.25, 4.0]]),
        on_row=lambda event: seen.append(event.predicted_x0()),
    )
    assert seen[0].tolist() == [[1.5, 3.0]]


# --- progress


@pytest.mark.parametrize("progress", [None, False])
def test_progress_is_silent_without_a_terminal(progress: bool | None, capfd: pytest.CaptureFixture[str]) -> None:
    gs.sample(FakeModel(), solver_plan("ddim"), shape=(2, 3), progress=progress)
    assert capfd.readouterr() == ("", "")


def test_progress_is_shown_where_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    gs.sample(FakeModel(), solver_plan("ddim", 5), shape=(4, 3), batch_size=2, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "0/10" in err


# --- waiting for the device and uploads


class Watcher(TorchDispatchMode):
    """Counts the torch operators that make the host wait for the device, or move data to it."""

    WAITS = (
        "_local_scalar_dense",
        "item",
        "is_nonzero",
        "nonzero",
        "equal",
        "masked_select",
        "unique2",
    )
    UPLOADS = ("lift_fresh", "_to_copy")

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.seen[func.name().removeprefix("aten::").split(".")[0]] += 1
        return func(*args, **(kwargs or {}))

    def count(self, names: tuple[str, ...]) -> dict[str, int]:
        return {name: self.seen[name] for name in names if self.seen[name]}


@pytest.fixture
def native() -> str:
    """A backend whose ops are no torch operators, so that a Watcher sees the loop alone."""
    if genie_ext.backends()["fused_step"]["cpu"] != "available":
        pytest.skip("needs the cpu backend (pip install -e .)")
    return "cpu"


def watch(backend: str, nfe: int, *, chunks: int = 2, per_sample: bool = False) -> Watcher:
    """A run of a guided stochastic plan whose network computes nothing but copies."""
    plan = solver_plan("ddim", nfe, eta=1.0).guided([1.0, 2.0, 3.0, 4.0] if per_sample else 2.0)
    model = FakeModel(lambda x, t, labels: (x.clone(), x.clone()), dtype=torch.bfloat16)
    with Watcher() as watcher:
        gs.sample(model, plan, shape=(4, 3), batch_size=4 // chunks, cond={"labels": torch.arange(4)}, backend=backend)
    return watcher


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("chunks", [1, 4])
def test_the_host_looks_at_the_device_once_per_chunk_however_many_rows(
    native: str, chunks: int, per_sample: bool
) -> None:
    short, long = (watch(native, nfe, chunks=chunks, per_sample=per_sample).count(Watcher.WAITS) for nfe in (2, 12))
    assert short == long
    assert sum(long.values()) == chunks


def test_a_run_that_does_not_check_never_waits(native: str) -> None:
    with Watcher() as watcher:
        gs.sample(
            lambda x, t: x.clone(), solver_plan("ddim", 3), shape=(4, 3), batch_size=2, backend=native,
            check_finite=False,
        )  # fmt: skip
    assert watcher.count(Watcher.WAITS) == {}


def test_nothing_is_uploaded_per_row(native: str) -> None:
    short, long = (watch(native, nfe).count(Watcher.UPLOADS) for nfe in (2, 40))
    assert long == short != {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU, which reports waits as errors")
@pytest.mark.parametrize("backend", ["cuda", "triton"])
def test_nothing_in_the_loop_waits_for_the_gpu(backend: str) -> None:
    plan = solver_plan("edm_heun", 5)
    gs.sample(FakeModel(), plan, shape=(2, 4), device="cuda", backend=backend)  # loads the kernels
    calls = iter(range(plan.nfe))

    def strict(x: Tensor, t: Tensor) -> Tensor:
        torch.cuda.set_sync_debug_mode("error" if next(calls) < plan.nfe - 1 else "default")
        return 0.5 * x

    try:
        gs.sample(strict, plan, shape=(2, 4), device="cuda", backend=backend)
    finally:
        torch.cuda.set_sync_debug_mode("default")
