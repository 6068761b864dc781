"""GENIE's head: a small network on the features of the U-Net that predicts the derivative of epsilon."""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._arguments import integer
from .features import EMBEDDING_LAYER, LAST_LAYER, Features, captured, layer

__all__ = ["FOLDER", "HEAD_OUTPUTS", "GenieHead", "HeadConfig", "load_head", "save_head"]

HEAD_OUTPUTS = {"derivative": ("k1", "k2", "k3"), "correction": ("c1", "c2", "c3")}
"""What a head predicts -> names of its maps."""
FOLDER = "genie_head"
_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
_NORM_EPS = 1e-6


@dataclass(frozen=True)
class HeadConfig:
    """channels: of a sample. features: channels of the last feature map. embedding: size of the time embedding.

    width: channels inside the head. normalize: whether a GroupNorm comes before the features. scaled:
    whether the maps are multiplied by 1/sqrt(1 + gamma^2). predicts: a key of :data:`HEAD_OUTPUTS`. last_layer,
    embedding_layer: the layers of the network that the head is attached to.
    """

    channels: int
    features: int
    embedding: int
    width: int
    normalize: bool = False
    scaled: bool = True
    predicts: str = "derivative"
    last_layer: str = LAST_LAYER
    embedding_layer: str = EMBEDDING_LAYER

    @staticmethod
    def of(
        network: nn.Module, *, width: int | None = None, normalize: bool = False, scaled: bool = True,
        predicts: str = "derivative", last_layer: str = LAST_LAYER, embedding_layer: str = EMBEDDING_LAYER,
    ) -> HeadConfig:  # fmt: skip
        """For a diffusers U-Net, read from its layers; ``width`` is that of its last feature map by default.

        ValueError where a layer is missing, a size cannot be read, or the network returns other channels than it takes.
        """
        channels, features, embedding = _sizes(network, last_layer, embedding_layer)
        if channels is None or features is None or embedding is None:
            known = f"{channels=}, {features=}, {embedding=}"
            raise ValueError(
                f"network: the sizes of {type(network).__name__} cannot be read from {last_layer!r}, "
                f"{embedding_layer!r} and its config ({known}); it needs as many in_channels as out_channels, so no "
                "learned variance and nothing beside the state; wrap it so, and pass a HeadConfig"
            )
        inner = features if width is None else integer(width, "width", least=1)
        return HeadConfig(
            channels, features, embedding, inner, normalize, scaled, predicts, last_layer, embedding_layer
        )

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the maps."""
        return HEAD_OUTPUTS[self.predicts]

    def check_fits(self, network: nn.Module) -> None:
        """ValueError where the network lacks this head's layers, or has them in other sizes, as far as can be read."""
        names = ("channels", "features", "embedding")
        for name, size in zip(names, _sizes(network, self.last_layer, self.embedding_layer), strict=True):
            if size not in (None, getattr(self, name)):
                raise ValueError(
                    f"head: made for {name}={getattr(self, name)}, but {type(network).__name__} has {size}; give the "
                    "head that was distilled from this network"
                )

    def captured(self, network: Any) -> AbstractContextManager[Features]:
        """:func:`captured` of this head's layers."""
        return captured(network, self.last_layer, self.embedding_layer)


