"""Networks of other libraries, whose time, sign or scaling differ from this one's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .. import predictions, schedules
from .._arguments import boolean, choice, real
from ..schedules import Schedule
from .contract import first_parameter
from .outputs import single_tensor
from .transformers import adapter_of, linear_label, on_flow, transformer
from .wrap import Call, WrappedModel, wrap

__all__ = ["edm", "flow_matching", "from_diffusers", "torchcfm"]

_FROM_NOISE = linear_label(at_noise=0.0, at_data=1.0)


def torchcfm(
    network: Callable[..., Any],
    schedule: Schedule | None = None,
    *,
    scalar_time: bool = False,
    defaults: Mapping[str, object] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> WrappedModel:
    """A network of torchcfm, ``network(t, x, **cond)``: time 0 is noise and 1 data, the velocity data - noise.

    scalar_time: give one number for the batch, as an ODE solver does, in place of one per sample (``torch_wrapper``
    needs that). schedule: ``flow``, whose grids start at t = 1, their 0. Exact for paths without noise of their own
    (``sigma=0``). defaults, device, dtype: as :func:`wrap`.
    """
    one = boolean(scalar_time, "scalar_time")

    def call(network: Any, x: Tensor, t: Tensor, **cond: Any) -> Tensor:
        return -single_tensor(network(t[0] if one else t, x, **cond))

    return _from_noise_to_data(network, schedule, call, defaults, device, dtype)


def flow_matching(
    network: Callable[..., Any],
    schedule: Schedule | None = None,
    *,
    defaults: Mapping[str, object] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> WrappedModel:
    """As :func:`torchcfm` for ``network(x, t, **cond)``, the order of the flow_matching library's ModelWrapper."""

    def call(network: Any, x: Tensor, t: Tensor, **cond: Any) -> Tensor:
        return -single_tensor(network(x, t, **cond))

    return _from_noise_to_data(network, schedule, call, defaults, device, dtype)


def edm(
    network: Callable[..., Any],
    schedule: Schedule | None = None,
    *,
    sigma_data: float = 0.5,
    prediction: str = "epsilon",
    defaults: Mapping[str, object] | None = None,
    device: torch.device | str | None = None,
) -> WrappedModel:
    """A raw network F of Karras et al. (arXiv 2206.00364) or of diffusers' EDM schedulers, as a model that predicts x0.

    With sigma = gamma and d = sigma_data: x0 = d^2 / (sigma^2 + d^2) x + sigma d / sqrt(sigma^2 + d^2) F(x / sqrt(
    sigma^2 + d^2), log(sigma) / 4), computed in float32; the network runs in its own dtype. prediction: "v" turns the
    sign of F, as ``prediction_type="v_prediction"`` does. schedule: ``edm()`` by default. A network that contains this
    already (EDMPrecond) is ``wrap(network, edm(), prediction="x0")``. ValueError unless 0 < sigma_data.
    """
    d, sign = real(sigma_data, "sigma_data"), -1.0 if choice(prediction, "prediction", ("epsilon", "v")) == "v" else 1.0
    if not d > 0.0:
        raise ValueError(f"sigma_data={d!r}: give the standard deviation of the data, a positive number")

    def call(network: Any, x: Tensor, t: Tensor, **cond: Any) -> Tensor:
        sigma = t.reshape(-1, *(1,) * (x.ndim - 1))
        total = torch.sqrt(sigma * sigma + d * d)
        parameter = first_parameter(network)
        scaled = (x / total).to(x.dtype if parameter is None else parameter.dtype)
        output = single_tensor(network(scaled, torch.log(t) / 4.0, **cond)).to(x.dtype)
        return (d / total) ** 2 * x + sign * (sigma * d / total) * output

    return wrap(
        network, schedules.edm() if schedule is None else schedule, prediction="x0", call=call, defaults=defaults,
        device=device, dtype=torch.float32,
    )  # fmt: skip


def from_diffusers(
    network: nn.Module,
    scheduler: object,
    *,
    tokens: int | None = None,
    mu: float | None = None,
    guidance: float | None = None,
    defaults: Mapping[str, object] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> WrappedModel:
    """The network of a pipeline with the schedule and prediction of its scheduler: all that a pipeline knows of it.

    ``models.from_diffusers(pipe.unet, pipe.scheduler)``, or ``pipe.transformer``. scheduler, tokens, mu: as
    ``schedules.from_diffusers``. A transformer of ``models.TRANSFORMERS`` is called as :func:`transformer` has it, a
    network of an EDM scheduler as :func:`edm`, any other as network(x, t, **cond). guidance, defaults, device, dtype:
    as :func:`transformer`.
    """
    schedule, config = schedules.from_diffusers(scheduler, tokens=tokens, mu=mu), schedules.read_scheduler(scheduler)
    if config.kind == "flow" and adapter_of(network) is not None:
        return transformer(network, schedule, guidance=guidance, defaults=defaults, device=device, dtype=dtype)
    if guidance is not None:
        raise ValueError(f"guidance={guidance!r}: {type(network).__name__} takes none; guide with models.guidance")
    if config.kind == "edm":
        sign = "v" if config.values.get("prediction_type", "epsilon") == "v_prediction" else "epsilon"
        data = config.values["sigma_data"]
        return edm(network, schedule, sigma_data=data, prediction=sign, defaults=defaults, device=device)
    prediction = predictions.from_diffusers(scheduler)
    return wrap(network, schedule, prediction=prediction, defaults=defaults, device=device, dtype=dtype)


def _from_noise_to_data(
    network: Callable[..., Any],
    schedule: Schedule | None,
    call: Call,
    defaults: Mapping[str, object] | None,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> WrappedModel:
    return wrap(
        network, on_flow(schedule), prediction="flow", label=_FROM_NOISE, call=call, defaults=defaults, device=device,
        dtype=dtype,
    )  # fmt: skip
