"""What a U-Net knows already: its last feature map and its time embedding, read by hooks while it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

__all__ = ["EMBEDDING_LAYER", "LAST_LAYER", "Features", "captured", "layer"]

LAST_LAYER = "conv_norm_out"  # of diffusers' UNet2DModel and UNet2DConditionModel; its input is the last feature map
EMBEDDING_LAYER = "time_embedding"


class Features:
    """last: [B, C, H, W], the input of the layer after the decoder; embedding: [B, E], before its activation."""

    last: Tensor
    embedding: Tensor


@contextmanager
def captured(network: nn.Module, last: str = LAST_LAYER, embedding: str | None = EMBEDDING_LAYER) -> Iterator[Features]:
    """The features of the network's next forward pass in this thread; ``last`` and ``embedding`` name submodules.

    None for ``embedding`` leaves it out.
    ValueError where the network has no such layer, RuntimeError where the pass went by without running it.
    """
    features, thread = Features(), threading.get_ident()

    def keep_input(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        if threading.get_ident() == thread:
            features.last = inputs[0]

    def keep_output(_: nn.Module, __: Any, output: Any) -> None:
        if threading.get_ident() == thread:
            features.embedding = output

    hooks = [layer(network, last, "last").register_forward_pre_hook(keep_input)]
    if embedding is not None:
        hooks.append(layer(network, embedding, "embedding").register_forward_hook(keep_output))
    try:
        yield features
    finally:
        for hook in hooks:
            hook.remove()
    for name, at in (("last", last), ("embedding", embedding)):
        if at is not None and not hasattr(features, name):
            raise RuntimeError(
                f"{name}={at!r}: the network's forward pass did not run this layer; name one that it does"
            )


def layer(network: nn.Module, name: str, argument: str) -> nn.Module:
    """The submodule of this name; ValueError naming ``argument`` where there is none."""
    try:
        found = network.get_submodule(name)
    except AttributeError:
        found = None
    if not isinstance(found, nn.Module):
        known = ", ".join(child for child, _ in network.named_children())
        raise ValueError(f"{argument}={name!r}: {type(network).__name__} has no such layer; its layers are {known}")
    return found
