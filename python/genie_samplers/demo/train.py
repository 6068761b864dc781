"""Training of a network like the embedded one, or of one that is trained already: epsilon and log gamma by default.

Every random number of step k (images, mirrored ones, times, noise, dropped classes) is a function of (seed, k) alone,
so a run that was killed and resumed takes exactly the steps of one that was not. The learning rate warms up, stays, and
falls linearly to zero over the last fifth of ``steps``: a run can be prolonged from any checkpoint of its flat part.
Every other option that decides a step is kept in the checkpoint, and a resumed run must have the same.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._arguments import boolean, choice, integer, real
from ..files import replacing_files
from ..models import INPUTS, LABELS, write_description
from ..schedules import Schedule
from ..training import RunOptions, TrainingRun, own_generator, plot_loss
from .data import LabelledImages
from .embedded import NULL_CLASS

__all__ = ["PRECISIONS", "Trainer", "TrainingOptions", "build_network", "export", "fast_precision", "network_input"]

Pixels = NDArray[np.float32]

_PREDICTIONS = ("epsilon", "x0", "v", "flow")  # of a score the error grows without bound as sigma falls
PRECISIONS = ("float32", "bfloat16")
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")  # instructions of x86 and of ARM, as torch.cpu names them
_LARGEST_INPUT = 2.0  # of sigma, for a network that takes x as it is


@dataclass(frozen=True)
class TrainingOptions(RunOptions):
    """What decides a step, kept in the checkpoint. about: the network, its schedule and its data, in words.

    precision: of the network's products, one of :data:`PRECISIONS`; weights, loss and optimiser are float32 in both.
    None: that of the run that is resumed, else :func:`fast_precision` of the device.
    """

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
    prediction: str = "epsilon"
    input: str = "x"  # a name in models.INPUTS
    mirror: bool = True  # each image with probability 1/2; False where a mirror image is no such image
    about: str = ""
    precision: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.batch_size, "batch_size", least=1)
        choice(self.label, "label", LABELS)
        choice(self.prediction, "prediction", _PREDICTIONS)
        choice(self.input, "input", INPUTS)
        boolean(self.mirror, "mirror")
        if self.precision is not None:
            choice(self.precision, "precision", PRECISIONS)
        if not 0.0 <= real(self.class_dropout, "class_dropout") <= 1.0:
            raise ValueError(f"class_dropout={self.class_dropout}: give a number in 0..1")


def fast_precision(device: torch.device) -> str:
    """bfloat16 where the device has instructions for it, else float32.

    Emulated it is slow: on a CPU with AVX2 alone a step of the embedded network in bfloat16 took 12 times as long.
    """
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and any(_cpu_instructions().get(name) for name in _BFLOAT16)
    return "bfloat16" if fast else "float32"


def _cpu_instructions() -> Mapping[str, object]:
    """None are known where this torch has no name for them."""
    return getattr(torch.cpu, "get_capabilities", dict)()


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
    x: Tensor  # [B, C, H, W] alpha x0 + sigma eps, or that at variance 1
    label: Tensor  # [B]
    classes: Tensor | None  # [B], the null class where dropped; None of a network without classes
    noise: Tensor  # [B, C, H, W]
    target: Tensor  # [B, C, H, W] what the network should predict


def make_batch(
    data: LabelledImages, schedule: Schedule, options: TrainingOptions, step: int, null_class: int | None = NULL_CLASS
) -> Batch:
    """The batch of one step, a function of (seed, step)."""
    rng = np.random.default_rng([options.seed, step])
    n = options.batch_size
    index = rng.integers(0, len(data), n)
    images = data.images[index]
    mirrored = (rng.random(n) < 0.5) & options.mirror
    images = np.where(mirrored[:, None, None, None], images[..., ::-1], images)
    stratified = (np.arange(n) + rng.random(n)) / n
    t = _times(schedule, options.t_min, stratified)
    noise = rng.standard_normal(images.shape, dtype=np.float32)
    classes = None
    if null_class is not None:
        dropped = rng.random(n) < options.class_dropout
        classes = torch.from_numpy(np.where(dropped, null_class, data.labels[index]))
    alpha, sigma = _column(schedule.alpha(t)), _column(schedule.sigma(t))
    label = torch.from_numpy(LABELS[options.label](schedule)(t)).float()
    target = _target(options.prediction, images, noise, alpha, sigma)
    x = alpha * images + sigma * noise
    scale = INPUTS[options.input](schedule)
    x = torch.from_numpy(x if scale is None else x * _column(np.asarray(scale(t))))
    return Batch(x, label, classes, torch.from_numpy(noise), torch.from_numpy(target))


def _times(schedule: Schedule, t_min: float, share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Uniform in t, or where the noise is unbounded in log gamma."""
    if network_input(schedule) == "x":
        return t_min + (schedule.t_max - t_min) * share
    low, high = np.log(schedule.gamma(np.array([t_min, schedule.t_max])))
    return np.clip(schedule.time_of_gamma(np.exp(low + (high - low) * share)), t_min, schedule.t_max)


