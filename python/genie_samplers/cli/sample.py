"""genie-samplers sample: images from the embedded network, or from one of the user's."""

from __future__ import annotations

import time
from pathlib import Path

import click
import torch
from click.core import ParameterSource

from .. import genie
from ..models import Model, WrappedModel, guidance
from ..plan import Plan
from ..run.sample import sample
from ..solvers.make import make_plan
from . import images
from .files import read_plan
from .network import Chosen, Network, network_options, with_derivatives
from .options import (
    FILE,
    Real,
    backend_option,
    batch_size_option,
    check_device,
    clip_option,
    count_option,
    denoise_option,
    derivative_option,
    grid_option,
    nfe_option,
    out_option,
    seed_option,
    solver_option,
)
from .timing import Stopwatch, Timed

__all__ = ["sample_command"]


@click.command("sample")
@network_options
@solver_option
@nfe_option
@grid_option
@denoise_option
@clip_option
@derivative_option
@seed_option
@backend_option
@click.option("--plan", "plan_file", type=FILE, help="A plan JSON to run instead.")
@count_option(64, "Number of images.")
@click.option("--class", "class_name", help="Class name or number 0..9; all classes in turn by default.")
@click.option("--guidance", "scale", type=Real(), help="Classifier-free guidance scale (1 is none).")
@batch_size_option
@out_option("samples.png")
def sample_command(
    chosen: Chosen, solver: str, nfe: int, grid: str | None, denoise: bool | None, clip: float | None,
    derivative: str | None, seed: int, backend: str | None, plan_file: Path | None, count: int, class_name: str | None,
    scale: float | None, batch_size: int, out: Path,
) -> None:  # fmt: skip
    """Images from the embedded Fashion-MNIST network, or from another, as one PNG."""
    if plan_file is not None:
        _check_plan_decides()
    check_device(chosen.device)
    images.check_target(out)
    number = None if class_name is None else chosen.class_number(class_name)
    if plan_file is None:
        plan = make_plan(
            solver, chosen.schedule, nfe, grid=grid, prediction=chosen.prediction, denoise=denoise,
            options=None if derivative is None else {"derivative": derivative}, clip=clip,
        )  # fmt: skip
    else:
        plan = read_plan(plan_file)
    network = chosen.load()
    model, plan = _guided(network, plan, scale)
    shape, cond, watch = network.picture_shape(count), network.cond(count, number), Stopwatch()
    start = time.perf_counter()
    timed = Timed(model, watch)
    x = sample(timed, plan, shape=shape, seed=seed, cond=cond, batch_size=batch_size, backend=backend).cpu()
    total = time.perf_counter() - start
    pixels = images.to_pixels(x.numpy())
    name = plan.recipe.solver if plan.recipe else str(plan_file)
    guided = "none" if scale is None else scale
    metadata = {"seed": seed, "solver": name, "nfe": plan.nfe, "guidance": guided, "plan": plan.to_json()}
    images.save_png(images.grid(pixels, columns=min(10, count)), out, metadata, zoom=2)
    click.echo(
        f"{out}: {count} images, {name}, {plan.nfe} evaluations, {total:.2f} s "
        f"(network {watch.seconds:.2f} s, sampler {1e3 * (total - watch.seconds):.1f} ms)"
    )
    if "gamma_d_epsilon" in plan.outputs:
        batches = -(-count // batch_size)
        forward = _forward_seconds(network.model, network.shape(batch_size)) * (1 if scale is None else 2)
        click.echo(f"exact derivatives: the cost of {total / (batches * forward):.1f} forward passes")


def _guided(network: Network, plan: Plan, scale: float | None) -> tuple[Model, Plan]:
    """The model and the plan that run."""
    if scale is None:
        return with_derivatives(network.with_head(), plan), plan
    null = network.null()
    if "gamma_d_epsilon" in plan.outputs:  # along the guided direction, which keeps the order
        pair = guidance.classifier_free(network.model, null=null)
        return genie.exact(pair, order=len(plan.outputs) - 1, scale=scale), plan
    return guidance.classifier_free(network.with_head(), null=null), plan.guided(scale)


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


def _check_plan_decides() -> None:
    context = click.get_current_context()
    for name in ("solver", "nfe", "grid", "denoise", "clip", "derivative"):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} with --plan: the plan decides it; leave one of the two out")
