"""Heads and networks that do not belong together, and heads of any width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import genie_samplers as gs
from genie_samplers import genie

from .heads import SCHEDULE, model, network

pytest.importorskip("diffusers", reason="the network is a diffusers UNet2DModel")


def unet(taken: int, returned: int) -> Any:
    from diffusers.models.unets.unet_2d import UNet2DModel

    return UNet2DModel(
        sample_size=8, in_channels=taken, out_channels=returned, block_out_channels=(8,), norm_num_groups=2,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), layers_per_block=1,
    )  # fmt: skip


@pytest.mark.parametrize(("taken", "returned"), [(2, 4), (5, 2)], ids=["learned variance", "inpainting"])
def test_a_network_of_other_channels_out_than_in_has_no_head_of_its_own(taken, returned):
    with pytest.raises(ValueError, match="as many in_channels as out_channels, so no learned variance"):
        genie.HeadConfig.of(unet(taken, returned))


@pytest.mark.parametrize("width", [1, 3, 9, 144])
def test_a_head_may_have_any_width(width):
    head = genie.GenieHead(genie.HeadConfig.of(network(), width=width))
    inputs = (torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, 8), torch.zeros(1, 32))
    assert head(*inputs, torch.ones(1)).shape == (1, 6, 8, 8)


def test_the_published_number_of_groups_is_kept_where_it_divides_the_width():
    assert [genie.GenieHead(genie.HeadConfig.of(network(), width=w)).norm1.num_groups for w in (64, 128, 192)] == [
        16,
        32,
        32,
    ]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((3, 8, 32), "channels=3, but UNet2DModel has 2"),
        ((2, 16, 32), "features=16, but UNet2DModel has 8"),
        ((2, 8, 64), "embedding=64, but UNet2DModel has 32"),
    ],
)
def test_the_head_of_another_network_is_refused(sizes, message):
    with pytest.raises(ValueError, match=f"head: made for {message}"):
        genie.with_head(model(), genie.GenieHead(genie.HeadConfig(*sizes, width=8)))


def test_a_head_for_a_layer_that_the_network_lacks_is_refused():
    config = genie.HeadConfig(2, 8, 32, width=8, last_layer="nothing")
    with pytest.raises(ValueError, match="last_layer='nothing'"):
        genie.with_head(model(), genie.GenieHead(config))


@pytest.mark.parametrize("kind", ["headed", "exact"])
def test_rk45_runs_a_model_with_more_outputs_as_without(kind):
    plain = model()
    head = genie.GenieHead(genie.HeadConfig.of(plain.network))  # type: ignore[arg-type]
    more = genie.with_head(plain, head) if kind == "headed" else genie.exact(plain)
    found, wanted = (gs.rk45(m, SCHEDULE, shape=(2, 2, 8, 8), rtol=0.1, atol=0.1, t_end=0.5) for m in (more, plain))
    assert torch.equal(found.x, wanted.x) and (found.nfe == wanted.nfe).all()


@pytest.mark.parametrize("text", ["[1]", "{}", "nothing"])
def test_a_folder_whose_config_names_no_network_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json: .*; give the folder of a diffusers network"):
        gs.models.load(tmp_path, SCHEDULE)