def network_input(schedule: Schedule) -> str:
    """The name in ``models.INPUTS`` of what a new network is best trained to take."""
    return "unit_variance" if float(schedule.sigma(schedule.t_max)) > _LARGEST_INPUT else "x"


def _target(prediction: str, x0: Pixels, noise: Pixels, alpha: Pixels, sigma: Pixels) -> Pixels:
    """As in :mod:`genie_samplers.predictions`."""
    match prediction:
        case "epsilon":
            return noise
        case "x0":
            return np.ascontiguousarray(x0)
        case "v":
            return np.asarray(alpha * noise - sigma * x0, np.float32)
        case _:
            return noise - x0


def _column(values: NDArray[np.float64]) -> Pixels:
    return values.astype(np.float32)[:, None, None, None]


class Trainer(TrainingRun):
    """A run on ``data``; see :class:`TrainingRun` for ``folder`` and resuming.

    network: the diffusers network to go on with, in evaluation mode, so that its dropout is off; None: one of
    :func:`build_network`. null_class: its class label of none; None where it takes no classes. ValueError for a new
    network that would take unbounded noise, or predict it.
    """

    inherited: ClassVar[frozenset[str]] = frozenset({"precision"})
    later: ClassVar[Mapping[str, object]] = {"input": "x"}
    options: TrainingOptions

    def __init__(
        self, folder: Path, data: LabelledImages, schedule: Schedule, options: TrainingOptions, device: str = "cpu", *,
        network: torch.nn.Module | None = None, null_class: int | None = NULL_CLASS,
    ) -> None:  # fmt: skip
        large = network_input(schedule) != "x"
        if large and (options.prediction == "v" or (network is None and options.input == "x")):
            raise ValueError(
                f"schedule: {schedule} goes to sigma = {float(schedule.sigma(schedule.t_max)):g}; train with "
                "input='unit_variance' and the prediction epsilon, x0 or flow"
            )
        self.data, self.schedule, self.null_class = data, schedule, null_class
        if network is None:
            with own_generator(options.seed):
                network = build_network()
        network = network.requires_grad_(True).to(torch.device(device))
        optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=0.01)
        super().__init__(folder, options, network, optimizer)
        if self.options.precision is None:
            self.options = replace(self.options, precision=fast_precision(self.device))

    def _in_precision(self) -> AbstractContextManager[object]:
        if self.options.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def take_step(self) -> float:
        batch = make_batch(self.data, self.schedule, self.options, self.step, self.null_class)
        x, label, target = (v.to(self.device) for v in (batch.x, batch.label, batch.target))
        classes = None if batch.classes is None else batch.classes.to(self.device)
        with self._in_precision():
            predicted = self.network(x, label, class_labels=classes).sample
        loss = torch.nn.functional.mse_loss(predicted.float(), target)
        loss.backward()
        self.descend(self.options.rate(self.step))
        return loss.item()


def export(trainer: Trainer, folder: Path) -> None:
    """Write the averaged weights as a diffusers folder (config.json, fp16 safetensors), with the loss curve.

    Beside them lies what ``models.load`` needs to be told of the network. Other files of the folder stay; each of these
    is whole or the old one.
    """
    network = copy.deepcopy(trainer.network)
    network.load_state_dict(trainer.average)
    options = trainer.options
    with replacing_files(folder) as made:
        network.half().save_pretrained(made, safe_serialization=True)  # type: ignore[attr-defined]
        write_description(made, trainer.schedule, options.prediction, options.label, input=options.input)
        plot_loss(trainer.losses, made / "loss.png", f"{options.prediction} loss")
