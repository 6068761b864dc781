"""The network that a command works on: the embedded one, or a diffusers U-Net of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from .. import demo, genie, models, schedules
from ..genie.heads.files import FOLDER
from ..models import Model, WrappedModel
from ..plan import Plan
from ..predictions import PREDICTIONS
from ..schedules import Schedule
from .fashion import class_number

__all__ = ["SCHEDULES", "Chosen", "Network", "network_options", "with_derivatives"]

SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "vp_linear": schedules.vp_linear,
    "vp_cosine": schedules.vp_cosine,
    "edm": schedules.edm,
    "flow": schedules.flow,
    "linear_betas": lambda: schedules.from_betas(schedules.linear_betas()),
    "scaled_linear_betas": lambda: schedules.from_betas(schedules.scaled_linear_betas()),
    "squaredcos_betas": lambda: schedules.from_betas(schedules.squaredcos_betas()),
}

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --network, --schedule, --prediction, --label and --device, given to the command as one :class:`Chosen`."""

    def with_chosen(
        folder: Path | None, schedule_name: str, prediction: str, label_name: str | None, device: str, **others: Any
    ) -> Any:
        return command(chosen=Chosen(folder, schedule_name, prediction, label_name, device), **others)

    with_chosen.__doc__ = command.__doc__
    if hasattr(command, "__click_params__"):
        with_chosen.__click_params__ = command.__click_params__  # type: ignore[attr-defined]
    decorated: Callable[..., Any] = with_chosen
    for option in (
        click.option("--device", default="cpu", show_default=True),
        click.option(
            "--label", "label_name", type=click.Choice(list(models.LABELS)),
            help="What the network takes instead of t; the schedule's by default, log_gamma of the embedded one.",
        ),
        click.option(
            "--prediction", type=click.Choice(PREDICTIONS), default="epsilon", show_default=True,
            help="What the network predicts.",
        ),
        click.option(
            "--schedule", "schedule_name", type=click.Choice(list(SCHEDULES)), default="vp_linear", show_default=True,
            help="What it was trained with.",
        ),
        click.option("--network", "folder", type=_FOLDER, help="Folder of a diffusers U-Net; the embedded by default."),
    ):  # fmt: skip
        decorated = option(decorated)
    return decorated


@dataclass(frozen=True)
class Chosen:
    """What the options say; the network is loaded by :meth:`load`. ValueError for a wrong word on the embedded one."""

    folder: Path | None
    schedule_name: str
    prediction: str
    label_name: str | None
    device: str

    def __post_init__(self) -> None:
        given = {
            "--schedule": self.schedule_name,
            "--prediction": self.prediction,
            "--label": self.label_name or "log_gamma",
        }
        known = {"--schedule": "vp_linear", "--prediction": "epsilon", "--label": "log_gamma"}
        wrong = [name for name in known if given[name] != known[name]]
        if self.folder is None and wrong:
            raise ValueError(
                f"{wrong[0]} {given[wrong[0]]}: the embedded network has {known[wrong[0]]}; give --network for another"
            )

    @property
    def name(self) -> str:
        return "embedded" if self.folder is None else self.folder.resolve().name  # no more: cards are published

    @property
    def schedule(self) -> Schedule:
        return SCHEDULES[self.schedule_name]()

    def class_number(self, name: str) -> int:
        """ValueError for what cannot be a class of the network."""
        if self.folder is None:
            return class_number(name)
        if not (name.isdecimal() and name.isascii() and len(name) < 10):
            raise ValueError(f"--class {name!r}; give the number of a class of the network")
        return int(name)

    def load(self) -> Network:
        """ValueError for a network that needs a text."""
        if self.folder is None:
            return Network(demo.embedded(self.device), None)
        schedule = self.schedule
        label = models.LABELS[self.label_name or "schedule"](schedule)
        model = models.load(self.folder, schedule, prediction=self.prediction, label=label, device=self.device)
        if model.network.config.get("cross_attention_dim") is not None:  # type: ignore[attr-defined]
            raise ValueError("--network: its config has a cross_attention_dim; call genie_samplers.genie with its cond")
        return Network(model, self.folder)


@dataclass(frozen=True)
class Network:
    """model: without a head. folder: None of the embedded one."""

    model: WrappedModel
    folder: Path | None

    @property
    def config(self) -> Any:
        return self.model.network.config  # type: ignore[attr-defined]

    @property
    def classes(self) -> int | None:
        """How many, without the last, which stands for none; None where it knows no classes."""
        count = self.config.get("num_class_embeds")
        return None if count is None else max(1, count - 1)

    def shape(self, count: int) -> tuple[int, int, int, int]:
        """Of ``count`` samples; ValueError where the network does not say."""
        size = self.config.get("sample_size")
        if size is None:
            raise ValueError("--network: its config has no sample_size; call genie_samplers.sample with shape")
        height, width = (size, size) if isinstance(size, int) else size
        return count, self.config["in_channels"], height, width

    def picture_shape(self, count: int) -> tuple[int, int, int, int]:
        """As :meth:`shape`; ValueError where samples are no grey or coloured images."""
        shape = self.shape(count)
        if shape[1] not in (1, 3):
            raise ValueError(f"--network: has {shape[1]} channels; pictures need 1 or 3, call genie_samplers.sample")
        return shape

    def cond(self, count: int, number: int | None = None) -> dict[str, Tensor]:
        """Of ``count`` samples of this class, or of all classes in turn; ValueError where there is no such class."""
        if self.classes is None or (number is not None and number >= self.classes):
            if number is None:
                return {}
            known = "no classes" if self.classes is None else f"the classes 0..{self.classes - 1}"
            raise ValueError(f"--class {number}: the network knows {known}; choose another, or leave it out")
        classes = torch.arange(count) % self.classes if number is None else torch.full((count,), number)
        return {"class_labels": classes}

    def null(self) -> dict[str, int]:
        """The conditioning of none; ValueError for a network without classes."""
        if self.classes is None:
            raise ValueError("--guidance: the network knows no classes; leave it out")
        return {"class_labels": self.config["num_class_embeds"] - 1}

    def with_head(self) -> Model:
        """The model with the head in its folder, where there is one."""
        if self.folder is None:
            return demo.embedded_with_head(network=self.model)
        if (self.folder / FOLDER).is_dir():
            return genie.with_head(self.model, self.folder)
        return self.model


def with_derivatives(model: Model, plan: Plan) -> Model:
    """The model as an unguided plan reads it: with its head, or with exact derivatives."""
    if "gamma_d_epsilon" not in plan.outputs:
        return model
    plain = model.model if isinstance(model, genie.HeadedModel) else model
    return genie.exact(plain, order=len(plan.outputs) - 1)  # type: ignore[arg-type]
