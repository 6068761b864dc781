"""What heads read of a network: channels, the width of its last feature map, the size of its time embedding."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from ..._arguments import integer
from .features import layer

__all__ = ["Sizes", "check_sizes", "groups", "sizes", "width_of"]


class Sizes(NamedTuple):
    """channels: of a sample. features: of the last feature map. embedding: of the time embedding, 0 if not asked."""

    channels: int
    features: int
    embedding: int


def sizes(network: nn.Module, last_layer: str, embedding_layer: str | None = None) -> Sizes:
    """All of them; ValueError where a layer is missing or a size cannot be read."""
    found = _readable(network, last_layer, embedding_layer)
    if None in found.values():
        raise ValueError(
            f"network: the sizes of {type(network).__name__} cannot be read from {last_layer!r}, {embedding_layer!r} "
            f"and its config ({found}); it needs as many in_channels as out_channels, so no learned variance and "
            "nothing beside the state; wrap it so, and pass the head's config"
        )
    return Sizes(**found)  # type: ignore[arg-type]


def check_sizes(config: Any, network: nn.Module, last_layer: str, embedding_layer: str | None = None) -> None:
    """ValueError where a layer is missing, or what can be read is not what the head's config says."""
    for name, size in _readable(network, last_layer, embedding_layer).items():
        if size is not None and hasattr(config, name) and size != getattr(config, name):
            raise ValueError(
                f"head: made for {name}={getattr(config, name)}, but {type(network).__name__} has {size}; give the "
                "head that was distilled from this network"
            )


def width_of(known: Sizes, width: int | None) -> int:
    """The width asked for, or that of the last feature map."""
    return known.features if width is None else integer(width, "width", least=1)


def groups(channels: int, most: int = 32) -> int:
    """Of a GroupNorm: the largest divisor of ``channels`` up to ``most`` and 32."""
    return next((n for n in range(min(most, 32), 0, -1) if channels % n == 0), 1)


def _readable(network: nn.Module, last_layer: str, embedding_layer: str | None) -> dict[str, int | None]:
    norm = layer(network, last_layer, "last_layer")
    features = getattr(norm, "num_channels", None) or getattr(norm, "in_channels", None)
    config = getattr(network, "config", None)
    channels = getattr(config, "out_channels", None)
    alike = getattr(config, "in_channels", channels) == channels
    embedding: int | None = 0
    if embedding_layer is not None:
        mlp = layer(network, embedding_layer, "embedding_layer")
        linear = [module.out_features for module in mlp.modules() if isinstance(module, nn.Linear)]
        embedding = linear[-1] if linear else None
    return {"channels": channels if alike else None, "features": features, "embedding": embedding}
