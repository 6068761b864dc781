"""The network that a command works on: the embedded one, or a diffusers U-Net of the user's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .. import demo, genie, models, schedules
from ..plan import Plan
from ..predictions import PREDICTIONS
from ..schedules import Schedule

__all__ = ["SCHEDULES", "chosen_network", "network_options", "with_derivatives"]

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
    """Adds --network, --schedule, --prediction and --label, for :func:`chosen_network`."""
    for option in (
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
        command = option(command)
    return command


def chosen_network(
    folder: Path | None, schedule_name: str, prediction: str, label_name: str | None, device: str
) -> models.WrappedModel:
    """The model that the options describe; ValueError for one that needs a text, or said otherwise of the embedded."""
    if folder is None:
        given = {"--schedule": schedule_name, "--prediction": prediction, "--label": label_name or "log_gamma"}
        known = {"--schedule": "vp_linear", "--prediction": "epsilon", "--label": "log_gamma"}
        if wrong := [name for name in known if given[name] != known[name]]:
            raise ValueError(
                f"{wrong[0]} {given[wrong[0]]}: the embedded network has {known[wrong[0]]}; give --network for another"
            )
        return demo.embedded(device)
    schedule = SCHEDULES[schedule_name]()
    label = models.LABELS[label_name or "schedule"](schedule)
    model = models.load(folder, schedule, prediction=prediction, label=label, device=device)
    if model.network.config.get("cross_attention_dim") is not None:  # type: ignore[attr-defined]
        raise ValueError("--network: its config has a cross_attention_dim; call genie_samplers.genie with its cond")
    return model


def with_derivatives(headed: genie.HeadedModel, plan: Plan) -> Any:
    """The model as an unguided plan reads it: with its head, or with exact derivatives."""
    if "gamma_d_epsilon" in plan.outputs:
        return genie.exact(headed.model, order=len(plan.outputs) - 1)
    return headed
