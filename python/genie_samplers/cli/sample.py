"""genie-samplers sample: images from the embedded network."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import torch
from click.core import ParameterSource
from torch import nn

from .. import demo, genie, models, schedules
from ..models import guidance
from ..plan import Plan
from ..run.sample import sample
from ..solvers.registry import make_plan
from . import images
from .network import with_derivatives
from .options import (
    FILE,
    IMAGE_SHAPE,
    backend_option,
    batch_size_option,
    check_run,
    class_number,
    denoise_option,
    derivative_option,
    device_option,
    grid_option,
    nfe_option,
    out_option,
    seed_option,
    solver_option,
)

__all__ = ["sample_command"]


@click.command("sample")
@solver_option
@nfe_option
@grid_option
@denoise_option
@derivative_option
@seed_option
@device_option
@backend_option
@click.option("--plan", "plan_file", type=FILE, help="A plan JSON to run instead.")
@click.option("--count", default=64, show_default=True, help="Number of images.")
@click.option("--class", "class_name", help="Class name or number 0..9; all classes in turn by default.")
@click.option("--guidance", "scale", type=float, help="Classifier-free guidance scale (1 is none).")
@batch_size_option
@out_option("samples.png")
def sample_command(
    solver: str, nfe: int, grid: str | None, denoise: bool | None, derivative: str | None, seed: int, device: str,
    backend: str | None, plan_file: Path | None, count: int, class_name: str | None, scale: float | None,
    batch_size: int, out: Path,
) -> None:  # fmt: skip
    """Images from the embedded Fashion-MNIST network, as one PNG."""
    if plan_file is not None:
        _check_plan_decides()
    check_run(count, device)
    images.check_target(out)
    if plan_file is None:
        options = None if derivative is None else {"derivative": derivative}
        plan = make_plan(solver, schedules.vp_linear(), nfe, grid=grid, denoise=denoise, options=options)
    else:
        plan = _load_plan(plan_file)
    headed = demo.embedded_with_head(device)
    network: Any = headed.model.network
    model, plan = _guided(headed, plan, scale)
    classes = torch.arange(count) % 10 if class_name is None else torch.full((count,), class_number(class_name))
    start = time.perf_counter()
    with _seconds_inside(network, headed.head) as seconds:
        x = sample(
            model, plan, shape=(count, *IMAGE_SHAPE), seed=seed, cond={"class_labels": classes},
            batch_size=batch_size, backend=backend,
        ).cpu()  # fmt: skip
    total = time.perf_counter() - start
    pixels = images.to_pixels(x.numpy())
    name = plan.recipe.solver if plan.recipe else str(plan_file)
    guided = "none" if scale is None else scale
    metadata = {"seed": seed, "solver": name, "nfe": plan.nfe, "guidance": guided, "plan": plan.to_json()}
    images.save_png(images.grid(pixels, columns=min(10, count)), out, metadata, zoom=2)
    click.echo(
        f"{out}: {count} images, {name}, {plan.nfe} evaluations, {total:.2f} s "
        f"(network {seconds[0]:.2f} s, sampler {1e3 * (total - seconds[0]):.1f} ms)"
    )
    if "gamma_d_epsilon" in plan.outputs:
        batches = -(-count // batch_size)
        forward = _forward_seconds(headed.model, batch_size) * (1 if scale is None else 2)
        click.echo(f"exact derivatives: the cost of {total / (batches * forward):.1f} forward passes")


def _guided(headed: genie.HeadedModel, plan: Plan, scale: float | None) -> tuple[Any, Plan]:
    """The model and the plan that run."""
    if scale is None:
        return with_derivatives(headed, plan), plan
    null = {"class_labels": demo.NULL_CLASS}
    if "gamma_d_epsilon" in plan.outputs:  # along the guided direction, which keeps the order
        pair = guidance.classifier_free(headed.model, null=null)
        return genie.exact(pair, order=len(plan.outputs) - 1, scale=scale), plan
    return guidance.classifier_free(headed, null=null), plan.guided(scale)


@torch.no_grad()
def _forward_seconds(model: models.WrappedModel, batch_size: int) -> float:
    """Of one plain evaluation, the fastest of three."""
    x, label = torch.zeros(batch_size, *IMAGE_SHAPE, device=model.device), torch.zeros(batch_size, device=model.device)
    times = []
    for _ in range(3):
        with _seconds_inside(model.network) as seconds:  # type: ignore[arg-type]
            model(x, label)
        times += seconds
    return min(times)


def _check_plan_decides() -> None:
    context = click.get_current_context()
    for name in ("solver", "nfe", "grid", "denoise", "derivative"):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} with --plan: the plan decides it; leave one of the two out")


@contextmanager
def _seconds_inside(*networks: nn.Module) -> Iterator[list[float]]:
    """The seconds spent inside ``networks``, in a list of one."""
    seconds, started = [0.0], [0.0]

    def now() -> float:
        if next(networks[0].parameters()).is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def begin(*_: object) -> None:
        started[0] = now()

    def end(*_: object) -> None:
        seconds[0] += now() - started[0]

    hooks = [hook for n in networks for hook in (n.register_forward_pre_hook(begin), n.register_forward_hook(end))]
    try:
        yield seconds
    finally:
        for hook in hooks:
            hook.remove()


def _load_plan(path: Path) -> Plan:
    try:
        return Plan.from_json(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"--plan {path}: not JSON ({error}); write one with `genie-samplers plan --json`") from error
