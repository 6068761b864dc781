"""Networks of other libraries behind an adapter against the same networks called by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

import genie_samplers as gs
from genie_ext.testing import assert_same_bits

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings(
    "error:model.*row-major:UserWarning", "ignore::FutureWarning", "ignore:__array:DeprecationWarning"
)

FLOW = gs.schedules.flow()
HALF_WAY = 0.75  # a time of which every label is a float32 number


def tokens(x: Tensor) -> Tensor:
    """Patches of 2 x 2 as rows, the channel slowest."""
    return pixel_unshuffle(x, 2).flatten(2).transpose(1, 2)


def images(rows: Tensor, height: int, width: int) -> Tensor:
    return nn.functional.pixel_shuffle(rows.transpose(1, 2).unflatten(2, (height // 2, width // 2)), 2)


def grid_ids(rows: int, columns: int) -> Tensor:
    return torch.tensor([[0.0, i, j] for i in range(rows) for j in range(columns)])


class Case(NamedTuple):
    """A tiny network, its state, its conditioning and its velocity eps - x0 by hand."""

    network: Callable[[], nn.Module]
    shape: tuple[int, ...]
    cond: dict[str, tuple[int, ...]]
    by_hand: Callable[..., Tensor]
    options: dict[str, Any]


def sd3() -> nn.Module:
    return diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=4, num_attention_heads=2,
        joint_attention_dim=8, caption_projection_dim=8, pooled_projection_dim=6, out_channels=4, pos_embed_max_size=8,
    )  # fmt: skip


def flux(*, guidance_embeds: bool = False) -> nn.Module:
    return diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=8, pooled_projection_dim=6, axes_dims_rope=(4, 4, 8), guidance_embeds=guidance_embeds,
    )  # fmt: skip


def flux2() -> nn.Module:
    return diffusers.Flux2Transformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=8, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4),
    )  # fmt: skip


def wan() -> nn.Module:
    return diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=8,
        freq_dim=16, ffn_dim=16, num_layers=1, rope_max_seq_len=32,
    )  # fmt: skip


def qwen() -> nn.Module:
    return diffusers.QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=8, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip


def sana(*, out_channels: int = 4) -> nn.Module:
    return diffusers.SanaTransformer2DModel(
        in_channels=4, out_channels=out_channels, num_attention_heads=2, attention_head_dim=8, num_layers=1,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=8,
        sample_size=8,
    )  # fmt: skip


def z_image() -> nn.Module:
    return diffusers.ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=8,
        axes_dims=[4, 6, 6], axes_lens=[64, 32, 32],
    )  # fmt: skip


def sd3_by_hand(network: Any, x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
    text, pooled = cond["encoder_hidden_states"], cond["pooled_projections"]
    return network(x, text, pooled, 1000.0 * t).sample


def flux_by_hand(network: Any, x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
    text, pooled = cond["encoder_hidden_states"], cond["pooled_projections"]
    ids = grid_ids(x.shape[2] // 2, x.shape[3] // 2)
    guidance = torch.full((len(x),), 3.5) if network.config.guidance_embeds else None
    return images(network(tokens(x), text, pooled, t, ids, torch.zeros(5, 3), guidance).sample, x.shape[2], x.shape[3])


def flux2_by_hand(network: Any, x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
    rows, columns = x.shape[2:]
    ids = torch.cat([grid_ids(rows, columns), torch.zeros(rows * columns, 1)], dim=1)
    words = torch.cat([torch.zeros(5, 3), torch.arange(5.0)[:, None]], dim=1)
    pixels = x.flatten(2).transpose(1, 2)
    out = network(pixels, cond["encoder_hidden_states"], t, ids, words, torch.full((len(x),), 4.0)).sample
    return out.transpose(1, 2).unflatten(2, (rows, columns))


def wan_by_hand(network: Any, x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
    return network(x, 1000.0 * t, cond["encoder_hidden_states"]).sample


def qwen_by_hand(network: Any, x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
    shapes = [[(1, x.shape[2] // 2, x.shape[3] // 2)]] * len(x)
    out = network(tokens(x), cond["encoder_hidden_states"], timestep=t, img_shapes=shapes).sample
    return images(out, x.shape[2], x.shape[3])


def sana_by_hand(network: Any, x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
    return network(x, cond["encoder_hidden_states"], 1000.0 * t).sample[:, :4]


def z_image_by_hand(network: Any, x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
    out = network([image[:, None] for image in x], (1000.0 - 1000.0 * t) / 1000.0, list(cond["cap_feats"])).sample
    return -torch.stack([image[:, 0] for image in out])


TEXT = {"encoder_hidden_states": (5, 8)}
POOLED = {**TEXT, "pooled_projections": (6,)}
CASES = {
    "sd3": Case(sd3, (4, 8, 8), POOLED, sd3_by_hand, {}),
    "flux": Case(flux, (4, 8, 6), POOLED, flux_by_hand, {}),
    "flux with guidance": Case(lambda: flux(guidance_embeds=True), (4, 8, 6), POOLED, flux_by_hand, {"guidance": 3.5}),
    "flux2": Case(flux2, (4, 4, 3), TEXT, flux2_by_hand, {"guidance": 4.0}),
    "wan": Case(wan, (4, 3, 8, 6), TEXT, wan_by_hand, {}),
    "qwen": Case(qwen, (4, 8, 6), TEXT, qwen_by_hand, {}),
    "sana": Case(sana, (4, 8, 8), TEXT, sana_by_hand, {}),
    "sana with variance": Case(lambda: sana(out_channels=8), (4, 8, 8), TEXT, sana_by_hand, {}),
    "z_image": Case(z_image, (4, 8, 8), {"cap_feats": (5, 8)}, z_image_by_hand, {}),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def network_of(case: Case) -> nn.Module:
    torch.manual_seed(0)
    return case.network().eval().requires_grad_(False)


def conditioning(case: Case, samples: int) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(1)
    return {name: torch.randn(samples, *shape, generator=draws) for name, shape in case.cond.items()}


def label_of(model: gs.models.Model, t: float, samples: int) -> Tensor:
    return torch.full((samples,), float(np.asarray(model.label(np.array(t)))))


# --- transformers of diffusers


@every_case
def test_the_velocity_is_that_of_the_call_by_hand(case: Case) -> None:
    network = network_of(case)
    model = gs.models.transformer(network, **case.options)
    x, cond = torch.randn(3, *case.shape, generator=torch.Generator().manual_seed(2)), conditioning(case, 3)
    velocity = model(x, label_of(model, HALF_WAY, 3), **cond)
    by_hand = case.by_hand(network, x, torch.full((3,), HALF_WAY), cond)
    assert bool(by_hand.abs().amax() > 0.0)
    assert_same_bits(velocity, by_hand)


@every_case
def test_samples_come_with_the_conditioning_of_their_own(case: Case) -> None:
    """Two of three give the same bits where the network is called for one at a time; with each other's text others."""
    model = gs.models.transformer(network_of(case), **case.options)
    plan = gs.make_plan("ddim", model.schedule, 3, model=model)
    cond = conditioning(case, 3)
    all_three = gs.sample(model, plan, shape=(3, *case.shape), cond=cond, batch_size=1)
    swapped = {name: value[[2, 0]] for name, value in cond.items()}
    picked = {name: value[[0, 2]] for name, value in cond.items()}
    runs: dict[str, Any] = {"shape": (2, *case.shape), "sample_ids": [0, 2], "batch_size": 1}
    assert_same_bits(gs.sample(model, plan, cond=picked, **runs), all_three[[0, 2]])
    assert not torch.equal(gs.sample(model, plan, cond=swapped, **runs), all_three[[0, 2]])


