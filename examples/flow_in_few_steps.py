"""A small network of flow matching, trained here, sampled in few steps: Euler's method beside what "auto" chooses.

python examples/flow_in_few_steps.py            about three minutes; writes demo/flow/errors.png and samples.png

It trains with

genie-samplers train --network demo/flow/new --schedule flow --prediction flow --label schedule --data samples
    --no-mirror --batch-size 16 --steps 300 --learning-rate 0.002 --run demo/flow/run --export demo/flow/network

and asks both schedulers for the same samples from the same noise. An error is the root mean square over pixels against
100 steps of Heun's method with the same network.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_heun_discrete import FlowMatchHeunDiscreteScheduler
from torch import Tensor

from genie_samplers.integrations.diffusers import FlowMatchScheduler

SIZE, EVALUATIONS, REFERENCE_STEPS, SHIFT = 16, (6, 8, 12), 100, 1.0


def new_network(folder: Path) -> None:
    """A U-Net of 16 x 16 pixels with random weights, for ``train --network``."""
    torch.manual_seed(0)
    UNet2DModel(
        sample_size=SIZE, in_channels=1, out_channels=1, block_out_channels=(16, 32), layers_per_block=1,
        norm_num_groups=8, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    ).save_pretrained(folder)  # fmt: skip


def train(folder: Path, steps: int) -> None:
    """By the command line above."""
    new_network(folder / "new")
    command = (
        f"train --network {folder}/new --schedule flow --prediction flow --label schedule --data samples --no-mirror "
        f"--batch-size 16 --steps {steps} --learning-rate 0.002 --run {folder}/run --export {folder}/network"
    )
    subprocess.run([sys.executable, "-m", "genie_samplers", *command.split()], check=True)


def generate(network: Any, scheduler: Any, evaluations: int, noise: Tensor) -> Tensor:
    """The loop of every pipeline; the noise levels are those that FLUX's asks for."""
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / evaluations, evaluations))
    return loop(network, scheduler, noise)


@torch.no_grad()
def loop(network: Any, scheduler: Any, x: Tensor) -> Tensor:
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t).sample, t, x, return_dict=False)[0]
    return x


def rmse(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean().sqrt())


def measure(
    network: Any, count: int = 16, reference_steps: int = REFERENCE_STEPS
) -> tuple[dict[str, list[float]], list[Tensor]]:
    """Errors by scheduler and number of evaluations; the samples of the reference and of the fewest evaluations."""
    noise = torch.randn(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    fine = FlowMatchHeunDiscreteScheduler(shift=SHIFT)
    fine.set_timesteps(reference_steps)
    exact = loop(network, fine, noise)
    euler = FlowMatchEulerDiscreteScheduler(shift=SHIFT)
    schedulers = {"Euler": euler, "auto": FlowMatchScheduler.from_config(euler.config)}
    made = {name: [generate(network, s, n, noise) for n in EVALUATIONS] for name, s in schedulers.items()}
    errors = {name: [rmse(x, exact) for x in samples] for name, samples in made.items()}
    return errors, [exact, *(samples[0] for samples in made.values())]


def draw(errors: dict[str, list[float]], pictures: Sequence[Tensor], folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4, 3), layout="constrained")
    for name, values in errors.items():
        axes.loglog(EVALUATIONS, values, marker="o", label=name)
    axes.set(xlabel="network evaluations", ylabel="error", xticks=EVALUATIONS, xticklabels=EVALUATIONS)
    axes.minorticks_off()
    axes.legend()
    figure.savefig(folder / "errors.png", dpi=150)

    names = ("reference", *(f"{name}, {EVALUATIONS[0]}" for name in errors))
    figure, rows = plt.subplots(len(names), 1, figsize=(6, 0.6 * len(names) + 0.3), layout="constrained")
    for axis, name, images in zip(rows, names, pictures, strict=True):
        axis.imshow(torch.cat(list(images[:12, 0]), dim=1), cmap="gray", vmin=-1, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
    figure.savefig(folder / "samples.png", dpi=150)


def main(arguments: Sequence[str] | None = None) -> dict[str, list[float]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("demo/flow"))
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--reference-steps", type=int, default=REFERENCE_STEPS)
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    train(options.folder, options.steps)
    network = UNet2DModel.from_pretrained(options.folder / "network").eval().requires_grad_(False)
    errors, pictures = measure(network, options.reference_steps)
    draw(errors, pictures, options.folder)
    print("| evaluations | " + " | ".join(errors) + " | Euler / auto |\n|" + "---|" * (len(errors) + 2))
    for place, count in enumerate(EVALUATIONS):
        euler, auto = (values[place] for values in errors.values())
        print(f"| {count} | {euler:.2e} | {auto:.2e} | {euler / auto if auto else math.inf:.1f} |")
    return errors


if __name__ == "__main__":
    main()
