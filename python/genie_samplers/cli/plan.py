"""genie-samplers plan: the table of a solver, or the list of solvers."""

from __future__ import annotations

import click

from ..predictions import PREDICTIONS
from ..solvers.make import make_plan
from ..solvers.registry import SOLVERS
from .options import (
    SCHEDULES,
    clip_option,
    denoise_option,
    grid_option,
    nfe_option,
    schedule_option,
    solver_option,
)

__all__ = ["plan_command", "solver_table"]


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
@click.option("--list", "as_list", is_flag=True, help="The registered solvers as a table.")
def plan_command(
    solver: str, nfe: int, grid: str | None, denoise: bool | None, schedule: str, prediction: str, clip: float | None,
    as_json: bool, as_list: bool,
) -> None:  # fmt: skip
    """Print a solver's table on a schedule."""
    if as_list:
        click.echo(solver_table())
        return
    plan = make_plan(solver, SCHEDULES[schedule](), nfe, grid=grid, prediction=prediction, denoise=denoise, clip=clip)
    click.echo(plan.to_json(indent=1) if as_json else str(plan))


def solver_table() -> str:
    """The registry in Markdown, as docs/solvers.md holds it."""
    rows = [
        ("solver", "order", "exact on a point mass", "what it is"),
        ("---",) * 4,
        *(
            (
                f"`{solver.name}`", f"{'weak ' if solver.stochastic else ''}{solver.order}",
                "yes" if solver.exact_on_point_mass else "no",
                solver.summary,
            )
            for solver in SOLVERS.values()
        ),
    ]  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
