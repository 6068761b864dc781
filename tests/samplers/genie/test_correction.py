"""The head of corrections: the features of a step, what it makes of the history, and the plans that it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.genie.heads.correction import divided_differences
from genie_samplers.genie.heads.features import step_features
from genie_samplers.models.wrap import WrappedModel
from genie_samplers.uses.reconstruct import decoding_plan

from .heads import SCHEDULE, correction_head, model, network

pytest.importorskip("diffusers", reason="the network is a diffusers UNet2DModel")

SHAPE = (2, 2, 8, 8)


def plan(values: int = 3, prediction: str = "epsilon", **options: object) -> gs.Plan:
    """Five steps."""
    chosen = {"values": values, "derivative": "correction", **options}
    return gs.make_plan("genie_hermite", SCHEDULE, 5, grid="karras", prediction=prediction, options=chosen)


def inputs(head: genie.CorrectionHead, memory: int = 2) -> list[torch.Tensor]:
    """x, epsilon, the earlier predictions, features of the network and of the step."""
    generator = torch.Generator().manual_seed(1)
    x, epsilon, last, *history = (
        torch.randn(2, channels, 8, 8, generator=generator) for channels in (2, 2, 8, *[2] * memory)
    )
    return [x, epsilon, *history, last, torch.tensor([[1.0, 0.5, 0.25, 0.75]] * 2)]


def run(head: genie.CorrectionHead, x: torch.Tensor, epsilon: torch.Tensor, *further: torch.Tensor) -> torch.Tensor:
    *history, last, step = further
    return head(x, epsilon, history, last, step)


# --- the step


def test_the_step_is_log_gamma_and_its_falls_newest_first() -> None:
    made = plan()
    assert made.recipe is not None
    s = SCHEDULE.log_gamma(np.array(made.recipe.grid))
    expected = [
        [s[0], s[0] - s[1], 0.0, 0.0],
        [s[1], s[1] - s[2], s[0] - s[1], 0.0],
        *([s[n], s[n] - s[n + 1], s[n - 1] - s[n], s[n - 2] - s[n - 1]] for n in range(2, 5)),
    ]
    assert step_features(made, 2) == pytest.approx(np.array(expected), rel=1e-12)


def test_rows_without_a_correction_are_zero() -> None:
    features = step_features(plan(derivative_below=10.0), 2)
    assert (np.abs(features).sum(1) > 0).tolist() == [bool(SCHEDULE.gamma(t) <= 10.0) for t in plan().times]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (plan(variable="t"), "knows polynomials of epsilon in log gamma"),
        (plan(quantity="x0"), "knows polynomials of epsilon in log gamma"),
        (replace(plan(), recipe=None), "without a recipe"),
        (decoding_plan(plan()), "encodes; a head of corrections knows steps to smaller gamma"),
        (plan(values=4), "the head knows 2 predictions, give smaller values="),
    ],
    ids=["variable", "quantity", "recipe", "encodes", "memory"],
)
def test_a_plan_that_the_head_does_not_know_is_refused(made: gs.Plan, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gs.sample(genie.with_head(model(), correction_head()), made, shape=SHAPE, state=torch.zeros(SHAPE))


def test_a_guided_plan_is_refused() -> None:
    guided = gs.guidance.classifier_free(genie.with_head(model(), correction_head()), null={"class_labels": 3})
    with pytest.raises(ValueError, match="knows the history of the unguided flow"):
        gs.sample(guided, plan().guided(2.0), shape=SHAPE, cond={"class_labels": torch.tensor([0, 1])})


def test_a_step_to_gamma_zero_is_not_corrected() -> None:
    made = gs.make_plan("genie_hermite", SCHEDULE, 4, grid="karras", denoise=True)
    assert [row.outputs for row in made.rows] == [4, 4, 4, 1]
    assert gs.sample(genie.with_head(model(), correction_head()), made, shape=SHAPE).isfinite().all()


# --- the head


def test_divided_differences_are_the_coefficients_of_newton() -> None:
    """Of s^2 - 3 s + 1 at s = 2, 1.5, 0.25: slope between the newest nodes 0.5, leading coefficient 1."""
    values = [torch.full((1, 1), s * s - 3.0 * s + 1.0) for s in (2.0, 1.5, 0.25)]
    first, second = divided_differences(values, torch.tensor([[0.5, 1.25]]))
    assert (float(first), float(second)) == (0.5, 1.0)


@pytest.mark.parametrize(("given", "known"), [(1, 0), (2, 1), (3, 2)])
def test_differences_that_no_value_or_width_belongs_to_are_zero(given: int, known: int) -> None:
    values = [torch.full((1, 1), float(n * n)) for n in range(3)]
    widths = torch.tensor([[1.0 if n < known else 0.0 for n in range(2)]])
    of_values = divided_differences(values[:given], torch.ones(1, 2))
    of_widths = divided_differences(values, widths)
    assert [bool(v.any()) for v in of_values] == [bool(v.any()) for v in of_widths] == [n < known for n in range(2)]


def test_a_new_head_returns_zeros() -> None:
    new = genie.CorrectionHead(genie.CorrectionConfig.of(network()))
    assert not run(new, *inputs(new)).any()


def test_every_input_reaches_the_output() -> None:
    made = correction_head()
    given = [v.requires_grad_() for v in inputs(made)]
    run(made, *given).square().sum().backward()
    assert all(v.grad is not None and (v.grad.abs().sum(0) > 0).any() for v in given)
    assert bool((given[-1].grad != 0.0).all())  # type: ignore[union-attr]


def test_the_output_is_in_units_of_the_error_of_the_polynomial() -> None:
    """A zero conditioning leaves the units: distances of 0.75 and 1.5 over 2 and 3, and what bounds them."""
    made = correction_head()
    for parameter in made.conditioning[-1].parameters():
        parameter.zero_()
    x, epsilon, *_, last, step = inputs(made)
    other = torch.tensor([[1.0, 0.5, 0.0, 0.0]] * 2)
    zeros = [torch.zeros_like(epsilon)] * 2
    with_memory, without = (made(x, torch.zeros_like(x), zeros, last, row) for row in (step, other))
    assert torch.allclose(with_memory, 0.375 / 2.125 * 0.5 / 2.5 * without, rtol=1e-4, atol=1e-7)


def test_saved_and_loaded_again(tmp_path: Path) -> None:
    made = correction_head(width=12, memory=1)
    genie.save_head(genie.GenieHead(genie.HeadConfig.of(network())), tmp_path)
    genie.save_head(made, tmp_path)  # an older one is replaced
    loaded = genie.load_head(tmp_path)
    half = {name: value.half().float() for name, value in made.state_dict().items()}
    assert loaded.config == made.config
    assert all(torch.equal(value, half[name]) for name, value in loaded.state_dict().items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["genie_head"]


# --- the model


@pytest.mark.parametrize("solver", ["genie_hermite3", "genie_hermite", "genie_ttm2"])
def test_a_head_of_corrections_runs_plans_of_corrections_only(solver: str) -> None:
    corrections = genie.with_head(model(), correction_head())
    assert corrections.outputs == ("epsilon", "c1", "c2", "c3")
    of_derivatives = gs.make_plan(solver, SCHEDULE, 3, options={"derivative": "head"})
    assert gs.sample(corrections, gs.make_plan(solver, SCHEDULE, 3), shape=SHAPE).isfinite().all()
    with pytest.raises(
        ValueError, match=r"reads \('epsilon', 'k1'.*its head is for plans of options=\{'derivative': 'correction'\}"
    ):
        gs.sample(corrections, of_derivatives, shape=SHAPE)


@pytest.mark.parametrize("values", [1, 2, 3])
def test_a_head_of_zero_corrections_leaves_the_multistep_method(values: int) -> None:
    new = genie.with_head(model(), genie.CorrectionHead(genie.CorrectionConfig.of(network())))
    deis = gs.make_plan(f"deis_log_ab{values - 1}", SCHEDULE, 5, grid="karras")
    corrected = gs.sample(new, plan(values), shape=SHAPE)
    assert torch.allclose(corrected, gs.sample(model(), deis, shape=SHAPE), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_the_head_sees_the_predictions_that_the_row_reads(prediction: str) -> None:
    plain, made = model(prediction), correction_head()
    seen: list[tuple[torch.Tensor, ...]] = []
    made.register_forward_pre_hook(lambda _, given: seen.append((given[1].clone(), *(v.clone() for v in given[2]))))
    gs.sample(genie.with_head(plain, made), plan(prediction=prediction), shape=SHAPE)
    epsilons = [epsilon for epsilon, *_ in seen]
    assert [len(history) for _, *history in seen] == [0, 1, 2, 2, 2]
    assert all(
        torch.allclose(history[back], epsilons[row - 1 - back], atol=1e-5)
        for row, (_, *history) in enumerate(seen)
        for back in range(len(history))
    )


def test_a_sample_does_not_depend_on_the_batch() -> None:
    corrected = genie.with_head(model(), correction_head())
    together = gs.sample(corrected, plan(), shape=(3, 2, 8, 8))
    apart = gs.sample(corrected, plan(), shape=(3, 2, 8, 8), batch_size=2)
    assert torch.allclose(together, apart, atol=1e-5)


def test_any_other_plan_runs_with_a_corrected_model_as_without() -> None:
    corrected = genie.with_head(model(), correction_head())
    deis = gs.make_plan("deis_tab2", SCHEDULE, 4)
    assert torch.equal(gs.sample(corrected, deis, shape=SHAPE), gs.sample(model(), deis, shape=SHAPE))


def test_a_model_that_writes_into_its_history_is_refused() -> None:
    class Scribbler:
        outputs, reads_history = ("epsilon",), True

        def __call__(self, x: torch.Tensor, t: torch.Tensor, history: list[torch.Tensor] | None = None) -> torch.Tensor:
            if history:
                history[0].zero_()
            return x.clone()

    with pytest.raises(ValueError, match="wrote into its input x, t or history in row 1"):
        gs.sample(Scribbler(), gs.make_plan("deis_tab1", SCHEDULE, 3), shape=SHAPE)


def test_labels_of_a_wrong_shape_name_their_method() -> None:
    class Wrong(WrappedModel):
        def labels(self, plan: gs.Plan) -> np.ndarray:
            return np.zeros(len(plan.times) + 1)

    plain = model()
    wrong = Wrong(network(), SCHEDULE, "epsilon", plain.label, defaults=plain.defaults)
    with pytest.raises(ValueError, match=r"model.labels: gave shape \(4,\) for 3 rows"):
        gs.sample(wrong, gs.make_plan("deis_tab1", SCHEDULE, 3), shape=SHAPE)
