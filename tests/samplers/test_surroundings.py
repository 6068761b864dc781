"""What stands around a run and must not change its samples: inference mode, gradients, default devices, a console."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers.models import Model
from genie_samplers.plan import HistoryEntry

from .conftest import Place, places
from .fakes import SCHEDULE, SHAPE, FakeModel, gaussian_model, solver_plan, thinned

PLAN = solver_plan("deis_tab1", 3)
UP = gs.make_plan("deis_tab1", SCHEDULE, 3, direction="encode")


# --- a network that writes into what it is given

MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "plain": nullcontext,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}
every_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
WRITERS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "x": lambda x, t: x.mul_(0.5),
    "view of x": lambda x, t: x[:, 0].zero_(),
    "t": lambda x, t: t.mul_(2.0),
    "view of t": lambda x, t: t[:1].add_(1.0),
}


@thinned(  # every writer in every mode and on every backend
    lambda mode, write, place, dtype: (mode + write + place) % 2 == dtype and (mode == 2 or place == write % 2),
    mode=MODES,
    write=WRITERS,
    place={place.backend: place for place in places()},
    dtype={"state": None, "separate input": torch.float64},
)
def test_a_network_that_writes_into_its_input_is_noticed(
    mode: Any, write: Callable[[Tensor, Tensor], Any], place: Place, dtype: torch.dtype | None
) -> None:
    def network(x: Tensor, t: Tensor) -> Tensor:
        result = x.clone()
        write(x, t)
        return result

    message = "model: wrote into its input x, t or history in row 0; work on a copy"
    with mode(), pytest.raises(ValueError, match=message):
        gs.sample(FakeModel(network, dtype=dtype), PLAN, shape=(2, 3), **place._asdict())


class Historian(Model):
    """Reads the history, and writes into it in its second row."""

    reads_history = True

    def __call__(self, x: Tensor, t: Tensor, *, history: Any = (), **cond: Any) -> Tensor:
        for value in history:
            value.zero_()
        return 0.5 * x


@every_mode
def test_a_network_that_writes_into_the_history_is_noticed(mode: Any, place: Place) -> None:
    assert HistoryEntry(0) in PLAN.rows[1].history
    with mode(), pytest.raises(ValueError, match="model: wrote into its input x, t or history in row 1"):
        gs.sample(Historian(), PLAN, shape=(2, 3), **place._asdict())


@every_mode
def test_rk45_notices_it_too(mode: Any, quick_place: Place) -> None:
    with mode(), pytest.raises(ValueError, match="model: wrote into its input x, t or history in row 0"):
        gs.rk45(lambda x, t: x.mul_(0.5), SCHEDULE, shape=(2, 3), **quick_place._asdict())


def test_a_copied_state_notices_it_under_inference_mode_as_well() -> None:
    with torch.inference_mode():
        state = copy.deepcopy(gs.PlanState(gs.Program.of(PLAN), torch.ones(2, 3)))
        assert not state.x.is_inference()


@every_mode
def test_the_mode_does_not_change_the_samples(mode: Any, place: Place) -> None:
    plan = solver_plan("edm_heun", 3, s_churn=1.0)
    with mode():
        x = gs.sample(gaussian_model(plan), plan, shape=(2, *SHAPE), **place._asdict())
    assert_same_bits(x.cpu().clone(), gs.sample(gaussian_model(plan), plan, shape=(2, *SHAPE), backend="reference"))


# --- gradients


@pytest.mark.parametrize("name", ["state", "image"])
def test_a_start_that_requires_grad_is_refused(name: str) -> None:
    x = torch.ones(2, 3, requires_grad=True)
    message = rf"{name}: requires grad, .* sampling does not differentiate; pass \.detach\(\), call it under"
    with pytest.raises(ValueError, match=message):
        gs.sample(FakeModel(), PLAN, **{name: x})  # type: ignore[arg-type]
    with torch.no_grad():
        expected = gs.sample(FakeModel(), PLAN, **{name: x.detach()})  # type: ignore[arg-type]
        assert_same_bits(gs.sample(FakeModel(), PLAN, **{name: x}), expected)  # type: ignore[arg-type]


def test_encoding_and_rk45_refuse_it_too() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    with pytest.raises(ValueError, match="state: requires grad"):
        gs.encode(FakeModel(), UP, state=x)
    with pytest.raises(ValueError, match="image: requires grad"):
        gs.encode(FakeModel(), UP, image=x)
    with pytest.raises(ValueError, match="state: requires grad"):
        gs.rk45(FakeModel(), SCHEDULE, state=x)


def test_a_tangent_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"state: requires grad, carries a tangent or is inside a torch\.func transform"
    ):
        torch.func.jvp(lambda x: gs.sample(FakeModel(), PLAN, state=x), (torch.ones(2, 3),), (torch.ones(2, 3),))


# --- a start that cannot be


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (2, 3), "start": 2}, "start=2: where an image enters the grid; pass image="),
        ({"state": torch.ones(2, 3), "start": 2}, "start=2: where an image enters the grid; pass image="),
        ({"image": torch.ones(2, 3), "start": 2}, "start=2: the plan encodes, from its first time; leave start out"),
        ({"shape": (2, 3)}, "state: missing; this plan encodes"),
    ],
    ids=["nothing", "state", "image", "noise"],
)
def test_an_encoding_plan_starts_at_its_first_time(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gs.sample(FakeModel(), UP, **options)


# --- remarks, at the caller's line


class Noisy(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.weight * x


LAYERS: dict[str, nn.Module] = {
    "dropout": nn.Dropout(0.1),
    "dropout of channels": nn.Dropout2d(0.1),
    "batch norm": nn.BatchNorm2d(3),
    "attention": nn.MultiheadAttention(4, 2, dropout=0.1),
    "inside": nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.5))),
}
QUIET: dict[str, nn.Module] = {
    "dropout of nothing": nn.Dropout(0.0),
    "group norm": nn.GroupNorm(1, 3),
    "attention": nn.MultiheadAttention(4, 2),
    "evaluated": nn.Dropout(0.5).eval(),
}


@contextmanager
def remarks() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_a_network_in_training_mode_is_remarked_once_per_run(layer: nn.Module) -> None:
    network = Noisy(layer.train())
    with remarks() as found:
        gs.sample(network, PLAN, shape=(6, 3), batch_size=2)
    (remark,) = found
    assert "model: Noisy is in training mode" in str(remark.message) and "call network.eval()" in str(remark.message)
    with remarks() as found:
        gs.sample(network.eval(), PLAN, shape=(6, 3), batch_size=2)
    assert found == []


@pytest.mark.parametrize("layer", QUIET.values(), ids=QUIET.keys())
def test_a_network_that_computes_the_same_in_training_is_not_remarked(layer: nn.Module) -> None:
    with remarks() as found:
        gs.sample(Noisy(layer), PLAN, shape=(6, 3))
    assert found == []


def channels_last(x: Tensor, t: Tensor, **cond: Any) -> Tensor:
    return (0.5 * x).to(memory_format=torch.channels_last)


IMAGES = torch.ones(2, 3, 4, 4)
NOISY = Noisy(nn.Dropout(0.1))
CALLS: dict[str, Callable[[Any], object]] = {
    "sample": lambda model: gs.sample(model, PLAN, shape=IMAGES.shape),
    "sample of a wrapped one": lambda model: gs.sample(gs.models.wrap(model, SCHEDULE), PLAN, shape=IMAGES.shape),
    "encode": lambda model: gs.encode(model, UP, state=IMAGES),
    "reconstruct": lambda model: gs.reconstruct(model, UP, state=IMAGES),
    "compare": lambda model: gs.compare(model, SCHEDULE, ["ddim"], [2], shape=IMAGES.shape, fine_steps=2),
    "rk45": lambda model: gs.rk45(model, SCHEDULE, shape=IMAGES.shape, rtol=1e-2, atol=1e-2),
    "calibrate": lambda model: gs.calibrate.grid(model, SCHEDULE, "ddim", 2, shape=IMAGES.shape, nodes=2, runs=0),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("model", [NOISY, channels_last], ids=["training mode", "channels last"])
def test_every_remark_points_at_the_line_of_the_caller(model: Any, call: Callable[[Any], object]) -> None:
    with remarks() as found:
        call(model)
    assert found
    assert {(remark.filename, remark.lineno) for remark in found} == {(__file__, call.__code__.co_firstlineno)}


# --- a default device, a console


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


ON_META: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "set_default_device": default_device,
    "context": lambda: torch.device("meta"),
}
CPU_IMAGE = torch.linspace(-1.0, 1.0, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
LABELS = torch.arange(2)
SOFT = torch.tensor([0.0, 0.5, 1.0, 1.0])


def halve(x: Tensor, t: Tensor, **cond: Any) -> Tensor:
    return 0.5 * x


def guided() -> Tensor:
    model = gs.guidance.classifier_free(gs.models.wrap(halve, SCHEDULE, defaults={"w": 1.0}), null={"labels": 10})
    cond = {"labels": [1, 2], "text": ["a", "b"]}
    return gs.sample(model, PLAN.guided([1.0, 2.0]), shape=CPU_IMAGE.shape, cond=cond, batch_size=1)


def padded() -> Tensor:
    plan = solver_plan("edm_heun", 3, s_churn=1.0)
    cond = {"c": LABELS}
    return gs.sample(halve, plan, image=CPU_IMAGE, start=1, cond=cond, batch_size=3, on_row=lambda event: event.x)


def painted() -> Tensor:
    plan = solver_plan("ddim", 3, eta=1.0)
    return gs.sample(halve, plan, shape=CPU_IMAGE.shape, on_row=gs.inpaint(SOFT, CPU_IMAGE, plan))


def calibrated() -> Tensor:
    found = gs.calibrate.grid(halve, SCHEDULE, "deis_tab1", 2, shape=(2, 3), nodes=3, runs=3)
    return torch.tensor(found.plan.times, device="cpu")


def driven() -> Tensor:
    state = gs.PlanState(gs.Program.of(PLAN), CPU_IMAGE)
    return gs.run.run_rows(state, lambda call, state: 0.5 * state.x).x


EVERYTHING: dict[str, Callable[[], Tensor]] = {
    "sample": lambda: gs.sample(halve, PLAN, shape=CPU_IMAGE.shape, device="cpu"),
    "sample without a device": lambda: gs.sample(halve, PLAN, shape=CPU_IMAGE.shape),
    "sample of chunks": padded,
    "guidance": guided,
    "inpaint": painted,
    "encode": lambda: gs.encode(halve, UP, image=CPU_IMAGE, sample_ids=[3, 4]),
    "reconstruct": lambda: gs.reconstruct(halve, UP, state=CPU_IMAGE).images,
    "compare": lambda: gs.compare(halve, SCHEDULE, ["ddim"], [2], shape=(2, 3), fine_steps=2).cells[0].samples,
    "interpolate": lambda: gs.interpolate(CPU_IMAGE[0], CPU_IMAGE[1] + CPU_IMAGE[0] ** 2, 3),
    "slerp_grid": lambda: gs.slerp_grid(CPU_IMAGE.reshape(4, 24) + 2.0, 2, 3),
    "rk45": lambda: gs.rk45(halve, SCHEDULE, shape=(2, 3), rtol=1e-2, atol=1e-2, denoise=True).x,
    "calibrate": calibrated,
    "PlanState": driven,
}


@pytest.mark.parametrize("run", EVERYTHING.values(), ids=EVERYTHING.keys())
@pytest.mark.parametrize("on_meta", ON_META.values(), ids=ON_META.keys())
def test_a_default_device_changes_nothing(on_meta: Any, run: Callable[[], Tensor]) -> None:
    expected = run()
    with on_meta():
        found = run()
    assert_same_bits(found.cpu(), expected.cpu())


@pytest.mark.parametrize(
    "run",
    [
        lambda: gs.sample(halve, PLAN, shape=(2, 3), seed=3),
        lambda: gs.rk45(halve, SCHEDULE, shape=(2, 3), seed=3, rtol=1e-2, atol=1e-2).x,
    ],
    ids=["sample", "rk45"],
)
def test_a_compiled_function_may_sample(run: Callable[[], Tensor]) -> None:
    assert_same_bits(torch.compile(lambda: 2.0 * run(), backend="eager")(), 2.0 * run())


def test_a_program_without_a_console_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    shown = [gs.sample(halve, PLAN, shape=(2, 3), progress=progress) for progress in (None, True, False)]
    assert all(torch.equal(x, shown[0]) for x in shown)
    gs.rk45(halve, SCHEDULE, shape=(2, 3), rtol=1e-2, atol=1e-2, progress=True)
