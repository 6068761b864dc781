"""The network that a command works on, by the same options everywhere: the embedded one, or one of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from .. import demo, genie, models
from ..demo.data import CLASS_NAMES
from ..genie.heads.files import FOLDER as HEAD_FOLDER
from ..models import Label, Model, NetworkFolder, WrappedModel
from ..plan import Plan
from ..predictions import PREDICTIONS
from ..schedules import Schedule
from .options import SCHEDULES, device_option, schedule_option
from .types import FOLDER

__all__ = ["Chosen", "network_options", "with_derivatives"]

_EMBEDDED = {"schedule": "vp_linear", "prediction": "epsilon", "label": "log_gamma"}
_MOST_COLUMNS, _COLUMNS = 12, 10


@dataclass(frozen=True)
class Chosen:
    """What the options say; the network is loaded by :meth:`load`. ValueError for a wrong word on the embedded one."""

    folder: Path | None
    schedule_name: str | None
    prediction_name: str | None
    label_name: str | None
    device: str

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """ValueError where the options contradict the embedded network."""
        given = {"prediction": self.prediction_name, "label": self.label_name}
        for name, value in given.items():
            if self.folder is None and value not in (None, _EMBEDDED[name]):
                fix = "give --network for another"
                raise ValueError(f"--{name} {value}: the embedded network has {_EMBEDDED[name]}; {fix}")

    @cached_property
    def found(self) -> NetworkFolder:
        """What its folder says; ValueError for one without a network, or with one that needs a text."""
        if self.folder is None:
            schedule = SCHEDULES[_EMBEDDED["schedule"]]()
            return NetworkFolder(Path(), demo.embedded_config(), schedule, _EMBEDDED["prediction"], _EMBEDDED["label"])
        try:
            found = models.read_folder(self.folder)
        except ValueError as error:
            raise ValueError(f"--network: {error}") from error
        if found.config.get("cross_attention_dim") is not None:
            raise ValueError("--network: its config has a cross_attention_dim; call genie_samplers.genie with its cond")
        return found

    @property
    def name(self) -> str:
        return "embedded" if self.folder is None else self.folder.resolve().name  # no more: cards are published

    @property
    def schedule(self) -> Schedule:
        """ValueError where nothing says it."""
        if self.schedule_name is not None:
            return SCHEDULES[self.schedule_name]()
        if self.found.schedule is not None:
            return self.found.schedule
        fix = f"give the one it was trained with, one of {', '.join(SCHEDULES)}"
        raise ValueError(f"--schedule: nothing in {self.folder} says it; {fix}")

    @property
    def prediction(self) -> str:
        return self.prediction_name or self.found.prediction or "epsilon"

    @property
    def label(self) -> Label:
        return models.LABELS[self.label_name or self.found.label or "schedule"](self.schedule)

    @property
    def about(self) -> str:
        """In words: the network, its schedule, what it predicts and what it takes instead of t."""
        label = self.label_name or self.found.label or "by default"
        return f"{self.name}, {self.schedule}, {self.prediction}, label {label}"

    @property
    def classes(self) -> int | None:
        """How many, without the last, which stands for none; None where it knows no classes."""
        count = models.class_count(self.found.config)
        return None if count is None else max(1, count - 1)

    def class_number(self, name: str) -> int:
        """ValueError for what cannot be a class of the network."""
        if self.folder is None and not name.isdecimal():
            lowered = [known.lower() for known in CLASS_NAMES]
            if name.lower() in lowered:
                return lowered.index(name.lower())
        if not (name.isdecimal() and name.isascii() and len(name) < 10):
            fix = "give the number of a class of the network"
            if self.folder is None:
                fix = f"choose 0..9 or one of {', '.join(CLASS_NAMES)}"
            raise ValueError(f"--class {name!r}; {fix}")
        number = int(name)
        if self.classes is None or number >= self.classes:
            known = "no classes" if self.classes is None else f"the classes 0..{self.classes - 1}"
            raise ValueError(f"--class {number}: the network knows {known}; choose another, or leave it out")
        return number

    def class_label(self, number: int | None) -> str:
        """In words; None: of none."""
        if number is None:
            return "no class"
        return CLASS_NAMES[number] if self.folder is None else f"class {number}"

    def columns(self, count: int, number: int | None) -> tuple[int, list[str]]:
        """How many a page of ``count`` samples has, and their names: one for each class, where they are few."""
        if number is not None or self.classes is None or not 1 < self.classes <= _MOST_COLUMNS:
            return min(count, _COLUMNS), []
        columns = min(count, self.classes)
        return columns, [CLASS_NAMES[n] if self.folder is None else str(n) for n in range(columns)]

    def shape(self, count: int) -> tuple[int, int, int, int]:
        """Of ``count`` samples; ValueError where the network does not say."""
        size = self.found.config.get("sample_size")
        if size is None:
            raise ValueError("--network: its config has no sample_size; call genie_samplers.sample with shape")
        height, width = (size, size) if isinstance(size, int) else size
        return count, self.found.config["in_channels"], height, width

    def picture_shape(self, count: int) -> tuple[int, int, int, int]:
        """As :meth:`shape`; ValueError where samples are no grey or coloured images."""
        shape = self.shape(count)
        if shape[1] not in (1, 3):
            raise ValueError(
                f"--network: has {shape[1]} channels, a picture 1 or 3; `sample --out FOLDER/` writes latents of any"
            )
        return shape

    def cond(self, ids: range, number: int | None = None) -> dict[str, Tensor]:
        """Of these samples: of this class, or by their ids of all classes in turn."""
        if self.classes is None or number is not None:
            return self.same_class(len(ids), number)
        return {"class_labels": torch.arange(ids.start, ids.stop) % self.classes}

    def same_class(self, count: int, number: int | None) -> dict[str, Tensor]:
        """Of ``count`` samples of this class, or of none."""
        return {} if number is None else {"class_labels": torch.full((count,), number)}

    def null(self) -> dict[str, int]:
        """The conditioning of none; ValueError for a network without classes."""
        count = models.class_count(self.found.config)
        if count is None:
            raise ValueError("--guidance: the network knows no classes; leave it out")
        return {"class_labels": count - 1}

    def load(self) -> WrappedModel:
        """The network, without a head."""
        if self.folder is None:
            return demo.embedded(self.device, schedule=self.schedule)
        return models.load(self.found, self.schedule, prediction=self.prediction, label=self.label, device=self.device)

    def with_head(self, model: WrappedModel) -> Model:
        """The loaded network with the head in its folder, where there is one."""
        if self.folder is None:
            own = model.schedule == SCHEDULES[_EMBEDDED["schedule"]]()
            return demo.embedded_with_head(network=model) if own else model
        homes = [home for home in (self.folder, self.found.home) if (home / HEAD_FOLDER).is_dir()]
        return genie.with_head(model, homes[0]) if homes else model


def network_options(
    command: Callable[..., Any] | None = None, *, kind: type[Chosen] = Chosen,
    default: str = "the embedded Fashion-MNIST network",
) -> Callable[..., Any]:  # fmt: skip
    """Adds --network, --schedule, --prediction, --label and --device, given to the command as one ``kind``.

    default: what it works on where --network is not given, in words.
    """
    if command is None:
        return partial(network_options, kind=kind, default=default)

    def with_chosen(
        network: Path | None, schedule: str | None, prediction: str | None, label: str | None, device: str,
        **others: Any,
    ) -> Any:  # fmt: skip
        return command(chosen=kind(network, schedule, prediction, label, device), **others)

    with_chosen.__doc__ = command.__doc__
    if hasattr(command, "__click_params__"):
        with_chosen.__click_params__ = command.__click_params__  # type: ignore[attr-defined]
    decorated: Callable[..., Any] = with_chosen
    for option in (
        device_option,
        click.option(
            "--label", type=click.Choice(list(models.LABELS)),
            help="What the network takes instead of t; else what its folder says, or the schedule's own."
            " Of the embedded one log_gamma.",
        ),
        click.option(
            "--prediction", type=click.Choice(PREDICTIONS),
            help="What the network predicts; else what its folder says, or epsilon.",
        ),
        schedule_option(
            None,
            "What it was trained with; needed where its folder does not say it. The embedded one, trained on vp_linear,"
            " serves any whose gamma stays below 152.",
        ),
        click.option(
            "--network", type=FOLDER,
            help="Folder of a diffusers network (config.json, safetensors), or of a pipeline with unet/ or transformer/"
            f" and scheduler/; {default} by default.",
        ),
    ):  # fmt: skip
        decorated = option(decorated)
    return decorated


def with_derivatives(model: Model, plan: Plan) -> Model:
    """The model as an unguided plan reads it: with its head, or with exact derivatives."""
    if "gamma_d_epsilon" not in plan.outputs:
        return model
    plain = model.model if isinstance(model, genie.HeadedModel) else model
    return genie.exact(plain, order=len(plan.outputs) - 1)  # type: ignore[arg-type]
