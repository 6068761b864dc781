"""cond= is one entry per sample in any container, shared= is what all share: nothing is guessed from a length."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers.models.guidance import classifier_free

from .fakes import SCHEDULE, FakeModel, solver_plan

PLAN = solver_plan("ddim", 1)
B = 5
ROWS = torch.arange(10.0).reshape(B, 2)


class Residuals(NamedTuple):
    down: Any
    middle: Any


BATCHES: dict[str, Any] = {
    "tensor": torch.arange(B),
    "matrix": ROWS,
    "array": np.arange(B) * 0.5,
    "array of strings": np.array(["a", "b", "c", "d", "e"]),
    "list of numbers": [0.5, 1.5, 2.5, 3.5, 4.5],
    "list of strings": ["a", "b", "c", "d", "e"],
    "tuple of numbers": (0, 1, 2, 3, 4),
}

CONTAINERS: dict[str, Any] = {
    "tuple of tensors": (ROWS, torch.arange(B)),
    "list of tensors": [ROWS, torch.arange(B)],
    "dict": {"a": ROWS, "b": None},
    "dict of dicts": {"a": {"b": {"c": ROWS}}},
    "ordered dict": OrderedDict(b=ROWS, a=np.arange(B)),
    "default dict": defaultdict(list, a=ROWS),
    "read-only mapping": MappingProxyType({"a": ROWS}),
    "named tuple": Residuals((ROWS, torch.arange(B)), ["a", "b", "c", "d", "e"]),
    "None": None,
    "empty": [],
}

every_batch = pytest.mark.parametrize("value", BATCHES.values(), ids=BATCHES.keys())
every_container = pytest.mark.parametrize("value", CONTAINERS.values(), ids=CONTAINERS.keys())


def leaves(value: Any) -> list[Any]:
    """Every batch as a list, and the type of every container."""
    if isinstance(value, Tensor | np.ndarray):
        return [type(value), value.tolist()]
    if isinstance(value, OrderedDict | defaultdict | dict | MappingProxyType):
        return [type(value), *((name, leaves(item)) for name, item in value.items())]
    if isinstance(value, list | tuple):
        return [type(value), *(leaves(item) for item in value)]
    return [value]


def entries(value: Any, positions: list[int]) -> Any:
    """The same with those entries of every batch alone, written down independently of the library."""
    if value is None:
        return None
    if isinstance(value, Tensor | np.ndarray):
        return value[positions]
    if isinstance(value, MappingProxyType):
        return MappingProxyType({name: entries(item, positions) for name, item in value.items()})
    if isinstance(value, defaultdict):
        return defaultdict(list, {name: entries(item, positions) for name, item in value.items()})
    if isinstance(value, dict):
        return type(value)((name, entries(item, positions)) for name, item in value.items())
    if isinstance(value, Residuals):
        return Residuals(*(entries(item, positions) for item in value))
    if value and isinstance(value[0], int | float | str):
        return type(value)(value[i] for i in positions)
    return type(value)(entries(item, positions) for item in value)


def given(value: Any, **options: Any) -> list[Any]:
    """What the network gets as ``c`` in each chunk."""
    model = FakeModel(lambda x, t, **cond: 0.5 * x)
    gs.sample(model, PLAN, shape=(B, 3), cond={"c": value}, **options)
    return [call.cond["c"] for call in model.calls]


# --- one entry per sample


@every_batch
def test_a_batch_follows_its_samples(value: Any) -> None:
    chunks = given(value, batch_size=2)
    assert [leaves(chunk) for chunk in chunks] == [leaves(entries(value, at)) for at in ([0, 1], [2, 3], [4, 4])]


@every_container
def test_a_container_comes_back_as_the_same_kind(value: Any) -> None:
    chunks = given(value, batch_size=2)
    assert [leaves(chunk) for chunk in chunks] == [leaves(entries(value, at)) for at in ([0, 1], [2, 3], [4, 4])]


@every_container
def test_a_container_is_left_alone(value: Any) -> None:
    before = leaves(value)
    given(value, batch_size=2)
    assert leaves(value) == before


@pytest.mark.parametrize("batch_size", [None, B, 8])
def test_all_samples_at_once_get_all_entries(batch_size: int | None) -> None:
    (chunk,) = given(CONTAINERS["named tuple"], batch_size=batch_size)
    positions = [min(i, B - 1) for i in range(batch_size or B)]
    assert leaves(chunk) == leaves(entries(CONTAINERS["named tuple"], positions))


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "number": (2.0, TypeError, r"cond\['c'\]: 2.0 of type float has no entry per sample; pass what all"),
    "string": ("abcde", TypeError, r"cond\['c'\]: 'abcde' of type str has no entry per sample"),
    "scalar": (torch.tensor(2.0), TypeError, r"cond\['c'\]: tensor\(2.\) of type Tensor has no entry per sample"),
    "number inside": ({"a": ROWS, "b": 2}, TypeError, r"cond\['c'\]: 2 of type int has no entry per sample"),
    "one for all": (torch.ones(1, 7, 3), ValueError, r"cond\['c'\]: \(1, 7, 3\) for 5 samples; give one entry"),
    "too few": ([1, 2], ValueError, r"cond\['c'\]: \[1, 2\] for 5 samples; give one entry per sample"),
    "too few inside": ((ROWS, ROWS[:2]), ValueError, r"cond\['c'\]: \(2, 2\) for 5 samples; give one entry"),
}


@pytest.mark.parametrize(("value", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_has_no_entry_for_every_sample_is_refused(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        given(value)


# --- shared

SHARED: dict[str, Any] = {
    "one for all": torch.ones(1, 7, 3),
    "as long as the batch": torch.arange(B),
    "as long as a chunk": torch.ones(1),
    "array": np.arange(B),
    "list of numbers": [0.5, 1.5, 2.5, 3.5, 4.5],
    "string": "text",
    "number": 2.0,
    "dict": {"scale": 0.5, "mask": torch.ones(B)},
    "object": object(),
    "named tuple": Residuals(torch.ones(B), None),
}


@pytest.mark.parametrize("value", SHARED.values(), ids=SHARED.keys())
@pytest.mark.parametrize("batch_size", [None, 1, 2])
def test_what_all_share_reaches_every_chunk_whole(value: Any, batch_size: int | None) -> None:
    model = FakeModel(lambda x, t, **cond: 0.5 * x)
    gs.sample(model, PLAN, shape=(B, 3), shared={"s": value}, batch_size=batch_size)
    assert all(leaves(call.cond["s"]) == leaves(value) for call in model.calls)


def test_a_name_is_in_one_of_them() -> None:
    with pytest.raises(ValueError, match=r"shared: \['c'\] are in cond too; give each in one of them"):
        gs.sample(FakeModel(), PLAN, shape=(B, 3), cond={"c": ROWS}, shared={"c": 1})


# --- guidance


def halves(model: Any, value: Any, shared: Any) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []

    def network(x: Tensor, t: Tensor, **cond: Any) -> Tensor:
        seen.append(cond | {"count": len(x)})
        return 0.5 * x

    pair = model(gs.models.wrap(network, SCHEDULE))
    labels = torch.arange(B)
    plan = gs.make_plan("genie_ttm2", SCHEDULE, 2, options={"derivative": "exact"}) if model is exact else PLAN
    gs.sample(
        pair, plan.guided(2.0), shape=(B, 3), cond={"labels": labels, "c": value}, shared={"s": shared}, batch_size=2
    )
    return seen


def plain(network: Any) -> Any:
    return classifier_free(network, null={"labels": 10})


def exact(network: Any) -> Any:
    return gs.genie.exact(plain(network))


@pytest.mark.parametrize("model", [plain, exact])
@pytest.mark.parametrize("value", [*BATCHES.values(), *CONTAINERS.values()], ids=[*BATCHES, *CONTAINERS])
def test_guidance_doubles_cond(model: Any, value: Any) -> None:
    seen = halves(model, value, 1.0)
    assert {cond["count"] for cond in seen} == {4}
    expected = [leaves(entries(value, at)) for at in ([0, 1, 0, 1], [2, 3, 2, 3], [4, 4, 4, 4])]
    assert [chunk for chunk in expected if chunk not in [leaves(cond["c"]) for cond in seen]] == []


@pytest.mark.parametrize("model", [plain, exact])
@pytest.mark.parametrize("shared", SHARED.values(), ids=SHARED.keys())
def test_guidance_never_doubles_what_all_share(model: Any, shared: Any) -> None:
    assert all(leaves(cond["s"]) == leaves(shared) for cond in halves(model, ROWS, shared))


def test_guidance_along_the_guided_flow_leaves_what_all_share() -> None:
    seen: list[tuple[int, int, int]] = []

    def network(x: Tensor, t: Tensor, labels: Tensor, c: Tensor, s: Tensor) -> Tensor:
        seen.append((len(x), len(c), len(s)))
        return 0.5 * x

    pair = plain(gs.models.wrap(network, SCHEDULE))
    model = gs.genie.exact(pair, scale=2.0)
    plan = gs.make_plan("genie_ttm2", SCHEDULE, 2, options={"derivative": "exact"})
    cond = {"labels": torch.arange(3), "c": torch.ones(3)}
    gs.sample(model, plan, shape=(3, 2), cond=cond, shared={"s": torch.ones(3)})
    assert set(seen) == {(6, 6, 3)}


def test_the_unguided_half_of_a_guided_pair_is_not_taken_for_an_unguided_plan() -> None:
    model = classifier_free(lambda x, t, labels: 0.5 * x, null={"labels": 10})
    with pytest.raises(ValueError, match=r"returned 2 outputs in row 0; the plan reads 1.*plan\.guided\(scale\)"):
        gs.sample(model, PLAN, shape=(B, 3), cond={"labels": torch.arange(B)})


def test_guidance_along_the_guided_flow_is_that_of_the_guided_network() -> None:
    def network(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return x * (0.05 * labels.to(x.dtype))[:, None]

    pair, labels = plain(gs.models.wrap(network, SCHEDULE)), torch.tensor([2, 4])
    guided = gs.sample(gs.genie.exact(pair, scale=3.0), solver_plan("ddim", 3), shape=(2, 3), cond={"labels": labels})
    mixed = gs.sample(pair, solver_plan("ddim", 3).guided(3.0), shape=(2, 3), cond={"labels": labels})
    assert torch.allclose(guided, mixed, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("names", [["labels"], ["labels", "s"]])
def test_what_null_replaces_cannot_be_shared(names: list[str]) -> None:
    model = plain(gs.models.wrap(lambda x, t, **cond: 0.5 * x, SCHEDULE))
    with pytest.raises(
        ValueError, match=r"shared: null replaces \['labels'\] for one half of every sample; pass them in"
    ):
        gs.sample(model, PLAN.guided(2.0), shape=(B, 3), shared=dict.fromkeys(names, torch.arange(B)))


def test_numbers_of_any_kind_are_labels() -> None:
    model = plain(gs.models.wrap(lambda x, t, labels: x * (0.05 * labels)[:, None], SCHEDULE))
    runs = [
        gs.sample(model, PLAN.guided(2.0), shape=(B, 3), cond={"labels": labels}, batch_size=2)
        for labels in (torch.arange(B), np.arange(B), list(range(B)), tuple(range(B)))
    ]
    assert all(torch.equal(run, runs[0]) for run in runs)


# --- through the other uses


def test_every_use_takes_what_all_share() -> None:
    def network(x: Tensor, t: Tensor, c: Tensor, s: Tensor) -> Tensor:
        assert len(c) == len(x) and s.shape == (7,)
        return 0.5 * x * s.mean()

    both: dict[str, Any] = {"cond": {"c": torch.ones(2)}, "shared": {"s": torch.ones(7)}}
    gs.compare(network, SCHEDULE, ["ddim"], [2], shape=(2, 3), fine_steps=3, **both)
    gs.rk45(network, SCHEDULE, shape=(2, 3), rtol=1e-2, atol=1e-2, **both)
    up = gs.make_plan("ddim", SCHEDULE, 2, direction="encode")
    latents = gs.encode(network, up, state=torch.ones(2, 3), **both)
    assert_same_bits(gs.reconstruct(network, up, state=torch.ones(2, 3), **both).latents, latents)
    found = gs.calibrate.grid(network, SCHEDULE, "ddim", 2, shape=(2, 3), nodes=3, runs=2, **both)
    assert found.plan.nfe == 2


def test_a_guided_network_with_a_head_doubles_cond_and_leaves_what_all_share() -> None:
    pytest.importorskip("diffusers", reason="a head reads the features of a diffusers U-Net")
    from .genie.heads import head, network

    seen: list[tuple[int, list[str], int]] = []

    def called(network: Any, x: Tensor, t: Tensor, *, c: list[str], s: Tensor, **cond: Any) -> Any:
        seen.append((len(x), c, len(s)))
        return network(x, t, **cond)

    model = gs.models.wrap(network(), SCHEDULE, label=SCHEDULE.log_gamma, call=called)
    pair = classifier_free(gs.genie.with_head(model, head()), null={"class_labels": 3})
    plan = gs.make_plan("genie_ttm2", SCHEDULE, 2, options={"derivative": "head"}).guided(2.0)
    cond = {"class_labels": torch.arange(3), "c": ["a", "b", "c"]}
    gs.sample(pair, plan, shape=(3, 2, 8, 8), cond=cond, shared={"s": torch.ones(3)}, batch_size=2)
    assert [count for count, *_ in seen] == [4] * len(seen)
    assert [c for _, c, _ in seen if c not in (["a", "b", "a", "b"], ["c", "c", "c", "c"])] == []
    assert {s for *_, s in seen} == {3}
