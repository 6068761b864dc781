"""A training run that may be killed at any time: every step is a function of (options, step), and it resumes."""

from __future__ import annotations

import csv
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

__all__ = ["LOSS_WINDOW", "RunOptions", "TrainingRun", "loss_curve", "own_generator", "plot_loss"]

LOSS_WINDOW = 100


@dataclass(frozen=True)
class RunOptions:
    """What every run decides: its learning rate warms up, stays, and falls linearly over the last decay_fraction."""

    steps: int
    learning_rate: float
    warmup_steps: int
    decay_fraction: float
    ema_decay: float
    seed: int = 0
    save_every: int = 100

    def rate(self, step: int) -> float:
        """Learning rate of a step: warm-up, plateau, linear decay to zero."""
        left = (self.steps - step) / max(1.0, self.decay_fraction * self.steps)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup_steps, left)


class TrainingRun(ABC):
    """Network, its moving average and the optimiser; ``folder`` holds the checkpoint and the loss curve.

    A checkpoint in ``folder`` is resumed: ``options.steps`` and ``save_every`` may differ from those it was made with,
    any other difference is a ValueError, and so is a loss that is not finite. ``writes``: whether this process writes
    the files (one of several does).
    """

    may_change: ClassVar[frozenset[str]] = frozenset({"steps", "save_every"})

    def __init__(
        self,
        folder: Path,
        options: RunOptions,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        writes: bool = True,
    ) -> None:
        self.folder, self.options, self.network, self.optimizer = folder, options, network, optimizer
        self.average = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.step = 0
        self.losses: list[float] = []
        self.writes = writes
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._load()

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @abstractmethod
    def take_step(self) -> float:
        """Step number ``self.step``; returns its loss."""

    def run(self, *, until: int | None = None) -> None:
        """Train to step ``until`` (``options.steps`` by default), saving now and then; a bar shows the recent loss."""
        end = self.options.steps if until is None else min(until, self.options.steps)
        shown = None if self.writes else True  # None: on a terminal only
        bar = tqdm(total=self.options.steps, initial=self.step, unit="step", dynamic_ncols=True, disable=shown)
        with bar:
            while self.step < end:
                self.losses.append(self._checked(self.take_step()))
                self.step += 1
                bar.update()
                if self.step % 10 == 0:
                    bar.set_postfix(loss=f"{np.mean(self.losses[-LOSS_WINDOW:]):.4f}")
                if self.step % self.options.save_every == 0:
                    self.save()
        self.save()

    def _checked(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise ValueError(
                f"{self.folder}: the loss of step {self.step} is {loss}; nothing of it was saved, train with a smaller "
                "learning_rate in another folder, or on other data"
            )
        return loss

    def descend(self, rate: float) -> None:
        """One step of the optimiser at this learning rate, gradients clipped to norm 1, and of the moving average."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._average_weights()

    @torch.no_grad()
    def _average_weights(self) -> None:
        decay = min(self.options.ema_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1.0 - decay)

    def save(self) -> None:
        """Write the checkpoint atomically, and the loss curve beside it."""
        if not self.writes:
            return
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

    def _check_same_run(self, saved: Mapping[str, object]) -> None:
        """Raise ValueError where the checkpoint's options are not ours; one from before they were kept has none."""
        given = asdict(self.options)
        changed = [key for key in saved if key not in self.may_change and saved[key] != given.get(key)]
        if changed:
            differences = ", ".join(f"{key}={given.get(key)!r} (checkpoint: {saved[key]!r})" for key in changed)
            raise ValueError(f"{self.checkpoint}: {differences}; resume with the same or take another folder")


@contextmanager
def own_generator(seed: int) -> Iterator[None]:
    """Inside, torch draws on the CPU as after ``torch.manual_seed(seed)``; afterwards its generator is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def loss_curve(losses: list[float]) -> list[tuple[int, float]]:
    """(step, mean loss of the last 100 steps) every 100 steps."""
    ends = range(LOSS_WINDOW, len(losses) + 1, LOSS_WINDOW)
    return [(end, float(np.mean(losses[end - LOSS_WINDOW : end]))) for end in ends]


def plot_loss(losses: list[float], path: Path, ylabel: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(*np.array(loss_curve(losses)).reshape(-1, 2).T)
    axes.set(xlabel="step", ylabel=f"{ylabel}, mean of {LOSS_WINDOW} steps", yscale="log")
    figure.savefig(path, dpi=80)
