"""The transformers of diffusers that flow matching trained: what each is called with, and with which time."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from .._arguments import real
from ..schedules import Flow, Schedule, flow
from .contract import Label
from .outputs import single_tensor
from .wrap import Call, WrappedModel, wrap

__all__ = ["TRANSFORMERS", "Adapter", "linear_label", "on_flow", "pack", "transformer", "unpack"]


class Adapter(NamedTuple):
    """call: as :func:`wrap` takes it. at_noise, at_data: what the network is given as time at t = 1 and at t = 0."""

    call: Call
    at_noise: float
    at_data: float = 0.0


def transformer(
    network: nn.Module,
    schedule: Schedule | None = None,
    *,
    guidance: float | None = None,
    defaults: Mapping[str, object] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> WrappedModel:
    """A transformer of diffusers, one of :data:`TRANSFORMERS`, as a model of ``flow``.

    schedule: ``flow`` with the shift of the checkpoint, ``flow()`` by default (``models.from_diffusers`` reads it from
    the scheduler). guidance: what a network with a guidance embedding (FLUX.1-dev) is told, one number for all samples;
    per sample give ``cond={"guidance": ...}``. The text is ``cond`` under the network's own names, per sample. FLUX and
    Qwen-Image take images [B, C, H, W], which are packed and unpacked here, the positions with them, or what is packed
    already, [B, tokens, C], with the positions in ``shared``. defaults, device, dtype: as :func:`wrap`. ValueError for
    another network, a schedule that is no flow, and a guidance that the network knows nothing of or lacks.
    """
    adapter = adapter_of(network)
    if adapter is None:
        fix = f"choose one of {', '.join(TRANSFORMERS)}, or models.wrap(network, ..., call=...)"
        raise ValueError(f"network: {type(network).__name__} is not known here; {fix}")
    config = getattr(network, "config", {})
    embeds = bool(config.get("guidance_embeds", False))
    given = dict(defaults or {})
    if guidance is not None:
        if not embeds:
            raise ValueError(
                f"guidance={guidance!r}: {type(network).__name__} here has no guidance_embeds; leave it out"
            )
        given["guidance"] = real(guidance, "guidance")
    scale = float(config.get("timestep_scale", 1.0))  # SANA-Sprint's
    label = linear_label(scale * adapter.at_noise, scale * adapter.at_data)
    return wrap(
        network, on_flow(schedule), prediction="flow", label=label, call=adapter.call, defaults=given, device=device,
        dtype=dtype,
    )  # fmt: skip


def adapter_of(network: object) -> Adapter | None:
    """That of the network's class, or of one that it derives from."""
    return next((TRANSFORMERS[kind.__name__] for kind in type(network).__mro__ if kind.__name__ in TRANSFORMERS), None)


def on_flow(schedule: Schedule | None) -> Flow:
    """The schedule, ``flow()`` by default; ValueError for another than flow."""
    if schedule is None:
        return flow()
    if not isinstance(schedule, Flow):
        raise ValueError(f"schedule={schedule!r}: this network was trained on the straight path; give schedules.flow()")
    return schedule


def linear_label(at_noise: float, at_data: float) -> Label:
    """The label that runs from ``at_data`` at t = 0 to ``at_noise`` at t = 1."""

    def label(t: NDArray[np.float64]) -> ArrayLike:
        t = np.asarray(t, dtype=np.float64)
        return at_noise * t + at_data * (1.0 - t)

    return label


