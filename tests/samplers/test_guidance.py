"""Classifier-free guidance: one call on a doubled batch, the mixing in the plan's table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers.models.guidance import ClassifierFree, classifier_free
from genie_samplers.plan import Init, Plan

from ..plans.oracle import impulse_magnitudes, impulse_responses, roundings
from .conftest import Place
from .fakes import SCHEDULE, FakeModel, euler, solver_plan

NULL = 10
CLASSES = torch.tensor([3, 0, 7, 5, 9])


def network(x: Tensor, t: Tensor, *, labels: Tensor) -> Tensor:
    """Elementwise in the sample and its label, so that a doubled batch has the same bits."""
    return x * (0.05 * labels.to(x.dtype)).reshape(-1, *(1,) * (x.ndim - 1))


class Network:
    """``network`` with a memory, wrapped."""

    def __init__(self, function: Any = network) -> None:
        self.fake = FakeModel(function)
        self.model = gs.models.wrap(self.fake, SCHEDULE)

    @property
    def calls(self) -> list[Any]:
        return self.fake.calls


class DoubleNetwork(torch.nn.Module):
    """``network`` with a parameter of float64, so that the model asks for that."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor, t: Tensor, *, labels: Tensor) -> Tensor:
        return network(x, t, labels=labels)


def guided_model(function: Any = network) -> tuple[ClassifierFree, list[Any]]:
    made = Network(function)
    return classifier_free(made.model, null={"labels": NULL}), made.calls


# --- the model


def test_a_guided_model_presents_the_network_it_was_made_from() -> None:
    network = torch.nn.Linear(2, 2, device="meta", dtype=torch.bfloat16)
    model = classifier_free(gs.models.wrap(network, SCHEDULE, label=SCHEDULE.log_gamma), null={"labels": NULL})
    assert model.outputs == ("epsilon", "uncond.epsilon")
    assert (model.label, model.schedule) == (SCHEDULE.log_gamma, SCHEDULE)
    assert (model.dtype, model.device) == (torch.bfloat16, torch.device("meta"))


def test_the_network_is_called_once_on_both_halves() -> None:
    model, calls = guided_model()
    x, t = torch.arange(15.0).reshape(5, 3), torch.arange(5.0)
    conditional, unconditional = model(x, t, labels=CLASSES)
    (call,) = calls
    assert torch.equal(call.x, torch.cat([x, x]))
    assert torch.equal(call.t, torch.cat([t, t]))
    assert call.cond["labels"].tolist() == [*CLASSES.tolist(), *[NULL] * 5]
    assert call.cond["labels"].dtype == torch.int64
    assert_same_bits(conditional, network(x, t, labels=CLASSES))
    assert_same_bits(unconditional, network(x, t, labels=torch.full((5,), NULL)))
    assert conditional.untyped_storage().data_ptr() == unconditional.untyped_storage().data_ptr()


def test_the_null_may_be_one_samples_tensor() -> None:
    seen: list[Tensor] = []
    made = Network(lambda x, t, text: seen.append(text) or x)
    model = classifier_free(made.model, null={"text": torch.full((2, 4), -1.0, dtype=torch.float64)})
    text = torch.randn(3, 2, 4)
    model(torch.ones(3, 5), torch.ones(3), text=text)
    assert seen[0].dtype == torch.float32
    assert torch.equal(seen[0], torch.cat([text, torch.full((3, 2, 4), -1.0)]))


SHARED = {"table": torch.arange(3.0), "five": torch.arange(5.0), "number": torch.tensor(2.0), "text": "text"}


def test_other_conditioning_is_doubled_and_what_all_share_is_not() -> None:
    model, calls = guided_model(lambda x, t, **cond: x)
    per_sample = torch.arange(5.0)
    model.sharing(SHARED)(torch.ones(5, 2), torch.ones(5), labels=CLASSES, a=per_sample, **SHARED)
    cond = calls[0].cond
    assert torch.equal(cond["a"], torch.cat([per_sample, per_sample]))
    assert {name: cond[name] for name in SHARED} == SHARED


