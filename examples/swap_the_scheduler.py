"""The scheduler of a pipeline swapped in one line: fewer evaluations for the same pictures.

python examples/swap_the_scheduler.py [--count 10] [--out swapped.png]

The pipeline is diffusers' own DDPMPipeline around this package's embedded network, so that nothing is downloaded; with
StableDiffusionPipeline.from_pretrained(...) in its place the line is the same. The table holds the root mean square
distance to 200 steps of DDIM, from the same noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

import genie_samplers as gs
from genie_samplers.integrations.diffusers import DEISScheduler, PlanScheduler

EVALUATIONS = (6, 10, 15)


class Clothes(ModelMixin, ConfigMixin):
    """The embedded network as pipelines call it: times of the table of betas, whole or not, and its classes in turn."""

    @register_to_config
    def __init__(self, sample_size: int = 28, in_channels: int = 1) -> None:
        super().__init__()
        self.network: Any = gs.demo.embedded().network
        self.schedule = gs.schedules.from_diffusers(DDIMScheduler())

    def forward(self, x: Tensor, t: Tensor) -> Any:
        log_gamma = torch.full((len(x),), float(self.schedule.log_gamma(float(t))))
        labels = torch.arange(len(x)) % 10
        return SimpleNamespace(sample=self.network(x, log_gamma, class_labels=labels).sample)


def images(pipe: Any, evaluations: int, count: int) -> Tensor:
    """[count, 28, 28] in 0..1."""
    generator = torch.Generator().manual_seed(0)
    made = pipe(batch_size=count, num_inference_steps=evaluations, generator=generator, output_type="np")
    return torch.from_numpy(made.images)[..., 0]


def table(pipe: Any, count: int, reference: int = 200) -> tuple[list[str], list[Tensor]]:
    """Lines of Markdown, and the pictures of the fewest evaluations after those of the reference."""
    lines = ["| evaluations | " + " | ".join(map(str, EVALUATIONS)) + " |", "|---" * (len(EVALUATIONS) + 1) + "|"]
    exact = images(pipe, reference, count)
    pictures, config = [exact], pipe.scheduler.config
    for name, scheduler in {
        "DDIM, of diffusers": pipe.scheduler,
        "DEIS": DEISScheduler.from_config(config, solver_order=3, timestep_spacing="trailing"),
        "plan, auto": PlanScheduler.from_config(config),
    }.items():
        pipe.scheduler = scheduler  # the one line
        made = [images(pipe, evaluations, count) for evaluations in EVALUATIONS]
        errors = " | ".join(f"{float((x - exact).square().mean().sqrt()):.3f}" for x in made)
        lines.append(f"| {name} | {errors} |")
        pictures.append(made[0])
    return lines, pictures


def main(arguments: Sequence[str] | None = None) -> list[str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10, help="pictures")
    parser.add_argument("--reference", type=int, default=200, help="steps of the run that is taken as exact")
    parser.add_argument("--out", type=Path, help="the pictures of 200 and of 6 evaluations, one row a scheduler")
    options = parser.parse_args(arguments)
    network: Any = Clothes().eval()
    scheduler: Any = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    pipe = DDPMPipeline(network, scheduler)
    pipe.set_progress_bar_config(disable=True)
    lines, pictures = table(pipe, options.count, options.reference)
    print("\n".join(lines))
    if options.out is not None:
        from PIL import Image

        rows = torch.cat([torch.cat(list(row), dim=1) for row in pictures])
        Image.fromarray((255 * rows).round().byte().numpy()).save(options.out)
    return lines


if __name__ == "__main__":
    main()
