"""Pipelines of diffusers in miniature: random weights, embeddings in place of a text encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from .standins import pipeline_class

diffusers: Any = pytest.importorskip("diffusers", reason="the pipelines are its own")

__all__ = ["FLOW", "TABLE", "Tiny", "difference", "result", "tiny"]


class Tiny(NamedTuple):
    """pipe: on the CPU. call: the arguments of one generation, but for steps and generator.

    config: of the scheduler it was made with, without the clamp that few classes have.
    """

    pipe: Any
    call: Mapping[str, Any]
    config: Mapping[str, Any] = MappingProxyType({})


def _normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def _tiny_unet(**options: Any) -> Any:
    own: dict[str, Any] = {
        "sample_size": 8, "in_channels": 4, "out_channels": 4, "block_out_channels": (8, 16), "layers_per_block": 1,
        "norm_num_groups": 4, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 8, "attention_head_dim": 2,
    }  # fmt: skip
    return diffusers.UNet2DConditionModel(**(own | options))


def _tiny_vae(channels: int = 4, **options: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels, norm_num_groups=4, sample_size=16, **options,
    )  # fmt: skip


def _picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8))


def _half() -> Image.Image:
    mask = np.zeros((16, 16), np.uint8)
    mask[:, :8] = 255
    return Image.fromarray(mask)


def _tiny_ddpm() -> Any:
    return diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip


def ddpm() -> Tiny:
    return Tiny(diffusers.DDPMPipeline(_tiny_ddpm(), diffusers.DDPMScheduler()), {"batch_size": 2, "output_type": "np"})


def ddim() -> Tiny:
    return Tiny(diffusers.DDIMPipeline(_tiny_ddpm(), diffusers.DDIMScheduler()), {"batch_size": 2, "output_type": "np"})


def _stable(module: str, name: str, **call: Any) -> Tiny:
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, clip_sample=False,
        set_alpha_to_one=False,
    )  # fmt: skip
    pipe = pipeline_class(f"stable_diffusion.{module}", name)(
        vae=_tiny_vae(), text_encoder=None, tokenizer=None, unet=_tiny_unet(), scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    words = {"prompt_embeds": _normal(2, 5, 8), "negative_prompt_embeds": _normal(2, 5, 8).flip(1)}
    return Tiny(pipe, {**words, "guidance_scale": 3.0, **call})


def sd() -> Tiny:
    return _stable("pipeline_stable_diffusion", "StableDiffusionPipeline", height=16, width=16, output_type="latent")


def sd_img2img() -> Tiny:
    return _stable(
        "pipeline_stable_diffusion_img2img", "StableDiffusionImg2ImgPipeline", image=[_picture(), _picture(1)],
        strength=0.5, output_type="np",
    )  # fmt: skip


def sd_inpaint() -> Tiny:
    return _stable(
        "pipeline_stable_diffusion_inpaint", "StableDiffusionInpaintPipeline", image=_picture(), mask_image=_half(),
        height=16, width=16, strength=1.0, output_type="latent",
    )  # fmt: skip


def sdxl() -> Tiny:
    unet = _tiny_unet(
        addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=6 * 4 + 6,
        use_linear_projection=True,
    )  # fmt: skip
    scheduler = diffusers.EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, timestep_spacing="leading"
    )
    pipe = pipeline_class("stable_diffusion_xl.pipeline_stable_diffusion_xl", "StableDiffusionXLPipeline")(
        vae=_tiny_vae(), text_encoder=None, text_encoder_2=None, tokenizer=None, tokenizer_2=None, unet=unet,
        scheduler=scheduler, add_watermarker=False,
    )  # fmt: skip
    words = {
        "prompt_embeds": _normal(2, 5, 8), "negative_prompt_embeds": _normal(2, 5, 8).flip(1),
        "pooled_prompt_embeds": _normal(2, 6), "negative_pooled_prompt_embeds": _normal(2, 6).flip(1),
    }  # fmt: skip
    return Tiny(pipe, {**words, "guidance_scale": 3.0, "height": 16, "width": 16, "output_type": "latent"})


def _sd3(module: str, name: str, **call: Any) -> Tiny:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=4, num_attention_heads=2,
        joint_attention_dim=8, caption_projection_dim=8, pooled_projection_dim=6, out_channels=4, pos_embed_max_size=8,
    )  # fmt: skip
    pipe = pipeline_class(f"stable_diffusion_3.{module}", name)(
        transformer=transformer, scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_tiny_vae(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None, text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip
    words = {
        "prompt_embeds": _normal(2, 5, 8), "negative_prompt_embeds": _normal(2, 5, 8).flip(1),
        "pooled_prompt_embeds": _normal(2, 6), "negative_pooled_prompt_embeds": _normal(2, 6).flip(1),
    }  # fmt: skip
    return Tiny(pipe, {**words, "guidance_scale": 3.0, "output_type": "latent", **call})


def sd3() -> Tiny:
    return _sd3("pipeline_stable_diffusion_3", "StableDiffusion3Pipeline", height=16, width=16)


def sd3_img2img() -> Tiny:
    return _sd3(
        "pipeline_stable_diffusion_3_img2img", "StableDiffusion3Img2ImgPipeline", image=_picture(), strength=0.6,
        height=16, width=16,
    )  # fmt: skip


def _flux(module: str, name: str, **call: Any) -> Tiny:
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=8, pooled_projection_dim=6, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    )  # fmt: skip
    pipe = pipeline_class(f"flux.{module}", name)(
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=_tiny_vae(shift_factor=0.1), text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None,
    )  # fmt: skip
    words = {"prompt_embeds": _normal(2, 5, 8), "pooled_prompt_embeds": _normal(2, 6)}
    return Tiny(pipe, {**words, "height": 16, "width": 16, "output_type": "latent", **call})


def flux() -> Tiny:
    return _flux("pipeline_flux", "FluxPipeline")


def flux_img2img() -> Tiny:
    return _flux("pipeline_flux_img2img", "FluxImg2ImgPipeline", image=_picture(), strength=0.6)


def qwen() -> Tiny:
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=8, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02, shift=1.0
    )
    pipe = pipeline_class("qwenimage.pipeline_qwenimage", "QwenImagePipeline")(
        scheduler=scheduler, vae=None, text_encoder=None, tokenizer=None, transformer=transformer
    )
    words = {
        "prompt_embeds": _normal(2, 5, 8), "prompt_embeds_mask": torch.ones(2, 5, dtype=torch.long),
        "negative_prompt_embeds": _normal(2, 5, 8).flip(1), "negative_prompt_embeds_mask": torch.ones(2, 5).long(),
    }  # fmt: skip
    return Tiny(pipe, {**words, "true_cfg_scale": 3.0, "height": 64, "width": 64, "output_type": "latent"})


def wan() -> Tiny:
    transformer = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=8,
        freq_dim=16, ffn_dim=16, num_layers=1, rope_max_seq_len=32,
    )  # fmt: skip
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, num_train_timesteps=1000
    )
    pipe = pipeline_class("wan.pipeline_wan", "WanPipeline")(
        tokenizer=None, text_encoder=None, vae=None, scheduler=scheduler, transformer=transformer
    )
    words = {"prompt_embeds": _normal(2, 5, 8), "negative_prompt_embeds": _normal(2, 5, 8).flip(1)}
    return Tiny(
        pipe, {**words, "guidance_scale": 3.0, "height": 64, "width": 64, "num_frames": 5, "output_type": "latent"}
    )


def sana() -> Tiny:
    transformer = diffusers.SanaTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=1,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=8,
        sample_size=4,
    )  # fmt: skip
    scheduler = diffusers.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, final_sigmas_type="zero"
    )
    pipe = pipeline_class("sana.pipeline_sana", "SanaPipeline")(
        tokenizer=None, text_encoder=None, vae=None, transformer=transformer, scheduler=scheduler
    )
    words = {
        "prompt_embeds": _normal(2, 5, 8), "prompt_attention_mask": torch.ones(2, 5),
        "negative_prompt_embeds": _normal(2, 5, 8).flip(1), "negative_prompt_attention_mask": torch.ones(2, 5),
        "negative_prompt": None, "use_resolution_binning": False,
    }  # fmt: skip
    return Tiny(pipe, {**words, "guidance_scale": 3.0, "height": 128, "width": 128, "output_type": "latent"})


def _ltx(module: str, name: str, vae: Any = None, **call: Any) -> Tiny:
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16,
        num_layers=1, caption_channels=8,
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, base_image_seq_len=1024, shift_terminal=0.1
    )
    pipe = pipeline_class(f"ltx.{module}", name)(
        scheduler=scheduler, vae=vae, text_encoder=None, tokenizer=None, transformer=transformer
    )
    words = {
        "prompt_embeds": _normal(2, 5, 8), "prompt_attention_mask": torch.ones(2, 5),
        "negative_prompt_embeds": _normal(2, 5, 8).flip(1), "negative_prompt_attention_mask": torch.ones(2, 5),
    }  # fmt: skip
    sizes = {"height": 64, "width": 64, "num_frames": 9, "output_type": "latent"}
    return Tiny(pipe, {**words, "guidance_scale": 3.0, **sizes, **call})


def ltx() -> Tiny:
    return _ltx("pipeline_ltx", "LTXPipeline")


def ltx_image2video() -> Tiny:
    vae = diffusers.AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 5,
    )  # fmt: skip
    image = _picture().resize((64, 64))
    return _ltx("pipeline_ltx_image2video", "LTXImageToVideoPipeline", vae, image=image)


def z_image() -> Tiny:
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=8,
        axes_dims=[4, 6, 6], axes_lens=[64, 32, 32],
    )  # fmt: skip
    pipe = pipeline_class("z_image.pipeline_z_image", "ZImagePipeline")(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0), vae=_tiny_vae(shift_factor=0.1),
        text_encoder=None, tokenizer=None, transformer=transformer,
    )  # fmt: skip
    words = {"prompt_embeds": [_normal(5, 8)], "negative_prompt_embeds": [_normal(5, 8).flip(0)]}
    return Tiny(pipe, {**words, "guidance_scale": 3.0, "height": 16, "width": 16, "output_type": "latent"})


TABLE: dict[str, Callable[[], Tiny]] = {
    "ddpm": ddpm, "ddim": ddim, "sd": sd, "sd img2img": sd_img2img, "sd inpaint": sd_inpaint, "sdxl": sdxl,
}  # fmt: skip
"""Networks trained on a table of betas."""

FLOW: dict[str, Callable[[], Tiny]] = {
    "sd3": sd3, "sd3 img2img": sd3_img2img, "flux": flux, "flux img2img": flux_img2img, "qwen": qwen, "wan": wan,
    "sana": sana, "ltx": ltx, "ltx image2video": ltx_image2video, "z_image": z_image,
}  # fmt: skip
"""Networks of flow matching."""


def tiny(name: str) -> Tiny:
    """The pipeline of this name, with the same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = (TABLE | FLOW)[name]()
    made.pipe.set_progress_bar_config(disable=True)
    for part in made.pipe.components.values():
        if isinstance(part, torch.nn.Module):
            _liven(part.eval().requires_grad_(False))
    config = {name: value for name, value in made.pipe.scheduler.config.items() if name != "_use_default_values"}
    return made._replace(config=config | ({"clip_sample": False} if "clip_sample" in config else {}))


def _liven(network: torch.nn.Module) -> None:
    """Other weights than the zeros that some last layers begin with, so that the output is not zero."""
    generator = torch.Generator().manual_seed(2)
    for weights in network.parameters():
        if not weights.any():
            weights.normal_(0.0, 0.05, generator=generator)


def difference(a: Tensor, b: Tensor) -> float:
    """The largest of all, as a share of the largest value of ``b``."""
    return float((a.double() - b.double()).abs().max() / b.double().abs().max())


def result(made: Tiny, scheduler: Any, steps: int | None = 4, **changes: Any) -> Tensor:
    """What the pipeline makes with this scheduler, seed 3, of its generator and of torch."""
    made.pipe.scheduler = scheduler
    torch.manual_seed(3)
    call = {"generator": torch.Generator().manual_seed(3), **made.call, **changes}
    output = made.pipe(num_inference_steps=steps, return_dict=False, **call)[0]
    return output if isinstance(output, Tensor) else torch.from_numpy(np.asarray(output))