def test_nested_conditioning_is_doubled_as_it_is_sliced() -> None:
    model, calls = guided_model(lambda x, t, **cond: x)
    per_sample, words = torch.arange(5.0), ["a", "b", "c", "d", "e"]
    model(torch.ones(5, 2), torch.ones(5), labels=CLASSES, added={"a": per_sample, "deep": [(words, None)]})
    added = calls[0].cond["added"]
    assert torch.equal(added["a"], torch.cat([per_sample, per_sample]))
    assert added["deep"] == [(words + words, None)]


def test_an_entry_for_no_sample_cannot_be_doubled() -> None:
    model, _ = guided_model()
    message = r"cond\['w'\]: 2.0 of type float has no entry per sample; pass what all samples share in shared="
    with pytest.raises(TypeError, match=message):
        model(torch.ones(5, 2), torch.ones(5), labels=CLASSES, w=2.0)


def test_the_conditioning_that_null_replaces_must_be_given() -> None:
    model, _ = guided_model()
    message = r"cond\['labels'\]: None; null replaces it, so give a tensor with one entry per sample"
    with pytest.raises(ValueError, match=message):
        gs.sample(model, solver_plan("ddim", 1).guided(2.0), shape=(1, 2))


# --- with the engine


@pytest.mark.parametrize("name", ["deis_tab2", "dpmpp_2m", "edm_heun"])
def test_a_guided_run_is_the_mixture_of_both_halves(name: str, place: Place) -> None:
    plan, scale = solver_plan(name, 3).guided(2.5), 2.5
    count, rows = 2, len(plan.rows)
    size = 1 + rows * count
    basis = torch.eye(size, dtype=torch.float64)
    row = iter(range(rows))

    def pair(x: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        first = 1 + count * next(row)
        return basis[first][None].to(x), basis[first + 1][None].to(x)

    final = gs.sample(FakeModel(pair), plan, state=basis[:1].clone(), dtype=torch.float64, **place._asdict())
    expected = impulse_responses(plan)[-1]
    bound = 2 * roundings(plan) * 2.0**-53 * impulse_magnitudes(plan)
    assert np.all(np.abs(final[0].cpu().numpy() - expected) <= bound)
    unguided = solver_plan(name, 3).unrolled().output[-1, :, 0]
    assert expected[1::2] == pytest.approx(scale * unguided, rel=1e-12, abs=0)
    assert expected[2::2] == pytest.approx((1.0 - scale) * unguided, rel=1e-12, abs=0)


def test_guidance_of_scale_1_is_the_conditional_run() -> None:
    model, _ = guided_model()
    guided = gs.sample(model, solver_plan("deis_tab3").guided(1.0), shape=(5, 6), cond={"labels": CLASSES})
    alone = gs.sample(Network().model, solver_plan("deis_tab3"), shape=(5, 6), cond={"labels": CLASSES})
    assert_same_bits(guided, alone)


@pytest.mark.parametrize("batch_size", [None, 1, 2, 8])
def test_a_scale_per_sample_follows_its_sample_through_any_batching(batch_size: int | None, place: Place) -> None:
    plan, scales = (
        solver_plan("deis_tab1", 2),
        [1.0, 2.0, 0.0, -1.5, 7.5][: 2 if place.interpreted else 5],
    )
    count, cond = len(scales), {"labels": CLASSES[: len(scales)]}
    model, _ = guided_model()
    together = gs.sample(
        model,
        plan.guided(scales),
        shape=(count, 6),
        cond=cond,
        batch_size=batch_size,
        **place._asdict(),
    )
    one_by_one = [
        gs.sample(
            model,
            plan.guided(scale),
            shape=(1, 6),
            sample_ids=[i],
            cond={"labels": CLASSES[i : i + 1]},
            backend="reference",
        )
        for i, scale in enumerate(scales)
    ]
    assert_same_bits(together.cpu(), torch.cat(one_by_one))


@pytest.mark.parametrize("name", ["deis_tab1", "dpmpp_2m"])
@pytest.mark.parametrize("batch_size", [None, 2, 8])
def test_predicted_x0_of_a_scale_per_sample_mixes_with_that_samples_scale(name: str, batch_size: int | None) -> None:
    scales, seen = torch.tensor([1.0, 2.0, 0.0, -1.5, 7.5], dtype=torch.float64), []
    plan = solver_plan(name, 2).guided(scales.tolist())
    model = classifier_free(gs.models.wrap(DoubleNetwork(), SCHEDULE), null={"labels": NULL})
    states: list[Tensor] = []
    gs.sample(
        model,
        plan,
        shape=(5, 2, 3),
        cond={"labels": CLASSES},
        batch_size=batch_size,
        dtype=torch.float64,
        on_row=lambda event: states.append(event.x) or seen.append(event.predicted_x0()),
    )
    predicted, last = (
        torch.cat(seen[1::2]),
        torch.cat(states[0::2]),
    )  # of row 1, from the states after row 0
    factor = 0.05 * (scales * CLASSES + (1.0 - scales) * NULL)
    alpha, sigma = (float(f(plan.times[1])) for f in (SCHEDULE.alpha, SCHEDULE.sigma))
    expected = (1.0 - sigma * factor)[:, None, None] * last / alpha
    largest = (last.abs() * (1.0 + sigma * 0.05 * 10 * 16) / alpha).max().item()
    assert (predicted - expected).abs().max().item() <= 16 * 2.0**-53 * largest


def test_rows_that_call_the_conditional_half_alone_use_the_plain_network() -> None:
    alone, pair = euler(1.0), euler(0.5, calls=2)
    plan = Plan(Init(1.0), ("epsilon",), "epsilon", (alone, pair, alone), guidance=(3.0,))
    model, calls = guided_model()
    x = gs.sample(model, plan, state=torch.ones(2, 3), cond={"labels": torch.tensor([2, 4])})
    assert [len(call.x) for call in calls] == [2, 4, 2]
    assert [call.cond["labels"].tolist() for call in calls] == [[2, 4], [2, 4, 10, 10], [2, 4]]
    once = 1.0 - 0.5 * 0.05 * np.array([2.0, 4.0])
    mixed = 1.0 - 0.5 * 0.05 * (3.0 * np.array([2.0, 4.0]) - 2.0 * 10.0)
    assert x[:, 0].numpy() == pytest.approx(once * mixed * once, rel=64 * 2.0**-24)


def test_a_batch_of_one_may_have_a_list_of_one_scale() -> None:
    model, _ = guided_model()
    cond = {"labels": CLASSES[:1]}
    one = gs.sample(model, solver_plan("ddim").guided([2.0]), shape=(1, 3), cond=cond)
    assert_same_bits(one, gs.sample(model, solver_plan("ddim").guided(2.0), shape=(1, 3), cond=cond))


# --- guidance is never off in silence


@pytest.mark.parametrize("null", [{}, {"labels": None}, {"labels": True}], ids=str)
def test_a_null_that_stands_for_nothing_is_refused(null: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=r"null: empty|null\['labels'\]: .*; give a number, a tensor"):
        classifier_free(Network().model, null=null)


@pytest.mark.parametrize(
    "labels", [3, torch.tensor([3]), torch.tensor(3), None], ids=["number", "one", "scalar", "none"]
)
def test_conditioning_that_is_not_per_sample_cannot_be_guided(labels: Any) -> None:
    model, _ = guided_model()
    with pytest.raises(ValueError, match=r"cond\['labels'\]: .*; null replaces it, so give a tensor with one entry"):
        model(torch.ones(5, 3), torch.ones(5), labels=labels)


@pytest.mark.parametrize(
    ("null", "labels"),
    [(10.5, CLASSES), (1000, CLASSES.to(torch.uint8)), (-1, CLASSES.to(torch.uint8)), (10, CLASSES > 4)],
    ids=["fraction", "too large", "negative", "boolean"],
)
def test_a_null_that_the_labels_cannot_hold_is_refused(null: float, labels: Tensor) -> None:
    model = classifier_free(Network().model, null={"labels": null})
    message = rf"null\['labels'\]: {null}, which the {labels.dtype} of cond cannot hold; give another number"
    with pytest.raises(ValueError, match=message):
        gs.sample(model, solver_plan("ddim", 2).guided(2.0), shape=(5, 3), cond={"labels": labels})


def test_a_null_of_floats_is_refused_beside_labels_of_integers() -> None:
    model = classifier_free(Network().model, null={"labels": torch.tensor(10.5)})
    with pytest.raises(TypeError, match=r"null\['labels'\]: dtype torch.float32; cond has torch.int64"):
        gs.sample(model, solver_plan("ddim", 2).guided(2.0), shape=(5, 3), cond={"labels": CLASSES})


@pytest.mark.parametrize(
    "labels", [CLASSES.tolist(), list(CLASSES.numpy()), CLASSES.to(torch.uint8)], ids=["int", "numpy", "uint8"]
)
def test_the_conditioning_that_null_replaces_may_be_a_list_or_of_small_integers(labels: Any) -> None:
    model, plan = classifier_free(Network().model, null={"labels": NULL}), solver_plan("ddim", 2).guided(2.0)
    listed = gs.sample(model, plan, shape=(5, 3), cond={"labels": labels})
    assert_same_bits(listed, gs.sample(model, plan, shape=(5, 3), cond={"labels": CLASSES}))


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda x: (None,), TypeError, "model: output 'epsilon' in row 0 is NoneType; return a tensor"),
        (lambda x: x.sum(), ValueError, r"model: output 'epsilon' in row 0 has shape \(\); the state has \(5, 3\)"),
        (lambda x: x[:5], ValueError, r"model: output 'uncond.epsilon' in row 0 has shape \(0, 3\)"),
    ],
    ids=["None", "scalar", "one half"],
)
def test_an_output_that_cannot_be_halved_is_named(returned: Any, error: type[Exception], message: str) -> None:
    model = classifier_free(lambda x, t, labels: returned(x), null={"labels": NULL})
    with pytest.raises(error, match=message):
        gs.sample(model, solver_plan("ddim", 2).guided(2.0), shape=(5, 3), cond={"labels": CLASSES})


