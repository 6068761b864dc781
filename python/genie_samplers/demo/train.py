"""Training of the embedded network: noise prediction on Fashion-MNIST, label = log gamma by default.

Every random number of step k (images, mirrored ones, times, noise, dropped classes) is a function of (seed, k) alone,
so a run that was killed and resumed takes exactly the steps of one that was not. The learning rate warms up, stays, and
falls linearly to zero over the last fifth of ``steps``: a run can be prolonged from any checkpoint of its flat part.
Every other option that decides a step is kept in the checkpoint, and a resumed run must have the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._arguments import boolean, choice, integer, real
from ..files import replacing_files
from ..models import LABELS
from ..schedules import Schedule
from ..training import RunOptions, TrainingRun, own_generator, plot_loss
from .data import LabelledImages
from .embedded import NULL_CLASS

__all__ = ["Trainer", "TrainingOptions", "build_network", "export"]


@dataclass(frozen=True)
class TrainingOptions(RunOptions):
    steps: int = 8000
    learning_rate: float = 6e-4
    warmup_steps: int = 300
    decay_fraction: float = 0.2
    ema_decay: float = 0.9995
    save_every: int = 250
    batch_size: int = 128
    class_dropout: float = 0.1
    t_min: float = 1e-5  # below the default t_end, so that finer grids find a trained network
    label: str = "log_gamma"  # a name in models.LABELS
    mirror: bool = True  # each image with probability 1/2; False where a mirror image is no such image

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.batch_size, "batch_size", least=1)
        choice(self.label, "label", LABELS)
        boolean(self.mirror, "mirror")
        if not 0.0 <= real(self.class_dropout, "class_dropout") <= 1.0:
            raise ValueError(f"class_dropout={self.class_dropout}: give a number in 0..1")


def build_network() -> torch.nn.Module:
    """The class-conditional diffusers UNet2DModel of the embedded default: 2.7 M parameters, attention at 7x7."""
    from diffusers.models.unets.unet_2d import UNet2DModel

    return UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(32, 64, 128),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=32,
        num_class_embeds=NULL_CLASS + 1,
    )


@dataclass(frozen=True)
class Batch:
    x: Tensor  # [B, 1, 28, 28] alpha x0 + sigma eps
    label: Tensor  # [B]
    classes: Tensor  # [B] 0..9, or NULL_CLASS where dropped
    noise: Tensor  # [B, 1, 28, 28] the target


def make_batch(data: LabelledImages, schedule: Schedule, options: TrainingOptions, step: int) -> Batch:
    """The batch of one step, a function of (seed, step)."""
    rng = np.random.default_rng([options.seed, step])
    n = options.batch_size
    index = rng.integers(0, len(data), n)
    images = data.images[index]
    mirrored = (rng.random(n) < 0.5) & options.mirror
    images = np.where(mirrored[:, None, None, None], images[..., ::-1], images)
    stratified = (np.arange(n) + rng.random(n)) / n
    t = options.t_min + (schedule.t_max - options.t_min) * stratified
    noise = rng.standard_normal(images.shape, dtype=np.float32)
    classes = np.where(rng.random(n) < options.class_dropout, NULL_CLASS, data.labels[index])
    x = _column(schedule.alpha(t)) * images + _column(schedule.sigma(t)) * noise
    label = torch.from_numpy(LABELS[options.label](schedule)(t)).float()
    return Batch(torch.from_numpy(x), label, torch.from_numpy(classes), torch.from_numpy(noise))


def _column(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float32)[:, None, None, None]


class Trainer(TrainingRun):
    """The run of :func:`build_network` on ``data``; see :class:`TrainingRun` for ``folder`` and resuming."""

    options: TrainingOptions

    def __init__(
        self, folder: Path, data: LabelledImages, schedule: Schedule, options: TrainingOptions, device: str = "cpu"
    ) -> None:
        self.data, self.schedule = data, schedule
        with own_generator(options.seed):
            network = build_network()
        network = network.to(torch.device(device))
        optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=0.01)
        super().__init__(folder, options, network, optimizer)

    def take_step(self) -> float:
        batch = make_batch(self.data, self.schedule, self.options, self.step)
        x, label, classes, noise = (v.to(self.device) for v in (batch.x, batch.label, batch.classes, batch.noise))
        with torch.autocast(self.device.type, torch.bfloat16):
            predicted = self.network(x, label, class_labels=classes).sample
        loss = torch.nn.functional.mse_loss(predicted.float(), noise)
        loss.backward()
        self.descend(self.options.rate(self.step))
        return loss.item()


def export(trainer: Trainer, folder: Path) -> None:
    """Write the averaged weights as a diffusers folder (config.json, fp16 safetensors), with the loss curve.

    Other files of the folder stay; each of these is whole or the old one.
    """
    network = build_network()
    network.load_state_dict(trainer.average)
    with replacing_files(folder) as made:
        network.half().save_pretrained(made, safe_serialization=True)  # type: ignore[attr-defined]
        plot_loss(trainer.losses, made / "loss.png", "epsilon loss")
