"""genie-samplers plan: the table of a solver, or the list of solvers."""

from __future__ import annotations

import click

from ..predictions import PREDICTIONS
from ..solvers.make import make_plan
from .options import (
    SCHEDULES,
    clip_option,
    denoise_option,
    grid_option,
    nfe_option,
    schedule_option,
    solver_option,
)
from .solver_tables import name_table, option_table, solver_table

__all__ = ["plan_command"]

_LISTS = {"solvers": solver_table, "names": name_table, "options": option_table}


@click.command("plan")
@solver_option()
@nfe_option
@grid_option
@denoise_option
@schedule_option("vp_linear", "What the network that it is for was trained with.")
@click.option(
    "--prediction", type=click.Choice(PREDICTIONS), default="epsilon", show_default=True,
    help="What that network predicts.",
)  # fmt: skip
@clip_option
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--list", "listed", flag_value="solvers", help="The registered solvers as a table.")
@click.option("--names", "listed", flag_value="names", help="What each is called in other libraries.")
@click.option("--options", "listed", flag_value="options", help="The options of each, with their defaults.")
def plan_command(
    solver: str, nfe: int, grid: str | None, denoise: bool | None, schedule: str, prediction: str, clip: float | None,
    as_json: bool, listed: str | None,
) -> None:  # fmt: skip
    """Print a solver's table on a schedule."""
    if listed is not None:
        click.echo(_LISTS[listed]())
        return
    plan = make_plan(solver, SCHEDULES[schedule](), nfe, grid=grid, prediction=prediction, denoise=denoise, clip=clip)
    click.echo(plan.to_json(indent=1) if as_json else str(plan))
