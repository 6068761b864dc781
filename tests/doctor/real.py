"""The schedulers of diffusers themselves, run on Gaussian data in float64."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
VARIANCES = torch.arange(1, 25, dtype=torch.float64) ** -2  # of which float32 sigmas cost little

__all__ = ["config_of", "real_deviations", "real_scheduler", "sampled_deviations"]


def config_of(name: str, **options: Any) -> dict[str, Any]:
    """As scheduler_config.json has it, with the table of Stable Diffusion."""
    table = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    return {"_class_name": f"{name}Scheduler", **({} if name.startswith("Flow") else table), **options}


def real_scheduler(config: Mapping[str, Any], steps: int, **extra: Any) -> Any:
    """With its timesteps set; whatever diffusers raises."""
    options = {key: value for key, value in config.items() if key != "_class_name"}
    scheduler = getattr(diffusers, config["_class_name"])(**options)
    scheduler.set_timesteps(steps, **extra)
    return scheduler


def real_deviations(config: Mapping[str, Any], steps: int, **extra: Any) -> Array:
    """What it makes of the latent 1 for each variance; the network is exact at the time that it is told."""
    return _result(config, steps, torch.ones(1, len(VARIANCES), dtype=torch.float64), **extra).ravel().numpy()


def sampled_deviations(config: Mapping[str, Any], steps: int, count: int) -> Array:
    """The deviation of ``count`` samples of each mode."""
    latents = torch.randn(count, len(VARIANCES), dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    return _result(config, steps, latents).square().mean(dim=0).sqrt().numpy()


def _result(config: Mapping[str, Any], steps: int, x: Tensor, **extra: Any) -> Tensor:
    scheduler = real_scheduler(config, steps, **extra)
    draws = {"generator": torch.Generator().manual_seed(6)}
    flow = config["_class_name"].startswith("Flow") or bool(config.get("use_flow_sigmas"))
    x = x if flow else x * torch.as_tensor(scheduler.init_noise_sigma, dtype=torch.float64)
    for t in scheduler.timesteps:
        scaled = x if flow else scheduler.scale_model_input(x, t)
        out = _output(scheduler, scaled, float(t), str(config.get("prediction_type", "epsilon")), flow=flow)
        drawn = draws if "generator" in inspect.signature(scheduler.step).parameters else {}
        x = scheduler.step(out, t, x, **drawn).prev_sample.double()
    return x


def _output(scheduler: Any, x: Tensor, t: float, prediction: str, *, flow: bool) -> Tensor:
    if flow:
        sigma = min(t / scheduler.config.num_train_timesteps, 1.0)
        alpha, prediction = 1.0 - sigma, "flow_prediction"
    else:
        bar = scheduler.alphas_cumprod.double()
        low = min(int(t), len(bar) - 2)
        share = t - low
        log_bar = (1.0 - share) * bar[low].log() + share * bar[low + 1].log() if share else bar[low].log()
        alpha = float((0.5 * log_bar).exp())
        sigma = float(torch.sqrt(-torch.expm1(log_bar)))
    share_of_x = x / (alpha**2 * VARIANCES + sigma**2)
    epsilon, x0 = sigma * share_of_x, alpha * VARIANCES * share_of_x
    return {
        "epsilon": epsilon, "sample": x0, "v_prediction": alpha * epsilon - sigma * x0, "flow_prediction": epsilon - x0
    }[prediction]  # fmt: skip