@every_case
def test_guided_pairs_run(case: Case) -> None:
    model = gs.models.transformer(network_of(case), **case.options)
    pair = gs.guidance.classifier_free(model, null={name: torch.zeros(shape) for name, shape in case.cond.items()})
    plan = gs.make_plan("ddim", model.schedule, 2, model=model).guided(3.0)
    x = gs.sample(pair, plan, shape=(2, *case.shape), cond=conditioning(case, 2))
    assert x.shape == (2, *case.shape)


def test_flux_takes_packed_states_with_their_positions() -> None:
    network = network_of(CASES["flux"])
    model = gs.models.transformer(network)
    x, cond = torch.randn(2, 4, 8, 6), conditioning(CASES["flux"], 2)
    t = label_of(model, HALF_WAY, 2)
    packed = model(gs.models.pack(x), t, img_ids=grid_ids(4, 3), txt_ids=torch.zeros(5, 3), **cond)
    assert_same_bits(gs.models.unpack(packed, 8, 6), model(x, t, **cond))


def test_qwen_takes_packed_states_with_their_shape() -> None:
    model = gs.models.transformer(network_of(CASES["qwen"]))
    x, cond = torch.randn(2, 4, 8, 6), conditioning(CASES["qwen"], 2)
    t = label_of(model, HALF_WAY, 2)
    packed = model(gs.models.pack(x), t, img_shapes=[[(1, 4, 3)]] * 2, **cond)
    assert_same_bits(gs.models.unpack(packed, 8, 6), model(x, t, **cond))


