"""The head: its layers, its files, and the model that it makes of a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers import genie
from genie_samplers.genie.heads.features import captured

from .heads import SCHEDULE, data, head, model, network

pytest.importorskip("diffusers", reason="the network is a diffusers UNet2DModel")


def test_sizes_are_read_from_the_network() -> None:
    assert genie.HeadConfig.of(network()) == genie.HeadConfig(channels=2, features=8, embedding=32, width=8)


def test_features_are_the_input_of_the_last_norm_and_the_output_of_the_time_embedding() -> None:
    unet, x, label = network(), torch.randn(3, 2, 8, 8), torch.tensor([0.1, -1.0, 2.0])
    seen: dict[str, torch.Tensor] = {}
    unet.conv_out.register_forward_hook(lambda _, inputs, __: seen.__setitem__("conv_out", inputs[0]))  # type: ignore[union-attr]
    with captured(unet) as features:
        unet(x, label, class_labels=torch.tensor([0, 1, 2]))
    rebuilt = unet.conv_act(unet.conv_norm_out(features.last))  # type: ignore[operator]
    assert torch.equal(rebuilt, seen["conv_out"])
    assert torch.equal(features.embedding, unet.time_embedding(unet.time_proj(label)))  # type: ignore[operator]


def test_hooks_are_gone_after_the_pass() -> None:
    unet = network()
    with captured(unet) as features:
        unet(torch.randn(1, 2, 8, 8), torch.tensor([0.1]), class_labels=torch.tensor([0]))
    before = features.last
    unet(torch.randn(1, 2, 8, 8), torch.tensor([0.1]), class_labels=torch.tensor([0]))
    assert features.last is before


def test_a_layer_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"last='nothing'.*conv_norm_out"), captured(network(), last="nothing"):
        pass


def test_a_pass_that_skips_the_layer_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="did not run this layer"), captured(network()):
        pass


def test_a_new_head_returns_zeros() -> None:
    new = genie.GenieHead(genie.HeadConfig.of(network()))
    maps = new(
        torch.randn(2, 2, 8, 8), torch.randn(2, 2, 8, 8), torch.randn(2, 8, 8, 8), torch.randn(2, 32), torch.rand(2)
    )
    assert maps.shape == (2, 6, 8, 8) and not maps.any()


def test_every_input_reaches_the_output() -> None:
    inputs = [
        torch.randn(*shape, requires_grad=True) for shape in ((1, 2, 8, 8), (1, 2, 8, 8), (1, 8, 8, 8), (1, 32), (1,))
    ]
    head(normalize=True, width=12)(*inputs).square().sum().backward()
    assert all(v.grad is not None and v.grad.abs().sum() > 0 for v in inputs)


def test_saved_and_loaded_again(tmp_path: Path) -> None:
    made = head(width=12)
    assert genie.save_head(made, tmp_path) == tmp_path / "genie_head"
    loaded = genie.load_head(tmp_path)
    assert loaded.config == made.config
    inputs = (
        torch.randn(1, 2, 8, 8),
        torch.randn(1, 2, 8, 8),
        torch.randn(1, 8, 8, 8),
        torch.randn(1, 32),
        torch.rand(1),
    )
    assert torch.allclose(loaded(*inputs), made(*inputs), atol=2e-2)  # float16 weights
    half = {name: value.half().float() for name, value in made.state_dict().items()}
    assert all(torch.equal(value, half[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (lambda: model("v"), "has prediction 'v', but the head in .* with 'epsilon'"),
        (lambda: gs.models.wrap(network(), SCHEDULE), "has labels"),
        (lambda: gs.models.wrap(network(), gs.schedules.vp_cosine(), label=lambda t: t), "has schedule"),
    ],
    ids=["prediction", "labels", "schedule"],
)
def test_a_network_wrapped_otherwise_than_in_the_distillation_is_named(
    tmp_path: Path, other: Callable[[], gs.models.WrappedModel], named: str
) -> None:
    genie.save_head(head(), tmp_path, model=model())
    assert genie.with_head(model(), tmp_path).outputs == ("epsilon", "k1", "k2", "k3")
    with pytest.raises(ValueError, match=named):
        genie.with_head(other(), tmp_path)


def test_labels_that_differ_in_the_last_bit_are_the_same(tmp_path: Path) -> None:
    """As logarithms do from processor to processor."""
    genie.save_head(head(), tmp_path, model=model())
    nearly = gs.models.wrap(network(), SCHEDULE, label=lambda t: np.nextafter(SCHEDULE.log_gamma(t), np.inf))
    assert genie.with_head(nearly, tmp_path).outputs == ("epsilon", "k1", "k2", "k3")


def test_a_head_is_replaced_behind_a_link(tmp_path: Path) -> None:
    genie.save_head(head(), tmp_path / "real")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "genie_head").symlink_to(tmp_path / "real" / "genie_head")
    genie.save_head(head(width=12), tmp_path / "linked")
    assert genie.load_head(tmp_path / "real").config.width == 12
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_dir()) == ["genie_head", "genie_head", "linked", "real"]


def test_weights_that_float16_cannot_hold_are_named(tmp_path: Path) -> None:
    made = head()
    made.conv_in.weight.fill_(1e5)
    with pytest.raises(ValueError, match=r"conv_in\.weight is not finite in torch\.float16"):
        genie.save_head(made, tmp_path)


def test_a_folder_without_a_head_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no GENIE head.*genie-samplers distill"):
        genie.load_head(tmp_path)


def test_a_folder_of_a_network_alone_is_not_taken_for_a_head(tmp_path: Path) -> None:
    network().save_pretrained(tmp_path)  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"holds no GENIE head.*genie-samplers distill"):
        genie.load_head(tmp_path)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_the_model_with_a_head_returns_the_prediction_and_the_maps_at_epsilon(prediction: str) -> None:
    plain, x, times = model(prediction), torch.randn(3, 2, 8, 8), torch.tensor([0.9, 0.5, 0.1])
    made = head()
    headed = genie.with_head(plain, made)
    labels = torch.from_numpy(headed.label(times.double().numpy())).float()
    out, *maps = headed(x, labels)
    with captured(plain.network) as features:  # type: ignore[arg-type]
        expected = plain(x, labels[:, 0])
    epsilon = genie.total_derivative(plain, x, times.double()).epsilon
    assert headed.outputs == (prediction, "k1", "k2", "k3")
    assert torch.equal(out, expected)
    assert torch.allclose(
        torch.cat(maps, 1), made(x, epsilon, features.last, features.embedding, labels[:, 4]), atol=1e-5
    )


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_a_head_is_given_the_noise_of_a_half_precision_network_in_float32(prediction: str) -> None:
    half = network().bfloat16()
    made, seen = head(), []
    made.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    wrapped = gs.models.wrap(half, SCHEDULE, prediction=prediction, defaults={"class_labels": 3})
    headed, x = genie.with_head(wrapped, made), torch.randn(2, 2, 8, 8).bfloat16()
    labels = torch.from_numpy(headed.label(np.array([0.9, 0.01]))).float()
    p, q = (labels[:, n, None, None, None] for n in (1, 2))
    out, *_ = headed(x, labels)
    assert torch.equal(seen[0], p * x.float() + q * out.float())


def test_only_the_prediction_runs_without_the_head() -> None:
    headed = genie.with_head(model(), head())
    x, t = torch.randn(1, 2, 8, 8), torch.from_numpy(headed.label(np.array([0.5]))).float()
    calls: list[int] = []
    headed.head.register_forward_hook(lambda *_: calls.append(1))
    (out,) = headed.first(1)(x, t)
    assert torch.equal(out, headed(x, t)[0]) and len(calls) == 1


@pytest.mark.parametrize("solver", ["genie_ttm2", "genie_hermite3", "genie_hermite4"])
def test_a_genie_plan_runs_with_a_head_and_another_seed_makes_another_image(solver: str) -> None:
    plan = gs.make_plan(solver, SCHEDULE, 5, options={"derivative": "head"})
    one, other = (gs.sample(genie.with_head(model(), head(seed=s)), plan, shape=(2, 2, 8, 8)) for s in (0, 1))
    assert one.shape == (2, 2, 8, 8) and not torch.equal(one, other)


def test_a_head_of_zeros_leaves_a_line_through_the_prediction() -> None:
    new = genie.with_head(model(), genie.GenieHead(genie.HeadConfig.of(network())))
    plan = gs.make_plan("genie_ttm2", SCHEDULE, 5, grid="uniform_t", options={"derivative": "head"})
    ddim = gs.make_plan("ddim", SCHEDULE, 5, grid="uniform_t")
    assert torch.allclose(
        gs.sample(new, plan, shape=(2, 2, 8, 8)), gs.sample(model(), ddim, shape=(2, 2, 8, 8)), atol=1e-5
    )


def test_any_other_plan_runs_with_a_headed_model_as_without() -> None:
    plan = gs.make_plan("deis_tab2", SCHEDULE, 4)
    plain = gs.sample(model(), plan, shape=(2, 2, 8, 8))
    assert torch.equal(gs.sample(genie.with_head(model(), head()), plan, shape=(2, 2, 8, 8)), plain)


def test_guided_heads_are_mixed_as_published() -> None:
    guided = gs.guidance.classifier_free(genie.with_head(model(), head()), null={"class_labels": 3})  # type: ignore[arg-type]
    plan = gs.make_plan("genie_ttm2", SCHEDULE, 3, options={"derivative": "head"}).guided(2.0)
    assert plan.output_names == guided.outputs
    cond = {"class_labels": torch.tensor([0, 1])}
    assert gs.sample(guided, plan, shape=(2, 2, 8, 8), cond=cond).isfinite().all()


def test_a_head_for_a_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        genie.with_head(gs.models.wrap(lambda x, t: x, SCHEDULE), head())


def test_bytes_per_sample_grow_with_the_network(tmp_path: Path) -> None:
    small = genie.bytes_per_sample(model(), data().images[:1], {})
    twice = genie.bytes_per_sample(model(), data().images[:1].repeat(1, 1, 2, 1), {})
    assert 1.8 * small < twice < 2.2 * small
