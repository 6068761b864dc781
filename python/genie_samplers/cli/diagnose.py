"""genie-samplers diagnose: whether a network's exact derivative is of use, and below which gamma."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np

from ..files import check_target, replacing, require, write_rows
from ..genie.diagnose import WIDTHS, Diagnosis, diagnose
from ..genie.plan_search import Measured, candidates, measure
from ..plotting import plain_ticks
from .network import Chosen, network_options
from .options import check_device, count_option, fine_option, nfe_option, out_option, seed_option

__all__ = ["diagnose_command"]

_COLUMNS = ("gamma", "change", *(f"rough_{width:g}" for width in WIDTHS), "derivative", "history")


@click.command("diagnose")
@network_options
@nfe_option
@count_option(8, "Latents.")
@seed_option("Of the latents that the network's trajectories start from.")
@click.option("--measure", "measured", is_flag=True, help="Also run candidates against a fine solution.")
@fine_option
@out_option("diagnose.png", "The picture; the numbers go into a .csv of the same name.")
def diagnose_command(chosen: Chosen, nfe: int, count: int, seed: int, measured: bool, fine: int, out: Path) -> None:
    """How smooth a network is over a step: what solver, threshold and grid to use. PNG, and the numbers as CSV."""
    check_device(chosen.device)
    require("the picture of diagnose", "matplotlib", extra="cli")
    table = out.with_suffix(".csv")
    check_target(out, suffix=".png", name="--out")
    check_target(table, suffix=".csv", name="--out")
    shape, cond = chosen.shape(count), chosen.cond(range(count))
    model = chosen.load()
    found = diagnose(model, shape=shape, nfe=nfe, seed=seed, cond=cond)
    rows = np.column_stack([found.gamma, found.change, found.roughness, found.with_derivative, found.with_history])
    click.echo("".join(f"{name:>12s}" for name in _COLUMNS))
    click.echo("\n".join("".join(f"{value:12.4g}" for value in row) for row in rows))
    write_rows(table, [_COLUMNS, *([f"{value:.6g}" for value in row] for row in rows)])
    _plot(found, out)
    click.echo(f"{out} and {table}: {count} latents, {nfe} steps of {found.step:.3g} in log gamma")
    advice = found.advice()
    click.echo(f"advice: {advice.solver}{_written(advice.options)}; {advice.reason}")
    if measured:
        offered = candidates(found.derivative_below)
        results = measure(model, offered, nfe, shape=shape, seed=seed, cond=cond, fine_steps=fine, on_result=_print)
        best = results[0].candidate
        click.echo(f"best at {nfe} evaluations: {best.solver}{_written(best.options)}, grid {best.grid}")


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
    plain_ticks(left)
    plain_ticks(right)
    with replacing(out) as partial:
        figure.savefig(partial, dpi=100)


def _print(result: Measured) -> None:
    name = f"{result.candidate.solver}{_written(result.candidate.options)}"
    click.echo(f"{name:42s} {result.candidate.grid:12s} rmse {result.rmse:.4f}  {result.seconds:6.2f} s")


def _written(options: Mapping[str, object]) -> str:
    below = options.get("derivative_below")
    if below is None:
        return ""
    return ", derivative everywhere" if below == np.inf else f", derivative below {below:.3g}"