def test_packing_is_that_of_diffusers() -> None:
    x = torch.randn(2, 3, 8, 6)
    assert_same_bits(gs.models.pack(x), tokens(x))
    assert_same_bits(gs.models.unpack(gs.models.pack(x), 8, 6), x)


def test_texts_of_z_image_are_cut_to_their_lengths() -> None:
    network = network_of(CASES["z_image"])
    model = gs.models.transformer(network)
    x, cond = torch.randn(2, 4, 8, 8), conditioning(CASES["z_image"], 2)
    t = label_of(model, HALF_WAY, 2)
    velocity = model(x, t, **cond, lengths=torch.tensor([5, 3]))
    by_hand = network([image[:, None] for image in x], t, [cond["cap_feats"][0], cond["cap_feats"][1, :3]]).sample
    assert_same_bits(velocity, -torch.stack([image[:, 0] for image in by_hand]))


def test_guidance_may_differ_per_sample() -> None:
    network = network_of(CASES["flux with guidance"])
    model = gs.models.transformer(network)
    plan = gs.make_plan("ddim", model.schedule, 2, model=model)
    case = CASES["flux with guidance"]
    cond = {**conditioning(case, 2), "guidance": torch.tensor([3.5, 7.0])}
    x = gs.sample(model, plan, shape=(2, *case.shape), cond=cond, batch_size=1)
    same = gs.models.transformer(network, guidance=3.5)
    expected = gs.sample(same, plan, shape=(2, *case.shape), cond=conditioning(case, 2), batch_size=1)
    assert_same_bits(x[0], expected[0])
    assert not torch.equal(x[1], expected[1])


def test_the_time_of_a_network_with_a_scale_of_its_own_is_scaled() -> None:
    network = network_of(CASES["sana"])
    network.register_to_config(timestep_scale=0.001)  # type: ignore[operator]
    assert gs.models.transformer(network).label(np.array(0.5)) == 0.5


def test_a_bfloat16_network_is_told_the_time_in_float32() -> None:
    """In bfloat16 the 750 of diffusers' pipelines would be 752."""
    seen: list[Tensor] = []
    network = network_of(CASES["wan"]).bfloat16()
    network.register_forward_pre_hook(lambda _, args, given: seen.append(given["timestep"]), with_kwargs=True)
    model = gs.models.transformer(network)
    cond = {name: value.bfloat16() for name, value in conditioning(CASES["wan"], 1).items()}
    model(torch.randn(1, *CASES["wan"].shape).bfloat16(), label_of(model, HALF_WAY, 1), **cond)
    assert (seen[0].dtype, seen[0].tolist()) == (torch.float32, [750.0])


