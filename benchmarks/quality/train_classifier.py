"""python -m benchmarks.quality.train_classifier [--run FOLDER] [--export FOLDER] [--epochs 8]

Trains the classifier behind the Frechet distance on Fashion-MNIST and writes classifier.safetensors (float16) and
classifier.json with its accuracy on the test images. Every batch is a function of (seed, step) alone, so a run that
was killed goes on from its checkpoint as if nothing had happened.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from genie_samplers.demo.classifier import Classifier
from genie_samplers.demo.data import DEFAULT_ROOT, LabelledImages, fashion_mnist

__all__ = ["Options", "Trainer", "accuracy", "export", "main"]

_ASSETS = Path(__file__).parents[2] / "python" / "genie_samplers" / "demo" / "assets"


@dataclass(frozen=True)
class Options:
    channels: tuple[int, ...] = (16, 32, 64, 64)
    num_features: int = 64
    epochs: int = 8
    batch_size: int = 200
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_steps: int = 100
    seed: int = 0
    save_every: int = 100

    def rate(self, step: int, steps: int) -> float:
        """Learning rate: linear warm-up times a cosine to zero."""
        return self.learning_rate * min(1.0, (step + 1) / self.warmup_steps) * math.cos(0.5 * math.pi * step / steps)


def make_batch(data: LabelledImages, options: Options, step: int) -> tuple[Tensor, Tensor]:
    """Images, each flipped with probability 1/2, and labels of one step."""
    epoch, place = divmod(step, len(data) // options.batch_size)
    order = np.random.default_rng([options.seed, epoch]).permutation(len(data))
    index = order[place * options.batch_size : (place + 1) * options.batch_size]
    rng = np.random.default_rng([options.seed, epoch, step])
    images = data.images[index]
    images = np.where(rng.random((len(index), 1, 1, 1)) < 0.5, images[..., ::-1], images)
    return torch.from_numpy(images), torch.from_numpy(data.labels[index])


class Trainer:
    """Network and optimiser; ``folder`` holds the checkpoint, which is resumed where there is one."""

    def __init__(self, folder: Path, data: LabelledImages, options: Options) -> None:
        torch.manual_seed(options.seed)
        self.data, self.options = data, options
        self.network = Classifier(options.channels, options.num_features)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), weight_decay=options.weight_decay)
        self.steps = options.epochs * (len(data) // options.batch_size)
        self.step = 0
        self.checkpoint = folder / "classifier.pt"
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._load()

    def run(self, *, until: int | None = None) -> None:
        """Train to step ``until``, by default the last, saving now and then."""
        self.network.train()
        end = self.steps if until is None else min(until, self.steps)
        while self.step < end:
            loss = self._take_step()
            self.step += 1
            if self.step % self.options.save_every == 0 or self.step == end:
                self._save()
                print(f"step {self.step} of {self.steps}: loss {loss:.3f}", flush=True)

    def _take_step(self) -> float:
        images, labels = make_batch(self.data, self.options, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate(self.step, self.steps)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.network(images)
        loss = nn.functional.cross_entropy(logits.float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def _save(self) -> None:
        partial = self.checkpoint.with_suffix(".partial")
        state = {"step": self.step, "options": asdict(self.options), "network": self.network.state_dict()}
        torch.save({**state, "optimizer": self.optimizer.state_dict()}, partial)
        os.replace(partial, self.checkpoint)

    def _load(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        if state["options"] != asdict(self.options):
            raise ValueError(f"{self.checkpoint}: made with {state['options']}; take the same or another --run")
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


@torch.no_grad()
def accuracy(network: nn.Module, data: LabelledImages) -> float:
    """Share of the images whose largest logit is that of their label."""
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    right = [(network(i).argmax(1) == k).sum() for i, k in zip(images.split(500), labels.split(500), strict=True)]
    return int(sum(right)) / len(data)


def export(network: Classifier, options: Options, test: LabelledImages, folder: Path) -> float:
    """Write the float16 weights and their test accuracy; returns it."""
    from safetensors.torch import save

    half = {name: v.half() if v.is_floating_point() else v for name, v in network.state_dict().items()}
    network.load_state_dict(half)  # measured as shipped: rounded to float16
    measured = accuracy(network.eval(), test)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classifier.safetensors").write_bytes(save(half))
    kept = {"channels": list(options.channels), "num_features": options.num_features}
    config = {**kept, "test_accuracy": measured, "training": asdict(options)}
    (folder / "classifier.json").write_text(json.dumps(config, indent=2) + "\n")
    return measured


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.train_classifier", description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder of the IDX files")
    parser.add_argument("--run", type=Path, default=Path("runs/classifier"), help="folder of the checkpoint")
    parser.add_argument("--export", type=Path, default=_ASSETS)
    parser.add_argument("--epochs", type=int, default=Options.epochs)
    chosen = parser.parse_args(arguments)
    options = Options(epochs=chosen.epochs)
    trainer = Trainer(chosen.run, fashion_mnist("train", chosen.data), options)
    trainer.run()
    measured = export(trainer.network, options, fashion_mnist("test", chosen.data), chosen.export)
    print(f"{chosen.export}: accuracy {measured:.4f} on the test images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