def test_a_null_of_another_shape_is_refused() -> None:
    model = classifier_free(Network().model, null={"labels": torch.ones(7)})
    with pytest.raises(ValueError, match=r"null\['labels'\]: shape \(7,\); one sample of cond has \(3,\)"):
        model(torch.ones(5, 3), torch.ones(5), labels=torch.ones(5, 3))


def test_each_sample_has_its_own_null_by_the_name_of_an_entry() -> None:
    """A negative prompt per sample: as if each were sampled with its own alone."""
    nulls = torch.tensor([1, 8, 10, 2, 6])
    plan = gs.make_plan("ddim", SCHEDULE, 4).guided(3.0)
    wrapped = gs.models.wrap(network, SCHEDULE)
    options = {"shape": (5, 2, 3, 3), "seed": 3}
    model = classifier_free(wrapped, null={"labels": "negative"})
    made = gs.sample(model, plan, **options, cond={"labels": CLASSES, "negative": nulls})
    alone = [
        gs.sample(classifier_free(wrapped, null={"labels": int(null)}), plan, **options, cond={"labels": CLASSES})[k]
        for k, null in enumerate(nulls)
    ]
    assert_same_bits(made, torch.stack(alone))
    with pytest.raises(ValueError, match=r"cond\['labels'\], cond\['negative'\]: \(5,\) and None"):
        gs.sample(model, plan, **options, cond={"labels": CLASSES})