def test_a_network_that_is_none_of_them_is_refused() -> None:
    with pytest.raises(ValueError, match=r"network: Linear is not known here; choose one of SD3Transformer2DModel, .*"):
        gs.models.transformer(nn.Linear(2, 2))


def test_a_schedule_that_is_no_flow_is_refused() -> None:
    with pytest.raises(ValueError, match=r"trained on the straight path; give schedules\.flow\(\)"):
        gs.models.transformer(network_of(CASES["sd3"]), gs.schedules.vp_linear())


def test_a_guidance_that_the_network_does_not_embed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"guidance=3\.5: FluxTransformer2DModel here has no guidance_embeds"):
        gs.models.transformer(network_of(CASES["flux"]), guidance=3.5)


@pytest.mark.parametrize(
    ("name", "missing"), [("flux with guidance", "guidance"), ("flux2", "guidance"), ("flux", "encoder_hidden_states")]
)
def test_what_a_network_needs_and_was_not_given_is_named(name: str, missing: str) -> None:
    case = CASES[name]
    model = gs.models.transformer(network_of(case))
    cond = {key: value for key, value in conditioning(case, 1).items() if key != missing}
    with pytest.raises(ValueError, match=f"is called without {missing}; give it in cond="):
        model(torch.randn(1, *case.shape), torch.ones(1), **cond)


def test_tokens_without_positions_are_refused() -> None:
    model = gs.models.transformer(network_of(CASES["flux"]))
    with pytest.raises(ValueError, match=r"state has shape \(1, 12, 16\), tokens, but img_ids is missing"):
        model(torch.randn(1, 12, 16), torch.ones(1), **conditioning(CASES["flux"], 1))


def test_images_that_are_no_whole_patches_are_refused() -> None:
    with pytest.raises(ValueError, match=r"state has shape \(1, 4, 7, 6\): height and width are to be multiples of 2"):
        gs.models.pack(torch.randn(1, 4, 7, 6))


# --- time from noise to data


POINT = torch.tensor([0.5, -2.0, 3.0])


def from_noise_to_data(t: Tensor, x: Tensor) -> Tensor:
    """The velocity to one point of data along (1 - t) noise + t data."""
    return (POINT - x) / (1.0 - t.reshape(-1, 1))


ADAPTED = {
    "torchcfm": lambda: gs.models.torchcfm(from_noise_to_data),
    "torchcfm, one time": lambda: gs.models.torchcfm(from_noise_to_data, scalar_time=True),
    "flow_matching": lambda: gs.models.flow_matching(lambda x, t: from_noise_to_data(t, x)),
}


@pytest.mark.parametrize("make", ADAPTED.values(), ids=ADAPTED.keys())
@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m"])
def test_a_point_is_reached_along_reversed_time(solver: str, make: Callable[[], gs.models.WrappedModel]) -> None:
    model = make()
    x = gs.sample(model, gs.make_plan(solver, model.schedule, 4, model=model), shape=(5, 3))
    # four steps of some roundings of numbers of up to 4
    torch.testing.assert_close(x, POINT.expand(5, 3), rtol=0, atol=40 * 2.0**-22)


@pytest.mark.parametrize("adapter", [gs.models.torchcfm, gs.models.flow_matching])
def test_the_time_is_reversed_and_the_sign_turned(adapter: Any) -> None:
    model = adapter(lambda first, second: torch.full_like(first if first.ndim > 1 else second, 2.0))
    assert_same_bits(model(torch.zeros(2, 3), torch.zeros(2)), torch.full((2, 3), -2.0))
    np.testing.assert_array_equal(model.label(np.array([1.0, 0.75, 0.0])), [0.0, 0.25, 1.0])
    assert (model.prediction, model.schedule) == ("flow", FLOW)


