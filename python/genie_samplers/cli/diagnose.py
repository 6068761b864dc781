"""genie-samplers diagnose: whether a network's exact derivative is of use, and below which gamma."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import torch

from ..genie.diagnose import WIDTHS, Diagnosis, diagnose
from ..genie.plan_search import Measured, candidates, measure
from ..models.wrap import WrappedModel
from . import images
from .network import chosen_network, network_options
from .options import check_run, device_option, nfe_option, out_option, seed_option

__all__ = ["diagnose_command"]

_COLUMNS = ("gamma", "change", *(f"rough_{width:g}" for width in WIDTHS), "derivative", "history")


@click.command("diagnose")
@network_options
@nfe_option
@click.option("--count", default=8, show_default=True, help="Latents.")
@seed_option
@device_option
@click.option("--measure", "measured", is_flag=True, help="Also run candidates against a fine solution.")
@click.option("--fine", default=200, show_default=True, help="Steps of that solution.")
@out_option("diagnose.png")
def diagnose_command(
    folder: Path | None, schedule_name: str, prediction: str, label_name: str | None,
    nfe: int, count: int, seed: int, device: str, measured: bool, fine: int, out: Path,
) -> None:  # fmt: skip
    """How smooth a network is over a step: what solver, threshold and grid to use. PNG, and the numbers as CSV."""
    check_run(count, device)
    table = out.with_suffix(".csv")
    images.check_target(out)
    images.check_target(table, suffix=".csv")
    model = chosen_network(folder, schedule_name, prediction, label_name, device)
    shape, cond = _inputs(model, count)
    found = diagnose(model, shape=shape, nfe=nfe, seed=seed, cond=cond)
    rows = np.column_stack([found.gamma, found.change, found.roughness, found.with_derivative, found.with_history])
    click.echo("".join(f"{name:>12s}" for name in _COLUMNS))
    click.echo("\n".join("".join(f"{value:12.4g}" for value in row) for row in rows))
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows([_COLUMNS, *([f"{value:.6g}" for value in row] for row in rows)])
    _plot(found, out)
    click.echo(f"{out} and {table}: {count} latents, {nfe} steps of {found.step:.3g} in log gamma")
    advice = found.advice()
    click.echo(f"advice: {advice.solver}{_written(advice.options)}; {advice.reason}")
    if measured:
        chosen = candidates(found.derivative_below)
        results = measure(model, chosen, nfe, shape=shape, seed=seed, cond=cond, fine_steps=fine, on_result=_print)
        best = results[0].candidate
        click.echo(f"best at {nfe} evaluations: {best.solver}{_written(best.options)}, grid {best.grid}")


def _inputs(model: WrappedModel, count: int) -> tuple[tuple[int, ...], dict[str, torch.Tensor]]:
    """Shape and conditioning of ``count`` samples of a diffusers U-Net; its classes in turn, but not its last."""
    config = model.network.config  # type: ignore[attr-defined]
    size = config.get("sample_size")
    if size is None:
        raise ValueError("--network: its config has no sample_size; call genie_samplers.genie.diagnose with shape")
    height, width = (size, size) if isinstance(size, int) else size
    classes = config.get("num_class_embeds")
    cond = {} if classes is None else {"class_labels": torch.arange(count) % max(1, classes - 1)}
    return (count, config["in_channels"], height, width), cond


def _plot(found: Diagnosis, out: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for width, roughness in zip(WIDTHS, found.roughness.T, strict=True):
        left.plot(found.gamma, roughness, "o-", label=f"over {width:.0%} of gamma")
    left.set(xscale="log", yscale="log", xlabel="gamma", ylabel="roughness")
    right.plot(found.gamma, found.with_derivative, "o-", label="from the derivative")
    right.plot(found.gamma, found.with_history, "o-", label="from the history")
    right.axhline(1.0, color="grey", linewidth=0.8)
    right.set(xscale="log", xlabel="gamma", ylabel="error after a step / change", ylim=(0.0, None))
    left.legend()
    right.legend()
    figure.savefig(out, dpi=100)


def _print(result: Measured) -> None:
    name = f"{result.candidate.solver}{_written(result.candidate.options)}"
    click.echo(f"{name:42s} {result.candidate.grid:12s} rmse {result.rmse:.4f}  {result.seconds:6.2f} s")


def _written(options: Mapping[str, object]) -> str:
    below = options.get("derivative_below")
    if below is None:
        return ""
    return ", derivative everywhere" if below == np.inf else f", derivative below {below:.3g}"