class GenieHead(nn.Module):
    """k1, k2, k3 of the mixed parameterisation gamma d_epsilon = -k1 + sigma^2 k2 + alpha^2 k3 (VP), zero at first.

    conv3x3 of [x, epsilon, last features]; a residual block with the time embedding; GroupNorm, SiLU, conv3x3.
    Dockhorn, Vahdat and Kreis, arXiv 2210.05475. Differs from the published head in two things. Its maps are multiplied
    by 1/sqrt(1 + gamma^2): gamma d_epsilon is minus the derivative of the denoised image over gamma, so at large gamma
    it is that small, and a network without multiplicative conditioning learns it badly (docs/genie.md). And of the
    three convolutions that are published with weights scaled by 1e-10 the last is zero, the others are full size.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        width, groups = config.width, _groups(config.width, config.width // 4)
        normalized = nn.GroupNorm(_groups(config.features), config.features) if config.normalize else None
        self.norm_features = normalized
        self.conv_in = nn.Conv2d(2 * config.channels + config.features, width, 3, padding=1)
        self.norm1 = nn.GroupNorm(groups, width, _NORM_EPS)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.embedding = nn.Linear(config.embedding, width)
        self.norm2 = nn.GroupNorm(groups, width, _NORM_EPS)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.norm_out = nn.GroupNorm(groups, width, _NORM_EPS)
        self.conv_out = nn.Conv2d(width, 3 * config.channels, 3, padding=1)
        for module in (self.conv_in, self.conv1, self.embedding, self.conv2, self.conv_out):
            fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(module.weight)
            bound = 0.0 if module is self.conv_out else math.sqrt(6.0 / (fan_in + fan_out))
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, epsilon: Tensor, last: Tensor, embedding: Tensor, gamma: Tensor) -> Tensor:
        """x, epsilon [B, C, H, W]; last [B, F, H, W]; embedding [B, E]; gamma [B] -> [B, 3 C, H, W]: k1, k2, k3."""
        if self.norm_features is not None:
            last = self.norm_features(last)
        h = self.conv_in(torch.cat([x, epsilon, last], dim=1))
        shift = self.embedding(nn.functional.silu(embedding))[:, :, None, None]
        inner = self.conv1(nn.functional.silu(self.norm1(h))) + shift
        inner = self.conv2(nn.functional.silu(self.norm2(inner)))
        h = (h + inner) / math.sqrt(2.0)
        maps = self.conv_out(nn.functional.silu(self.norm_out(h)))
        return maps * torch.rsqrt(1.0 + gamma.square())[:, None, None, None] if self.config.scaled else maps


def _sizes(network: nn.Module, last_layer: str, embedding_layer: str) -> tuple[int | None, ...]:
    """Channels of a sample, of the last feature map, and size of the embedding; None for what cannot be read."""
    norm, mlp = layer(network, last_layer, "last_layer"), layer(network, embedding_layer, "embedding_layer")
    features = getattr(norm, "num_channels", None) or getattr(norm, "in_channels", None)
    sizes = [module.out_features for module in mlp.modules() if isinstance(module, nn.Linear)]
    config = getattr(network, "config", None)
    channels = getattr(config, "out_channels", None)
    alike = getattr(config, "in_channels", channels) == channels
    return channels if alike else None, features, sizes[-1] if sizes else None


def _groups(channels: int, most: int = 32) -> int:
    """Of a GroupNorm: the largest divisor of ``channels`` up to ``most`` and 32."""
    return next((n for n in range(min(most, 32), 0, -1) if channels % n == 0), 1)


def save_head(head: GenieHead, folder: Path | str, *, dtype: torch.dtype = torch.float16) -> Path:
    """Write ``folder``/genie_head, beside the network's own files; returns that path."""
    from safetensors.torch import save

    target = Path(folder) / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    weights = {name: value.to(dtype).contiguous() for name, value in head.state_dict().items()}
    (target / _WEIGHTS).write_bytes(save(weights))
    (target / _CONFIG).write_text(json.dumps(asdict(head.config), indent=2) + "\n")
    return target


def load_head(folder: Path | str) -> GenieHead:
    """The head in ``folder``/genie_head or in ``folder`` itself, float32, in evaluation mode, without gradients."""
    from safetensors.torch import load_file

    folder = Path(folder)
    folder = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    try:
        config = HeadConfig(**json.loads((folder / _CONFIG).read_text()))
        weights = load_file(folder / _WEIGHTS)
    except (FileNotFoundError, TypeError) as error:  # TypeError: the files are the network's own
        raise ValueError(
            f"folder={str(folder)!r}: holds no GENIE head ({_CONFIG}, {_WEIGHTS}); make one with genie-samplers distill"
        ) from error
    head = GenieHead(config)
    head.load_state_dict({name: value.float() for name, value in weights.items()})
    return head.eval().requires_grad_(False)