def test_conditioning_reaches_a_reversed_network() -> None:
    model = gs.models.torchcfm(lambda t, x, y: y[:, None] * x)
    assert_same_bits(
        model(torch.ones(2, 3), torch.zeros(2), y=torch.tensor([1.0, 2.0])), -torch.tensor([[1.0], [2.0]]).expand(2, 3)
    )


def test_one_time_for_all_is_a_number() -> None:
    seen: list[Tensor] = []
    model = gs.models.torchcfm(lambda t, x: (seen.append(t), x)[1], scalar_time=True)
    model(torch.ones(2, 3), torch.tensor([0.25, 0.25]))
    assert (seen[0].ndim, float(seen[0])) == (0, 0.25)


# --- EDM


def raw(x: Tensor, t: Tensor) -> Tensor:
    return torch.tanh(x) * torch.cos(t).reshape(-1, 1)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sigma", [0.01, 1.0, 60.0])
def test_preconditioning_is_that_of_diffusers(sigma: float, prediction_type: str) -> None:
    scheduler = diffusers.EDMEulerScheduler(sigma_data=0.7, prediction_type=prediction_type)
    model = gs.models.from_diffusers(raw, scheduler)  # type: ignore[arg-type]
    x, level = sigma * torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor(sigma)
    output = raw(scheduler.precondition_inputs(x, level), scheduler.precondition_noise(level).expand(4))
    expected = scheduler.precondition_outputs(x, output, level)
    # a dozen roundings of terms of at most |x| + sigma
    assert float((model(x, level.expand(4)) - expected).abs().max()) <= 12 * 2.0**-24 * (float(x.abs().max()) + sigma)
    assert model.prediction == "x0"


def test_a_preconditioned_network_runs_in_its_own_dtype() -> None:
    seen: list[torch.dtype] = []

    class Raw(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3, dtype=torch.bfloat16)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            seen.append(x.dtype)
            return self.layer(x)

    model = gs.models.edm(Raw())
    assert model(torch.ones(2, 3), torch.ones(2)).dtype == model.dtype == torch.float32
    assert seen == [torch.bfloat16]


@pytest.mark.parametrize("option", [{"sigma_data": 0.0}, {"prediction": "x0"}])
def test_options_of_preconditioning_are_checked(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"sigma_data=0\.0: give|prediction='x0'; choose one of epsilon, v"):
        gs.models.edm(raw, **option)


# --- a pipeline's network and scheduler


def test_a_transformer_is_read_with_the_shift_of_its_scheduler() -> None:
    network = network_of(CASES["flux with guidance"])
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    model = gs.models.from_diffusers(network, scheduler, guidance=3.5)
    assert model.schedule == gs.schedules.flow(shift=3.0)
    assert (model.prediction, float(np.asarray(model.label(np.array(1.0))))) == ("flow", 1.0)
    assert model.defaults == {"guidance": 3.5}


def test_a_unet_is_read_with_the_table_and_prediction_of_its_scheduler() -> None:
    network = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8,), down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",), layers_per_block=1, norm_num_groups=4,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing")
    model = gs.models.from_diffusers(network, scheduler)
    assert (model.prediction, model.schedule) == ("v", gs.schedules.from_diffusers(scheduler))
    np.testing.assert_array_equal(model.label(np.array([999.0, 3.0])), [999.0, 3.0])


def test_the_folder_of_an_edm_pipeline_is_not_read_without_its_scaling(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    diffusers.EDMEulerScheduler().save_pretrained(tmp_path / "scheduler")
    with pytest.raises(ValueError, match=r"EDMEulerScheduler scales what .* to models\.from_diffusers"):
        gs.models.load(tmp_path)


def test_a_guidance_for_a_network_without_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"guidance=3\.5: function takes none; guide with models\.guidance"):
        gs.models.from_diffusers(raw, diffusers.DDIMScheduler(), guidance=3.5)  # type: ignore[arg-type]


def test_the_scheduler_of_another_space_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="scheduler: VQDiffusionScheduler"):
        gs.models.from_diffusers(raw, {"_class_name": "VQDiffusionScheduler"})  # type: ignore[arg-type]
