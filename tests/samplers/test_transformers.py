"""Transformers of diffusers behind their adapters against the same networks called by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import genie_samplers as gs
from genie_ext.testing import assert_same_bits

from .tiny_transformers import CASES, Case, conditioning, grid_ids, network_of, tokens

pytestmark = pytest.mark.filterwarnings("error:model.*row-major:UserWarning")

HALF_WAY = 0.75  # a time of which every label is a float32 number
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def label_of(model: gs.models.Model, t: float, samples: int) -> Tensor:
    return torch.full((samples,), float(np.asarray(model.label(np.array(t)))))


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
