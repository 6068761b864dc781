"""The transformers of diffusers in miniature, and how each is called by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

diffusers: Any = pytest.importorskip("diffusers", reason="the networks are its transformers")

__all__ = ["CASES", "Case", "conditioning", "diffusers", "grid_ids", "network_of", "tokens"]


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


def network_of(case: Case) -> nn.Module:
    torch.manual_seed(0)
    return case.network().eval().requires_grad_(False)


def conditioning(case: Case, samples: int) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(1)
    return {name: torch.randn(samples, *shape, generator=draws) for name, shape in case.cond.items()}