def pack(x: Tensor, patch: int = 2) -> Tensor:
    """[B, C, H, W] -> [B, H W / patch^2, C patch^2], token by token as FLUX and Qwen-Image have it."""
    b, c, h, w = x.shape
    if h % patch or w % patch:
        raise ValueError(f"state has shape {tuple(x.shape)}: height and width are to be multiples of {patch}")
    tiles = x.reshape(b, c, h // patch, patch, w // patch, patch).permute(0, 2, 4, 1, 3, 5)
    return tiles.reshape(b, (h // patch) * (w // patch), c * patch * patch)


def unpack(tokens: Tensor, height: int, width: int, patch: int = 2) -> Tensor:
    """The inverse of :func:`pack`, to [B, C, height, width]."""
    b, _, channels = tokens.shape
    tiles = tokens.reshape(b, height // patch, width // patch, channels // patch**2, patch, patch)
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(b, channels // patch**2, height, width).contiguous()


def _by_name(network: Any, x: Tensor, t: Tensor, **cond: Any) -> Any:
    return network(hidden_states=x, timestep=t, **cond)


def _flux(network: Any, x: Tensor, t: Tensor, **cond: Any) -> Tensor:
    """img_ids: (0, row, column) of each token; txt_ids: zeros."""
    if x.ndim == 4:
        rows, columns = x.shape[2] // 2, x.shape[3] // 2
        cond.setdefault("img_ids", _positions(x.device, 1, rows, columns))
    cond.setdefault("txt_ids", torch.zeros(_words(network, cond), 3, device=x.device))
    return _on_tokens(network, x, t, 2, "img_ids", cond)


def _flux2(network: Any, x: Tensor, t: Tensor, **cond: Any) -> Tensor:
    """img_ids: (0, row, column, 0); txt_ids: (0, 0, 0, place). Images come patched: [B, 4 C, H / 2, W / 2]."""
    if x.ndim == 4:
        cond.setdefault("img_ids", _positions(x.device, 1, x.shape[2], x.shape[3], 1))
    cond.setdefault("txt_ids", _positions(x.device, 1, 1, 1, _words(network, cond)))
    return _on_tokens(network, x, t, 1, "img_ids", cond)


def _qwen(network: Any, x: Tensor, t: Tensor, **cond: Any) -> Tensor:
    if x.ndim == 4:
        cond.setdefault("img_shapes", [[(1, x.shape[2] // 2, x.shape[3] // 2)]] * x.shape[0])
    return _on_tokens(network, x, t, 2, "img_shapes", cond)


def _sana(network: Any, x: Tensor, t: Tensor, **cond: Any) -> Tensor:
    """Where it also returns a variance, the first half of the channels."""
    return single_tensor(_by_name(network, x, t, **cond))[:, : x.shape[1]].contiguous()


def _z_image(network: Any, x: Tensor, t: Tensor, *, cap_feats: Tensor, lengths: Any = None, **cond: Any) -> Tensor:
    """Lists of images [C, 1, H, W] and of texts, of which ``lengths`` are used, and the velocity from noise to data."""
    counts = [cap_feats.shape[1]] * len(cap_feats) if lengths is None else [int(n) for n in lengths]
    texts = [text[:n] for text, n in zip(cap_feats, counts, strict=True)]
    returned = network(list(x.unsqueeze(2).unbind(0)), t, texts, **cond)
    images = getattr(returned, "sample", None)
    return -torch.stack(list(returned[0] if images is None else images)).squeeze(2)


def _on_tokens(network: Any, x: Tensor, t: Tensor, patch: int, places: str, cond: dict[str, Any]) -> Tensor:
    """The network on the tokens of images [B, C, H, W], or on what are tokens already."""
    if x.ndim == 3:
        if places not in cond:
            raise ValueError(f"state has shape {tuple(x.shape)}, tokens, but {places} is missing; give it in shared=")
        return single_tensor(_by_name(network, x, t, **cond))
    tokens = single_tensor(_by_name(network, pack(x, patch), t, **cond))
    return unpack(tokens, x.shape[2], x.shape[3], patch)


def _words(network: Any, cond: Mapping[str, Any]) -> int:
    """The length of the text; ValueError where it, or the guidance that the network embeds, is missing."""
    needed = ["encoder_hidden_states", *(["guidance"] if network.config.get("guidance_embeds", False) else [])]
    for name in needed:
        if cond.get(name) is None:
            fix = (
                "give it in cond=" if name != "guidance" else "give it in cond=, or models.transformer(..., guidance=)"
            )
            raise ValueError(f"{type(network).__name__} is called without {name}; {fix}")
    return cond["encoder_hidden_states"].shape[1]


def _positions(device: torch.device, *sizes: int) -> Tensor:
    """Every combination of 0 .. size - 1, the last fastest, float32 [tokens, len(sizes)]."""
    axes = [torch.arange(size, dtype=torch.float32, device=device) for size in sizes]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")], dim=-1)


TRANSFORMERS: Mapping[str, Adapter] = MappingProxyType(
    {
        "SD3Transformer2DModel": Adapter(_by_name, 1000.0),
        "FluxTransformer2DModel": Adapter(_flux, 1.0),
        "Flux2Transformer2DModel": Adapter(_flux2, 1.0),
        "WanTransformer3DModel": Adapter(_by_name, 1000.0),
        "QwenImageTransformer2DModel": Adapter(_qwen, 1.0),
        "SanaTransformer2DModel": Adapter(_sana, 1000.0),
        "ZImageTransformer2DModel": Adapter(_z_image, 0.0, 1.0),
    }
)
"""The transformers of diffusers that :func:`transformer` knows, by class; read-only."""
