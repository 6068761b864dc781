"""A pipeline's encoders, network and decoder around our own loop: guidance in the kernel, seeds per sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...models import from_diffusers, wrap
from ...models.contract import Model
from ...models.guidance import classifier_free
from ...plan import Plan
from ...run import sample as run_sample
from ...solvers.make import AUTO_NAME, make_plan

__all__ = ["sample"]


class _Text(NamedTuple):
    """cond: per sample, the negative prompt's too. null: which of it stands for which; None without guidance."""

    cond: Mapping[str, Tensor]
    null: Mapping[str, str] | None


def sample(
    pipe: Any,
    prompt: str | Sequence[str] | None = None,
    plan: Plan | str = AUTO_NAME,
    *,
    nfe: int = 10,
    guidance: float | Sequence[float] = 7.5,
    negative_prompt: str | None = None,
    count: int | None = None,
    height: int | None = None,
    width: int | None = None,
    seed: int = 0,
    sample_ids: Sequence[int] | None = None,
    batch_size: int | None = None,
    output_type: str = "pil",
    **options: Any,
) -> Any:
    """Images of a pipeline of diffusers by a plan: Stable Diffusion, Stable Diffusion XL, or one without text.

    plan: a :class:`Plan`, or the name of a solver at ``nfe`` evaluations. guidance: 1 runs the network once per
    evaluation, any other scale, or one per sample, on conditional and negative prompt. count: images of a single
    prompt, or of a pipeline without text. seed, sample_ids, batch_size: as of :func:`genie_samplers.sample`; sample i
    is the same in every batch. output_type: "pil", "np" or "pt" in 0..1, or "latent". options: of
    ``pipe.encode_prompt``, such as ``prompt_embeds``.

    TypeError for a pipeline of another kind; ValueError as of ``make_plan`` and ``sample``.
    """
    network = getattr(pipe, "unet", None)
    if network is None or not hasattr(pipe, "scheduler"):
        raise TypeError(
            f"pipe: {type(pipe).__name__} has no unet and scheduler; pass a pipeline of Stable Diffusion (XL) or one "
            "without text, or wrap its transformer with models.from_diffusers and call genie_samplers.sample"
        )
    guided = bool(guidance != 1.0)
    with torch.no_grad():
        size = (height or _default_size(pipe), width or _default_size(pipe))
        if hasattr(pipe, "encode_prompt"):
            prompts = [prompt] * (count or 1) if isinstance(prompt, str) else prompt
            text, call = _encoded(pipe, prompts, negative_prompt, guided, size, options)
        else:
            guided, text, call = False, _Text({}, None), None
        model: Model = _model(pipe, call)
        if isinstance(plan, str):
            plan = make_plan(plan, from_diffusers(network, pipe.scheduler).schedule, nfe, model=model)
        if guided and text.null is not None:
            model, plan = classifier_free(model, null=text.null), plan.guided(guidance)
        images = len(next(iter(text.cond.values()))) if text.cond else count or 1
        factor = getattr(pipe, "vae_scale_factor", 1)
        shape = (images, network.config.in_channels, size[0] // factor, size[1] // factor)
        latents = run_sample(
            model, plan, shape=shape, seed=seed, sample_ids=sample_ids, batch_size=batch_size, cond=dict(text.cond)
        )
        return _decoded(pipe, latents, output_type)


def _default_size(pipe: Any) -> int:
    return int(pipe.unet.config.sample_size) * int(getattr(pipe, "vae_scale_factor", 1))


def _model(pipe: Any, call: Callable[..., Any] | None) -> Model:
    known = from_diffusers(pipe.unet, pipe.scheduler)
    return known if call is None else wrap(pipe.unet, known.schedule, prediction=known.outputs[0], call=call)


def _encoded(
    pipe: Any,
    prompts: Sequence[str] | None,
    negative: str | None,
    guided: bool,
    size: tuple[int, int],
    options: Mapping[str, Any],
) -> tuple[_Text, Callable[..., Any] | None]:
    """The text as the network takes it, and how the network is called with it."""
    given = {"prompt": None if prompts is None else list(prompts), **options}
    negative_of = {} if "negative_prompt_embeds" in options else {"negative_prompt": negative}
    encoded = pipe.encode_prompt(
        device=pipe.unet.device, num_images_per_prompt=1, do_classifier_free_guidance=guided, **given, **negative_of
    )
    embeds, negative_embeds, *pooled = encoded
    cond, negatives = {"encoder_hidden_states": embeds}, {"encoder_hidden_states": negative_embeds}
    call = None
    if pooled:  # Stable Diffusion XL
        times = [*size, 0, 0, *size]
        cond |= {"text_embeds": pooled[0], "time_ids": torch.tensor([times] * len(embeds)).to(embeds)}
        negatives |= {"text_embeds": pooled[1]}
        call = _with_added_conditions
    if not guided:
        return _Text(cond, None), call
    named = {name: f"negative_{name}" for name in negatives}
    return _Text(cond | {named[name]: value for name, value in negatives.items()}, named), call


def _with_added_conditions(network: Any, x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
    states = cond.pop("encoder_hidden_states")
    return network(x, t, encoder_hidden_states=states, added_cond_kwargs=cond).sample


def _unscaled(config: Any, latents: Tensor) -> Tensor:
    """As the decoder takes them."""
    mean, deviation = (getattr(config, name, None) for name in ("latents_mean", "latents_std"))
    if mean is not None and deviation is not None:
        shift, scale = (torch.tensor(v, device=latents.device).reshape(1, -1, 1, 1) for v in (mean, deviation))
        return latents * scale / config.scaling_factor + shift
    return latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)


def _decoded(pipe: Any, latents: Tensor, output_type: str) -> Any:
    if output_type not in ("pil", "np", "pt", "latent"):
        raise ValueError(f"output_type={output_type!r}: choose 'pil', 'np', 'pt' or 'latent'")
    if output_type == "latent":
        return latents
    vae = getattr(pipe, "vae", None)
    if vae is not None:
        dtype, upcast = vae.dtype, vae.dtype == torch.float16 and getattr(vae.config, "force_upcast", False)
        vae = vae.to(torch.float32) if upcast else vae
        images = vae.decode(_unscaled(vae.config, latents).to(vae.dtype), return_dict=False)[0]
        vae.to(dtype)
        return pipe.image_processor.postprocess(images, output_type=output_type)
    from diffusers.image_processor import VaeImageProcessor

    return VaeImageProcessor(do_resize=False).postprocess(latents, output_type=output_type)
