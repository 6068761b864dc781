"""ComfyUI as its samplers see it, written from the description of its interface; tests put it into ``sys.modules``.

``KSAMPLER.sample`` scales the noise, calls the sampler function with a model that applies the inpaint mask and reports
(step, denoised, x), and undoes the scaling. A model is reached as model.inner_model.model_patcher.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

__all__ = ["Guider", "Inpaint", "ModelEPS", "ModelFlow", "Patcher", "modules"]


class EPS:
    def noise_scaling(self, sigma: Tensor, noise: Tensor, latent: Tensor, max_denoise: bool = False) -> Tensor:
        return noise * (torch.sqrt(1.0 + sigma**2) if max_denoise else sigma) + latent

    def inverse_noise_scaling(self, sigma: Tensor, latent: Tensor) -> Tensor:
        return latent


class CONST:
    def noise_scaling(self, sigma: Tensor, noise: Tensor, latent: Tensor, max_denoise: bool = False) -> Tensor:
        return sigma * noise + (1.0 - sigma) * latent

    def inverse_noise_scaling(self, sigma: Tensor, latent: Tensor) -> Tensor:
        return latent / (1.0 - sigma)


class DiscreteTable:
    """Stable Diffusion's table of a thousand levels."""

    def __init__(self) -> None:
        bar = torch.cumprod(1.0 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
        self.log_sigmas = (((1.0 - bar) / bar) ** 0.5).log().float()
        self.sigma_min, self.sigma_max = self.log_sigmas[0].exp(), self.log_sigmas[-1].exp()

    def timestep(self, sigma: Tensor) -> Tensor:
        return (sigma.log() - self.log_sigmas[:, None]).abs().argmin(dim=0).view(sigma.shape)

    def sigma(self, timestep: Tensor) -> Tensor:
        return self.log_sigmas[timestep.long()].exp()


class DiscreteFlow:
    def __init__(self, shift: float = 3.0) -> None:
        self.shift = shift
        self.sigma_min, self.sigma_max = self.sigma(torch.tensor(1.0)), torch.tensor(1.0)

    def sigma(self, timestep: Tensor) -> Tensor:
        u = timestep / 1000.0
        return self.shift * u / (1.0 + (self.shift - 1.0) * u)

    def timestep(self, sigma: Tensor) -> Tensor:
        return sigma * 1000.0

    def percent_to_sigma(self, percent: float) -> float:
        return float(self.sigma(torch.tensor(1000.0 * (1.0 - percent))))


class ModelEPS(DiscreteTable, EPS):
    pass


class ModelFlow(DiscreteFlow, CONST):
    pass


class Patcher:
    """MODEL: what nodes are given."""

    def __init__(self, sampling: Any) -> None:
        self.sampling = sampling

    def get_model_object(self, name: str) -> Any:
        return {"model_sampling": self.sampling}[name]


class Guider:
    """The denoiser with its patcher: (x, sigma [B]) -> x_0."""

    def __init__(self, sampling: Any, denoise: Any) -> None:
        self.model_patcher, self.denoise, self.seeds = Patcher(sampling), denoise, []

    def __call__(self, x: Tensor, sigma: Tensor, *, model_options: dict[str, Any], seed: int | None) -> Tensor:
        self.seeds.append(seed)
        return self.denoise(x, sigma)


class Inpaint:
    """The model that a sampler function is given: kept parts are noised anew at each level, and clean in x_0."""

    def __init__(self, inner_model: Guider, latent: Tensor, noise: Tensor) -> None:
        self.inner_model, self.latent, self.noise = inner_model, latent, noise

    def __call__(
        self, x: Tensor, sigma: Tensor, denoise_mask: Any, model_options: Any = None, seed: Any = None
    ) -> Tensor:
        if denoise_mask is None:
            return self.inner_model(x, sigma, model_options=model_options, seed=seed)
        level = sigma.reshape(-1, *(1,) * (x.ndim - 1))
        kept = self.inner_model.model_patcher.sampling.noise_scaling(level, self.noise, self.latent)
        x = x * denoise_mask + kept * (1.0 - denoise_mask)
        out = self.inner_model(x, sigma, model_options=model_options, seed=seed)
        return out * denoise_mask + self.latent * (1.0 - denoise_mask)


class KSAMPLER:
    def __init__(self, sampler_function: Any, extra_options: Any = None, inpaint_options: Any = None) -> None:
        self.sampler_function, self.extra_options = sampler_function, extra_options or {}

    def sample(
        self, guider: Guider, sigmas: Tensor, extra_args: dict[str, Any], callback: Any, noise: Tensor,
        latent: Tensor | None = None, denoise_mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        sampling = guider.model_patcher.sampling
        latent = torch.zeros_like(noise) if latent is None else latent
        extra_args = {**extra_args, "denoise_mask": denoise_mask}
        full = bool(sigmas[0] >= sampling.sigma_max * 0.9999)
        x = sampling.noise_scaling(sigmas[0], noise, latent, full)
        report = callback and (lambda seen: callback(seen["i"], seen["denoised"], seen["x"], len(sigmas) - 1))
        model = Inpaint(guider, latent, noise)
        x = self.sampler_function(
            model, x, sigmas, extra_args=extra_args, callback=report, disable=True, **self.extra_options
        )
        return sampling.inverse_noise_scaling(sigmas[-1], x)


def modules() -> dict[str, ModuleType]:
    """comfy.samplers, and comfy_api.latest with ``io``."""
    named = {name: ModuleType(name) for name in ("comfy", "comfy.samplers", "comfy_api", "comfy_api.latest")}

    def kind(name: str) -> Any:
        def given(id: str, **settings: Any) -> Any:
            return SimpleNamespace(kind=name, id=id, **settings)

        return SimpleNamespace(Input=given, Output=lambda: SimpleNamespace(kind=name))

    kinds = {name: kind(name) for name in ("Model", "Combo", "String", "Int", "Float", "Sampler", "Sigmas")}
    io = SimpleNamespace(
        ComfyNode=object, Schema=lambda **given: SimpleNamespace(**given),
        NodeOutput=lambda *values: SimpleNamespace(result=values), **kinds,
    )  # fmt: skip
    vars(named["comfy.samplers"]).update(KSAMPLER=KSAMPLER)
    vars(named["comfy_api.latest"]).update(ComfyExtension=object, io=io)
    return named
