"""What heads are given: features of the U-Net, read by hooks while it runs, and of the plan's step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..._arguments import integer
from ...plan import Plan, Recipe
from ...schedules import Schedule

__all__ = [
    "EMBEDDING_LAYER",
    "LAST_LAYER",
    "Features",
    "Sizes",
    "captured",
    "check_sizes",
    "expand_like",
    "groups",
    "input_scale",
    "keep_features",
    "sizes",
    "step_features",
    "width_of",
]

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

    hooks = [_layer(network, last, "last").register_forward_pre_hook(keep_input)]
    if embedding is not None:
        hooks.append(_layer(network, embedding, "embedding").register_forward_hook(keep_output))
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


def keep_features(network: nn.Module, config: Any, keep: Callable[[Features], None]) -> list[RemovableHandle]:
    """From now on give ``keep`` the features of every pass of the network, of the layers named in a head's ``config``.

    In the thread of the pass, until the handles that it returns are removed. ValueError as of :func:`captured`.
    """
    embedding = getattr(config, "embedding_layer", None)
    passing = threading.local()

    def keep_embedding(_: nn.Module, __: Any, output: Any) -> None:
        passing.embedding = output

    def keep_last(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        features = Features()
        features.last = inputs[0].detach()
        if embedding is not None:
            features.embedding = passing.embedding.detach()
        keep(features)

    handles = [_layer(network, config.last_layer, "last").register_forward_pre_hook(keep_last)]
    if embedding is not None:
        handles.append(_layer(network, embedding, "embedding").register_forward_hook(keep_embedding))
    return handles


def _layer(network: nn.Module, name: str, argument: str) -> nn.Module:
    """The submodule of this name; ValueError naming ``argument`` where there is none."""
    try:
        found = network.get_submodule(name)
    except AttributeError:
        found = None
    if not isinstance(found, nn.Module):
        known = ", ".join(child for child, _ in network.named_children())
        raise ValueError(f"{argument}={name!r}: {type(network).__name__} has no such layer; its layers are {known}")
    return found


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
            "nothing but the state; wrap it so, and pass the head's config"
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
    norm = _layer(network, last_layer, "last_layer")
    features = getattr(norm, "num_channels", None) or getattr(norm, "in_channels", None)
    config = getattr(network, "config", None)
    channels = getattr(config, "out_channels", None)
    alike = getattr(config, "in_channels", channels) == channels
    embedding: int | None = 0
    if embedding_layer is not None:
        mlp = _layer(network, embedding_layer, "embedding_layer")
        linear = [module.out_features for module in mlp.modules() if isinstance(module, nn.Linear)]
        embedding = linear[-1] if linear else None
    return {"channels": channels if alike else None, "features": features, "embedding": embedding}


def step_features(plan: Plan, memory: int) -> NDArray[np.float64]:
    """[rows, 2 + memory]: log gamma, then its falls over the step and over those before that the polynomial spans.

    Rows that read no correction are zero. ValueError for a plan to which a head of corrections does not belong: of
    another variable than log gamma or of another quantity than epsilon, rising, or of longer memory.
    """
    recipe = _checked_recipe(plan, memory)
    log_gamma = plan.schedule.log_gamma(np.array([*plan.times, recipe.grid[-1]]))
    found = np.zeros((len(plan.times), 2 + memory))
    for number, row in enumerate(plan.rows):
        if row.outputs > 1:
            nodes = log_gamma[[number + 1, number, *(entry.row for entry in row.history)]]
            found[number, 0], found[number, 1 : len(nodes)] = log_gamma[number], np.diff(nodes)
    return found


def _checked_recipe(plan: Plan, memory: int) -> Recipe:
    recipe = plan.recipe
    if recipe is None or recipe.options.get("variable") != "log_gamma" or plan.quantity != "epsilon":
        found = f"variable={recipe.options.get('variable')!r}" if recipe else "without a recipe"
        raise ValueError(
            f"plan: {found}, of {plan.quantity}; a head of corrections knows polynomials of epsilon in log gamma, make "
            "the plan with make_plan and variable='log_gamma', quantity='epsilon'"
        )
    if plan.rising:
        raise ValueError("plan: encodes; a head of corrections knows steps to smaller gamma, use derivative='exact'")
    longest = max((len(row.history) for row in plan.rows if row.outputs > 1), default=0)
    if longest > memory or any(entry.h for row in plan.rows for entry in row.history):
        raise ValueError(
            f"plan: reads {longest} earlier predictions, or earlier derivatives; the head knows {memory} predictions, "
            "give smaller values= and derivatives=1"
        )
    return recipe


def input_scale(schedule: Schedule, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """What heads are given states times, so that they are of unit size on every schedule: 1/sqrt(alpha^2 + sigma^2)."""
    return 1.0 / np.hypot(schedule.alpha(times), schedule.sigma(times))


def expand_like(values: Tensor, like: Tensor) -> Tensor:
    """values [B] or [B, C] with dimensions of one behind them, so that they broadcast with ``like`` [B, C, ...]."""
    return values.reshape(*values.shape, *(1,) * (like.ndim - values.ndim))
