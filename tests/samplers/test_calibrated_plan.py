"""calibrate.plan: the numbers of a plan fitted to a network."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_samplers.calibrate import CalibratedPlan
from genie_samplers.calibrate.memory import fit, graph_bytes
from genie_samplers.calibrate.targets import Targets, guided_by
from genie_samplers.models.fingerprint import question_fingerprint

from .mixtures import SCHEDULES, SHAPE, Mixture, guided_pair, model_of

VP = SCHEDULES["vp_linear"][0]


@functools.cache
def once(where: str = "vp_linear", steps: int = 40) -> CalibratedPlan:
    """One that several tests look at."""
    return calibrated(where, steps=steps)


def calibrated(where: str = "vp_linear", nfe: int = 4, **given: object) -> CalibratedPlan:
    options = {"shape": SHAPE, "count": 32, "held_out": 16, "steps": 40, "batch_size": 16, "progress": False, **given}
    model = options.pop("model", None) or model_of(where)
    return gs.calibrate.plan(model, SCHEDULES[where][0], nfe, **options)  # type: ignore[arg-type]


def error(where: str, plan: gs.Plan, model: Any = None, guidance: float | None = None) -> float:
    """Root mean square error on latents that chose nothing."""
    targets = Targets.record(
        model or model_of(where),
        plan,
        count=32,
        shape=SHAPE,
        seed=99,
        guidance=guidance,
        steps=80,  # type: ignore[arg-type]
    )
    return targets.rmse(model or model_of(where), plan)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["vp_linear", "cosine", "flow", "edm"])
def test_it_at_least_halves_the_error_on_latents_that_chose_nothing(where: str) -> None:
    found = once(where, 60 if where != "flow" else 100)
    assert error(where, found.plan) < 0.5 * error(where, found.start)
    assert found.rmse < 0.5 * found.start_rmse
    assert found.plan.nfe == found.start.nfe == 4
    assert str(found).startswith(f"RMSE {found.rmse:.4g} on held-out latents")


def test_the_result_is_an_ordinary_plan_with_a_record() -> None:
    found = once(steps=60)
    plan = found.plan
    assert gs.Plan.from_json(plan.to_json()) == plan
    assert plan.is_table and plan.schedule == VP and plan.recipe is not None
    assert plan.calibration is not None
    assert plan.calibration["rmse"] == found.rmse and plan.calibration["start_rmse"] == found.start_rmse
    assert plan.calibration["network"] == gs.models.network_fingerprint(model_of("vp_linear"))
    assert found.start.calibration is None


def test_no_other_start_is_made_of_it() -> None:
    plan = once(steps=60).plan
    with pytest.raises(ValueError, match=r"calibrated from .* as a whole"):
        gs.starting_at(plan, 1)
    image = torch.zeros(2, *SHAPE)
    with pytest.raises(ValueError, match=r"calibrated from .* as a whole"):
        gs.sample(model_of("vp_linear"), plan, image=image, start=1)


def test_two_runs_are_the_same_to_the_bit_and_another_seed_is_not() -> None:
    first, second, other = calibrated(steps=6), calibrated(steps=6), calibrated(steps=6, seed=2)
    assert first.plan == second.plan and first.checks == second.checks
    assert first.checks != other.checks


@pytest.mark.parametrize("where", ["vp_linear", "flow"])
def test_a_calibrated_plan_can_be_calibrated_further(where: str) -> None:
    first = once(where, 60 if where != "flow" else 100).plan
    again = calibrated(where, start=first, steps=0)
    assert again.plan.allclose(first, rtol=1e-9)
    further = calibrated(where, start=first, steps=20, seed=7)
    assert further.rmse <= further.start_rmse and further.plan != first


class Killed(Exception):
    pass


def test_killed_and_started_again_it_makes_the_same_plan(tmp_path: Path) -> None:
    whole = calibrated(steps=24)
    lines: list[str] = []

    class Mortal(Mixture):
        left = 310

        def forward(self, x: Tensor, share: Tensor) -> Tensor:
            Mortal.left -= 1
            if not Mortal.left:
                raise Killed
            return super().forward(x, share)

    network = Mortal(VP, "epsilon").requires_grad_(False)
    model = gs.models.wrap(network, VP, prediction="epsilon", label=VP.noise_share)
    with pytest.raises(Killed):
        calibrated(steps=24, model=model, folder=tmp_path)
    assert (tmp_path / "checkpoint.safetensors").exists()
    Mortal.left = 0
    resumed = calibrated(steps=24, model=model, folder=tmp_path, report=lines.append)
    assert resumed.plan == whole.plan and resumed.checks == whole.checks
    assert -Mortal.left < 230  # the fine solutions were read, not made again


def around(network: Mixture, label: object = VP.noise_share) -> gs.models.WrappedModel:
    """A model of a plain function, whose weights nobody sees."""
    frozen = network.requires_grad_(False)
    return gs.models.wrap(lambda x, s: frozen(x, s), VP, label=label, dtype=torch.float64)  # type: ignore[arg-type]


SHORT: dict[str, object] = {"count": 8, "held_out": 4, "batch_size": 4, "steps": 1, "nfe": 3, "shape": (2,)}
ASKED: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "evaluations": ({}, {"nfe": 4}),
    "a function of other weights": (
        {"model": around(Mixture(VP, "epsilon"))}, {"model": around(Mixture(VP, "epsilon", 0.5))},
    ),
    "labels": ({}, {"model": gs.models.wrap(Mixture(VP, "epsilon"), VP, label=lambda t: VP.noise_share(t) ** 1.2)}),
    "the unconditional half": (
        {"model": guided_pair("vp_linear"), "guidance": 2.0},
        {"model": guided_pair("vp_linear", 0.5), "guidance": 2.0},
    ),
    "distance": ({}, {"distance": lambda made, fine: (made - fine).square().mean()}),
    "numbers that read alike": ({"held_out": 4, "seed": 12}, {"held_out": 41, "seed": 2}),
}  # fmt: skip


@pytest.mark.parametrize("what", ASKED)
def test_a_checkpoint_of_another_question_is_refused(what: str, tmp_path: Path) -> None:
    first, second = ({**SHORT, **given} for given in ASKED[what])
    calibrated(**first, folder=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="question="):
        calibrated(**second, folder=tmp_path)  # type: ignore[arg-type]


def test_questions_of_numbers_that_read_alike_are_told_apart() -> None:
    assert question_fingerprint(32, 1) != question_fingerprint(3, 21)


def test_steps_after_the_last_regular_look_are_not_lost() -> None:
    found = calibrated(**{**SHORT, "steps": 3})  # type: ignore[arg-type]
    assert [step for step, *_ in found.checks] == [0, 3]
    assert found.rmse < found.start_rmse


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    given = {name: np.int64(SHORT[name]) for name in ("nfe", "count", "held_out", "batch_size", "steps")}  # type: ignore[call-overload]
    plan = calibrated(**{**SHORT, **given}, seed=np.int64(1), folder=tmp_path).plan  # type: ignore[arg-type]
    assert plan == calibrated(**SHORT).plan  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_around_it_makes_the_same(mode: type) -> None:
    model = model_of("vp_linear")
    with mode():
        plan = calibrated(**SHORT, model=model).plan  # type: ignore[arg-type]
    assert plan == calibrated(**SHORT).plan  # type: ignore[arg-type]


def test_what_all_samples_share_reaches_a_guided_network_as_it_is() -> None:
    network = Mixture(VP, "epsilon").requires_grad_(False)

    def conditional(x: Tensor, s: Tensor, kind: Tensor, scale: Tensor) -> Tensor:
        assert scale.shape == (3,)
        return network(x, s) + 0.1 * kind[:, None] * scale.sum()

    model = gs.models.guidance.classifier_free(
        gs.models.wrap(conditional, VP, label=VP.noise_share, dtype=torch.float64), null={"kind": 0}
    )
    cond, shared = {"kind": torch.arange(12) % 2}, {"scale": torch.ones(3)}
    found = calibrated(**SHORT, model=model, cond=cond, shared=shared, guidance=2.0)  # type: ignore[arg-type]
    assert found.rmse < found.start_rmse


@pytest.mark.parametrize("entries", [8, 13])
def test_conditioning_of_other_latents_than_there_are_is_refused(entries: int) -> None:
    model = gs.models.wrap(lambda x, s, kind: x, VP)
    with pytest.raises(ValueError, match=rf"cond\['kind'\]: {entries} entries; give 12, of the 8 latents to fit"):
        calibrated(**SHORT, model=model, cond={"kind": torch.arange(entries)})  # type: ignore[arg-type]


def test_a_network_of_features_is_left_as_it_was() -> None:
    features = torch.nn.Linear(2, 3).double()
    calibrated(**SHORT, distance=lambda made, fine: (features(made) - features(fine)).square().mean())  # type: ignore[arg-type]
    assert features.weight.grad is None


def test_the_network_is_left_as_it_was() -> None:
    network = Mixture(VP, "epsilon")
    model = gs.models.wrap(network, VP, prediction="epsilon", label=VP.noise_share)
    calibrated(steps=2, model=model)
    assert network.centre.requires_grad and network.centre.grad is None


def test_a_range_of_guidance_is_calibrated_for_all_of_it() -> None:
    pair = guided_pair("vp_linear")
    found = calibrated(model=pair, guidance=(1.5, 3.0))
    assert found.plan.guidance is None and found.plan.calibration is not None
    assert found.plan.calibration["guidance"] == (1.5, 3.0)
    assert found.rmse < 0.7 * found.start_rmse
    assert error("vp_linear", found.plan, pair, 1.7) < error("vp_linear", found.start, pair, 1.7)
    assert guided_by((1.5, 3.0), 8, 1) != guided_by((1.5, 3.0), 8, 2)


def test_recomputed_in_parts_it_takes_the_same_steps() -> None:
    kept, recomputed = calibrated(steps=4), calibrated(steps=4, memory=1)
    # labels are float32, and so are the sums of their gradients over the samples of a part: 6e-8, in four steps
    np.testing.assert_allclose(kept.plan.table, recomputed.plan.table, rtol=1e-6)
    assert kept.plan.table.tobytes() != kept.start.table.tobytes()  # there were steps


def test_memory_is_bounded_by_the_budget() -> None:
    assert fit(8, 10, 100, 8000) == (8, False)
    assert fit(8, 10, 100, 7999) == (8, True)
    assert fit(8, 10, 100, 799) == (4, True)
    assert fit(8, 10, 100, 1) == (1, True)
    model = model_of("vp_linear")
    x, label = torch.randn(1, *SHAPE, dtype=torch.float64), torch.tensor([0.5])
    one = graph_bytes(model, x, label, {})
    assert 8 * 4 <= one <= graph_bytes(model, torch.randn(1, 1, 16, 16, dtype=torch.float64), label, {})


def test_a_distance_of_features_is_what_is_made_small() -> None:
    halves = calibrated(distance=lambda made, fine: (made - fine)[..., :1].square().mean())
    targets = Targets.record(model_of("vp_linear"), halves.plan, count=32, shape=SHAPE, seed=99, steps=80)
    wrong = (targets.run(model_of("vp_linear"), halves.plan) - targets.samples).square()
    assert wrong[..., :1].mean() < 0.25 * error("vp_linear", halves.start) ** 2


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "few": ({"count": 3}, "count=3: too few latents"),
    "few held out": ({"held_out": 1}, "held_out=1: too few latents"),
    "large batch": ({"batch_size": 33}, "batch_size=33: more than the 32 latents"),
    "not converged": ({"fine_steps": 5}, "fine_steps=5: .* has not converged; give more fine_steps"),
    "nothing free": ({"free": ()}, "free: nothing may change"),
    "guidance": ({"guidance": (3.0, 1.0)}, "guidance=.*low < high"),
    "steps": ({"steps": -1}, "steps=-1"),
    "rate": ({"learning_rate": float("nan")}, "learning_rate"),
    "distances": ({"distance": lambda made, fine: (made - fine).square().flatten(1).mean(1)}, r"distance: .*\(16,\)"),
    "distance of numpy": ({"distance": lambda made, fine: float((made - fine).square().mean())}, "distance: .*float"),
    "no gradient": ({"distance": lambda made, fine: (made - fine).detach().square().mean()}, "distance: .*gradient"),
    "clip": ({"start": gs.make_plan("dpmpp_2m", VP, 4, clip=1.0)}, "start: dpmpp_2m clamps .* leave clip out"),
    "start": ({"start": "ddpm"}, "start: .*deterministic"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_arguments_are_named(what: str) -> None:
    given, reason = REFUSED[what]
    with pytest.raises(ValueError, match=reason):
        calibrated(**given)  # type: ignore[arg-type]


def test_gradients_that_are_not_finite_are_named() -> None:
    class Kinked(Mixture):
        def forward(self, x: Tensor, share: Tensor) -> Tensor:
            return super().forward(x, share) + 0.0 * (x - x).square().sum(1, keepdim=True).sqrt()

    model = gs.models.wrap(Kinked(VP, "epsilon"), VP, prediction="epsilon", label=VP.noise_share)
    with pytest.raises(ValueError, match=r"gradient: not finite with respect to the .* in step 0"):
        calibrated(model=model)
