"""genie-samplers sample: images from the embedded network, or from one of the user's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from click.core import ParameterSource

from .. import genie
from ..calibrate import AnalyticStatistics
from ..models import Model, WrappedModel, guidance
from ..models.calibrated import warn_of_another_network
from ..plan import Plan
from ..solvers.make import CALIBRATED_NAME, make_plan
from . import images
from .batches import Batches
from .files import read_plan
from .filtering import MODES, filter_options, with_filter
from .network import Chosen, network_options, with_derivatives
from .options import (
    backend_option,
    batch_size_option,
    check_device,
    class_option,
    clip_option,
    count_option,
    denoise_option,
    derivative_option,
    grid_option,
    nfe_option,
    seed_option,
    solver_option,
)
from .sample_files import FORMATS, SampleFolder
from .timing import Stopwatch, Timed
from .types import FILE, Out, OutType, Real

__all__ = ["sample_command"]

_DECIDE = (
    "grid",
    "denoise",
    "clip",
    "derivative",
    "statistics_file",
    "filter_mode",
)  # of a plan, beside solver and nfe


@click.command("sample")
@network_options
@solver_option(
    text="auto, the best by its score for schedule and --nfe, calibrated, the plan that was fitted to the network, or a"
    " name of `plan --list`. By default the calibrated one where there is one, else auto.",
    further=(CALIBRATED_NAME,),
)
@nfe_option
@grid_option
@denoise_option
@clip_option
@derivative_option
@click.option(
    "--statistics",
    "statistics_file",
    type=FILE,
    help="What `calibrate analytic` measured on this network; of the analytic solvers, which need it.",
)
@click.option(
    "--filter", "filter_file", type=FILE,
    help="A filter of `calibrate tdas`, or gains, a .json, for all noise of a stochastic solver.",
)  # fmt: skip
@click.option(
    "--filter-mode", type=click.Choice(MODES), default="tdas", show_default=True,
    help="Of predictor_corrector and annealed_langevin: the noise alone, or with pds the score, too.",
)  # fmt: skip
@seed_option()
@backend_option
@click.option("--plan", "plan_file", type=FILE, help="A plan JSON to run in place of --solver, --nfe and the like.")
@count_option(64, "Number of images.")
@class_option
@click.option("--guidance", "scale", type=Real(), help="Classifier-free guidance scale (1 is none).")
@batch_size_option
@click.option(
    "--format", "form", type=click.Choice(FORMATS),
    help="Of the files in a folder: pictures, or float32 arrays named latents. By default png where a sample has 1 or 3"
    " channels, else safetensors.",
)  # fmt: skip
@click.option(
    "--out", type=OutType(), default="samples.png", show_default=True,
    help="A .png of all; or a folder, as samples/, for a file of each: 00000.png, 00001.png, ... by sample id.",
)  # fmt: skip
def sample_command(
    chosen: Chosen, solver: str, nfe: int, grid: str | None, denoise: bool | None, clip: float | None,
    derivative: str | None, statistics_file: Path | None, filter_file: Path | None, filter_mode: str, seed: int,
    backend: str | None, plan_file: Path | None, count: int, class_name: str | None, scale: float | None,
    batch_size: int, form: str | None, out: Out,
) -> None:  # fmt: skip
    """Images from the embedded Fashion-MNIST network, or from another: one PNG of all, or a folder of single files."""
    if plan_file is not None:
        _check_plan_decides()
    check_device(chosen.device)
    sink = SampleFolder.checked(out.path, form, chosen) if out.is_folder else _Page.checked(out.path, form, chosen)
    number = None if class_name is None else chosen.class_number(class_name)
    if scale is not None:
        chosen.null()  # rather fail now than after the network is loaded
    network, plan = (None, read_plan(plan_file)) if plan_file else _calibrated(chosen, solver, nfe, scale)
    if plan is None:
        plan = make_plan(
            solver, chosen.schedule, nfe, grid=grid, prediction=chosen.prediction, denoise=denoise,
            options=_options(solver, derivative, statistics_file, chosen)
            | filter_options(solver, filter_file, filter_mode), clip=clip,
        )  # fmt: skip
    plan, named = with_filter(plan, filter_file, chosen)
    network, watch = network or chosen.load(), Stopwatch()
    warn_of_another_network(plan, network)
    model, plan = _guided(chosen, network, plan, scale)
    batches = Batches(Timed(model, watch), plan, chosen, count, number, seed, batch_size, backend, named)
    name = plan.recipe.solver if plan.recipe else str(plan_file)
    name = name if plan.calibration is None else f"calibrated from {name}"
    run = {"solver": name, "nfe": plan.nfe, "guidance": "none" if scale is None else scale, "seed": seed}
    sink.write(batches, run, plan)
    click.echo(
        f"{out.path}: {count} images, {name}, {plan.nfe} evaluations, {batches.seconds:.2f} s "
        f"(network {watch.seconds:.2f} s, sampler {1e3 * (batches.seconds - watch.seconds):.1f} ms)"
    )
    if "gamma_d_epsilon" in plan.outputs:
        calls = -(-count // batch_size) * (1 if scale is None else 2)
        forward = calls * _forward_seconds(network, chosen.shape(batch_size))
        click.echo(f"exact derivatives: the cost of {batches.seconds / forward:.1f} forward passes")


def _options(solver: str, derivative: str | None, statistics_file: Path | None, chosen: Chosen) -> dict[str, object]:
    """Of make_plan; ValueError for an analytic solver without statistics, and for statistics of another."""
    analytic = solver.startswith("analytic_")
    if analytic and statistics_file is None:
        fix = "give --statistics, which `genie-samplers calibrate analytic` writes for a network"
        raise ValueError(f"--solver {solver}: knows no statistics of the network; {fix}")
    options: dict[str, object] = {} if derivative is None else {"derivative": derivative}
    if statistics_file is not None:
        if not analytic:
            raise ValueError(f"--statistics: of analytic_ddpm and analytic_ddim, not of {solver}; leave it out")
        options |= AnalyticStatistics.load(statistics_file).options(chosen.schedule)
    return options


@dataclass(frozen=True)
class _Page:
    """All samples in one picture."""

    path: Path
    chosen: Chosen

    @classmethod
    def checked(cls, path: Path, form: str | None, chosen: Chosen) -> _Page:
        """ValueError where it could not be written."""
        if form is not None:
            raise ValueError(f"--format {form}: --out {path} is one picture; leave it out, or give --out a folder")
        images.check_target(path)
        chosen.picture_shape(1)
        return cls(path, chosen)

    def write(self, batches: Batches, run: dict[str, Any], plan: Plan) -> None:
        x = torch.cat([batch.samples for batch in batches])
        columns, names = self.chosen.columns(len(x), batches.number)
        words = [f"{run['solver']}, {run['nfe']} evaluations, seed {run['seed']}"]
        words += [] if batches.number is None else [self.chosen.class_label(batches.number)]
        words += [] if run["guidance"] == "none" else [f"guidance {run['guidance']:g}"]
        page = images.captioned(images.to_pixels(x.numpy()), columns, ", ".join(words), names)
        images.save_png(page, self.path, {**run, "plan": plan.to_json()})


def _guided(chosen: Chosen, network: WrappedModel, plan: Plan, scale: float | None) -> tuple[Model, Plan]:
    """The model and the plan that run."""
    if scale is None:
        return with_derivatives(chosen.with_head(network), plan), plan
    null = chosen.null()
    if "gamma_d_epsilon" in plan.outputs:  # along the guided direction, which keeps the order
        pair = guidance.classifier_free(network, null=null)
        return genie.exact(pair, order=len(plan.outputs) - 1, scale=scale), plan
    return guidance.classifier_free(chosen.with_head(network), null=null), plan.guided(scale)


@torch.no_grad()
def _forward_seconds(model: WrappedModel, shape: tuple[int, ...]) -> float:
    """Of one plain evaluation of samples of this shape [B, ...], the fastest of three."""
    x, label = torch.zeros(shape, device=model.device), torch.zeros(shape[0], device=model.device)
    times = []
    for _ in range(3):
        watch = Stopwatch()
        Timed(model, watch)(x, label)
        times.append(watch.seconds)
    return min(times)


def _calibrated(
    chosen: Chosen, solver: str, nfe: int, scale: float | None
) -> tuple[WrappedModel | None, Plan | None]:  # fmt: skip
    """The network and the plan that was fitted to it, where it is asked for, or is there and nothing else is."""
    given = _given(*_DECIDE, "filter_file")
    if solver == CALIBRATED_NAME and given:
        raise click.UsageError(f"--{_option(given[0])} with --solver calibrated: the plan decides it; leave one out")
    if given or (solver != CALIBRATED_NAME and _given("solver")):
        return None, None
    network = chosen.load()
    if solver == CALIBRATED_NAME:
        return network, make_plan(solver, chosen.schedule, nfe, model=network)
    plan = network.calibrated.find(chosen.schedule, nfe, scale)
    if plan is not None:
        click.echo(f"a plan calibrated to this network for {nfe} evaluations; --solver auto takes one by its score")
    return network, plan


def _option(name: str) -> str:
    return name.removesuffix("_file").replace("_", "-")


def _given(*names: str) -> list[str]:
    """Those of the command's options that were given."""
    context = click.get_current_context()
    return [name for name in names if context.get_parameter_source(name) is not ParameterSource.DEFAULT]


def _check_plan_decides() -> None:
    for name in _given("solver", "nfe", *_DECIDE):
        raise click.UsageError(f"--{_option(name)} with --plan: the plan decides it; leave one of the two out")
