"""Training of the embedded network: noise prediction on Fashion-MNIST, label = log gamma unless told otherwise.

Every random number of step k (images, flips, times, noise, dropped classes) is a function of (seed, k) alone, so a run
that was killed and resumed takes exactly the steps of one that was not. The learning rate warms up, stays, and falls
linearly to zero over the last fifth of ``steps``: a run can be prolonged from any checkpoint of its flat part. Every
other option that decides a step is kept in the checkpoint, and a resumed run must have the same.
"""

from __future__ import annotations

import csv
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from .data import LabelledImages
from .models import LABELS, NULL_CLASS
from .schedules import Schedule

__all__ = ["Trainer", "TrainingOptions", "build_network", "export"]

_LOSS_WINDOW = 100
_MAY_CHANGE = {"steps", "save_every"}  # between the parts of a resumed run


@dataclass(frozen=True)
class TrainingOptions:
    steps: int = 8000
    batch_size: int = 128
    learning_rate: float = 6e-4
    warmup_steps: int = 300
    decay_fraction: float = 0.2
    ema_decay: float = 0.9995
    class_dropout: float = 0.1
    t_min: float = 1e-5  # below the default t_end, so that finer grids find a trained network
    seed: int = 0
    save_every: int = 250
    label: str = "log_gamma"  # a name in models.LABELS

    def rate(self, step: int) -> float:
        """Learning rate of a step: warm-up, plateau, linear decay to zero."""
        left = (self.steps - step) / max(1.0, self.decay_fraction * self.steps)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup_steps, left)


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
    flipped = rng.random(n) < 0.5
    images = np.where(flipped[:, None, None, None], images[..., ::-1], images)
    stratified = (np.arange(n) + rng.random(n)) / n
    t = options.t_min + (schedule.t_max - options.t_min) * stratified
    noise = rng.standard_normal(images.shape, dtype=np.float32)
    classes = np.where(rng.random(n) < options.class_dropout, NULL_CLASS, data.labels[index])
    x = _column(schedule.alpha(t)) * images + _column(schedule.sigma(t)) * noise
    label = torch.from_numpy(LABELS[options.label](schedule)(t)).float()
    return Batch(torch.from_numpy(x), label, torch.from_numpy(classes), torch.from_numpy(noise))


def _column(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float32)[:, None, None, None]


class Trainer:
    """Network, its moving average and the optimiser; ``folder`` holds the checkpoint and the loss curve.

    A checkpoint in ``folder`` is resumed: ``options.steps`` and ``save_every`` may differ from those it was made with,
    any other difference is a ValueError.
    """

    def __init__(
        self, folder: Path, data: LabelledImages, schedule: Schedule, options: TrainingOptions, device: str = "cpu"
    ) -> None:
        torch.manual_seed(options.seed)
        self.folder, self.data, self.schedule, self.options = folder, data, schedule, options
        self.device = torch.device(device)
        self.network = build_network().to(self.device)
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=options.learning_rate, weight_decay=0.01)
        self.step = 0
        self.losses: list[float] = []
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._load()

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def run(self, *, until: int | None = None) -> None:
        """Train to step ``until`` (``options.steps`` by default), saving now and then; a bar shows the recent loss."""
        end = self.options.steps if until is None else min(until, self.options.steps)
        bar = tqdm(total=self.options.steps, initial=self.step, unit="step", dynamic_ncols=True, disable=None)
        with bar:
            while self.step < end:
                self.losses.append(self._take_step())
                self.step += 1
                bar.update()
                if self.step % 10 == 0:
                    bar.set_postfix(loss=f"{np.mean(self.losses[-_LOSS_WINDOW:]):.4f}")
                if self.step % self.options.save_every == 0:
                    self.save()
        self.save()

    def _take_step(self) -> float:
        batch = make_batch(self.data, self.schedule, self.options, self.step)
        x, label, classes, noise = (v.to(self.device) for v in (batch.x, batch.label, batch.classes, batch.noise))
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate(self.step)
        with torch.autocast(self.device.type, torch.bfloat16):
            predicted = self.network(x, label, class_labels=classes).sample
        loss = torch.nn.functional.mse_loss(predicted.float(), noise)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self._average_weights()
        return loss.item()

    @torch.no_grad()
    def _average_weights(self) -> None:
        decay = min(self.options.ema_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1.0 - decay)

    def save(self) -> None:
        """Write the checkpoint atomically, and the loss curve beside it."""
        state = {
            "step": self.step,
            "options": asdict(self.options),
            "losses": self.losses,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)
        with open(self.folder / "loss.csv", "w", newline="") as file:
            csv.writer(file).writerows([("step", "loss"), *((n, f"{m:.5f}") for n, m in loss_curve(self.losses))])

    def _load(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self._check_same_run(state.get("options", {}))
        self.step, self.losses = state["step"], state["losses"]
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])

    def _check_same_run(self, saved: dict[str, object]) -> None:
        """Raise ValueError where the checkpoint's options are not ours; one from before they were kept has none."""
        given = asdict(self.options)
        changed = [key for key in saved if key not in _MAY_CHANGE and saved[key] != given.get(key)]
        if changed:
            differences = ", ".join(f"{key}={given.get(key)!r} (checkpoint: {saved[key]!r})" for key in changed)
            raise ValueError(f"{self.checkpoint}: {differences}; resume with the same or take another folder")


def export(trainer: Trainer, folder: Path) -> None:
    """Write the averaged weights as a diffusers folder (config.json, fp16 safetensors), with the loss curve."""
    network = build_network()
    network.load_state_dict(trainer.average)
    network.half().save_pretrained(folder, safe_serialization=True)  # type: ignore[attr-defined]
    _plot_loss(trainer.losses, folder / "loss.png")


def loss_curve(losses: list[float]) -> list[tuple[int, float]]:
    """(step, mean loss of the last 100 steps) every 100 steps."""
    ends = range(_LOSS_WINDOW, len(losses) + 1, _LOSS_WINDOW)
    return [(end, float(np.mean(losses[end - _LOSS_WINDOW : end]))) for end in ends]


def _plot_loss(losses: list[float], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(*np.array(loss_curve(losses)).reshape(-1, 2).T)
    axes.set(xlabel="step", ylabel=f"epsilon loss, mean of {_LOSS_WINDOW} steps", yscale="log")
    figure.savefig(path, dpi=80)
