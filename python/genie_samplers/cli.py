"""Command line: genie-samplers sample | compare | plan | backends | train."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

import genie_ext

from . import data, grids, guidance, images, models, schedules
from .compare import Cell, compare
from .engine import sample
from .plan import Plan
from .registry import SOLVERS, make_plan

DEFAULT_SOLVER = "deis_tab2"
DEFAULT_NFE = 10
COMPARED = ("ddim", "deis_tab1", "deis_tab2", "deis_tab3", "dpmpp_2m", "edm_heun")
_SHAPE = (1, 28, 28)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Group(click.Group):
    """Bad input ends with its message instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click's own ends, two of which are RuntimeErrors
        except (ValueError, TypeError, ImportError, OSError, RuntimeError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
@click.version_option(genie_ext.__version__, prog_name="genie-samplers")
def main() -> None:
    """Sample from diffusion models in 5-20 network evaluations."""


_solver = click.option("--solver", default=DEFAULT_SOLVER, show_default=True, help="A name that `plan --list` prints.")
_nfe = click.option("--nfe", default=DEFAULT_NFE, show_default=True, help="Network evaluations per sample.")
_grid = click.option("--grid", type=click.Choice(list(grids.GRIDS)), help="Time grid; the solver's own by default.")
_seed = click.option("--seed", default=0, show_default=True)
_device = click.option("--device", default="cpu", show_default=True)
_backend = click.option("--backend", help="reference, cpu, cuda or triton; the best one by default.")


@main.command("sample")
@_solver
@_nfe
@_grid
@_seed
@_device
@_backend
@click.option("--plan", "plan_file", type=_FILE, help="A plan JSON to run instead.")
@click.option("--count", default=64, show_default=True, help="Number of images.")
@click.option("--class", "class_name", help="Class name or number 0..9; all classes in turn by default.")
@click.option("--guidance", "scale", type=float, help="Classifier-free guidance scale (1 is none).")
@click.option(
    "--batch-size", default=16, show_default=True,
    help="Images per network call, the last call padded to it: an image has the same bits for any --count.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=Path("samples.png"), show_default=True)
def sample_command(
    solver: str, nfe: int, grid: str | None, seed: int, device: str, backend: str | None, plan_file: Path | None,
    count: int, class_name: str | None, scale: float | None, batch_size: int, out: Path,
) -> None:  # fmt: skip
    """Images from the embedded Fashion-MNIST network, as one PNG."""
    _check_run(count, device)
    images.check_target(out)
    plan = _load_plan(plan_file) if plan_file else make_plan(solver, schedules.vp_linear(), nfe, grid=grid)
    network = models.embedded(device)
    model: Any = network
    if scale is not None:
        model, plan = guidance.classifier_free(network, null={"class_labels": models.NULL_CLASS}), plan.guided(scale)
    classes = torch.arange(count) % 10 if class_name is None else torch.full((count,), _class_number(class_name))
    start = time.perf_counter()
    with _network_seconds(network.network) as seconds:
        x = sample(
            model, plan, shape=(count, *_SHAPE), seed=seed, cond={"class_labels": classes},
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


@main.command("compare")
@click.option("--solvers", default=",".join(COMPARED), show_default=True, help="Comma-separated names.")
@click.option("--nfe", "nfes", default="5,8,10,15,20", show_default=True, help="Comma-separated evaluations.")
@_grid
@_seed
@_device
@click.option("--count", default=20, show_default=True, help="Latents; the first 4 are shown in each cell.")
@click.option("--fine", default=200, show_default=True, help="Steps of the fine solution.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("compare.png"), show_default=True)
def compare_command(
    solvers: str, nfes: str, grid: str | None, seed: int, device: str, count: int, fine: int, out: Path
) -> None:
    """Solvers (rows) against evaluations (columns) from the same latents: PNG, and RMSE to a fine solution as CSV."""
    names, numbers = _split("--solvers", solvers), _integers("--nfe", nfes)
    _check_run(count, device)
    table = out.with_suffix(".csv")
    images.check_target(out)
    images.check_target(table, suffix=".csv")
    result = compare(
        models.embedded(device), schedules.vp_linear(), names, numbers, shape=(count, *_SHAPE), seed=seed,
        cond={"class_labels": torch.arange(count) % 10}, grid=grid, fine_steps=fine, on_cell=_print_cell,
    )  # fmt: skip
    for (name, nfe), reason in result.skipped.items():
        click.echo(f"{name:12s} nfe {nfe:3d}  skipped: {reason}")
    fine_cell = _tile(result.fine)
    cells = [
        [*(None if (c := result.cell(name, nfe)) is None else _tile(c.samples) for nfe in numbers), fine_cell]
        for name in names
    ]
    page = images.labelled_table(cells, names, [*(f"{n} evaluations" for n in numbers), f"fine ({fine})"])
    images.save_png(page, out, {"seed": seed, "solvers": solvers, "nfe": nfes, "fine": fine})
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows(
            [("solver", "nfe", "rmse"), *((c.solver, c.nfe, f"{c.rmse:.6f}") for c in result.cells)]
        )
    click.echo(f"{out} and {table}: RMSE to {fine} steps over {count} latents")


@main.command("plan")
@_solver
@_nfe
@_grid
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--list", "as_list", is_flag=True, help="List the registered solvers.")
def plan_command(solver: str, nfe: int, grid: str | None, as_json: bool, as_list: bool) -> None:
    """Print a solver's table on the VP-linear schedule."""
    if as_list:
        for entry in SOLVERS.values():
            click.echo(f"{entry.name:12s} order {entry.order}  {entry.summary}")
        return
    plan = make_plan(solver, schedules.vp_linear(), nfe, grid=grid)
    click.echo(plan.to_json(indent=1) if as_json else str(plan))


@main.command("backends")
def backends_command() -> None:
    """Which backend of each op runs here, and why not the others."""
    for op, states in genie_ext.backends().items():
        for name, state in states.items():
            click.echo(f"{op:12s} {name:10s} {state}")


@main.command("train")
@click.option("--data", "root", default=str(data.DEFAULT_ROOT), show_default=True, help="Folder of the IDX files.")
@click.option("--run", "folder", type=click.Path(path_type=Path), required=True, help="Checkpoint and loss curve.")
@click.option("--steps", default=8000, show_default=True)
@click.option("--batch-size", default=128, show_default=True)
@click.option("--learning-rate", default=6e-4, show_default=True)
@_seed
@_device
@click.option("--export", "export_to", type=click.Path(path_type=Path), help="Write the averaged fp16 weights here.")
def train_command(
    root: str, folder: Path, steps: int, batch_size: int, learning_rate: float, seed: int, device: str,
    export_to: Path | None,
) -> None:  # fmt: skip
    """Train the embedded network on Fashion-MNIST; stops and resumes at any time."""
    from . import train

    options = train.TrainingOptions(steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    _check_device(device)
    if export_to is not None:
        export_to.mkdir(parents=True, exist_ok=True)  # rather fail now than after hours
    trainer = train.Trainer(folder, data.fashion_mnist(root=root), schedules.vp_linear(), options, device)
    trainer.run()
    if export_to is not None:
        train.export(trainer, export_to)
        click.echo(f"{export_to}: averaged weights after {trainer.step} steps")


@contextmanager
def _network_seconds(network: Any) -> Iterator[list[float]]:
    """The seconds spent inside ``network``, in a list of one."""
    seconds, started = [0.0], [0.0]

    def now() -> float:
        if next(network.parameters()).is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def begin(*_: object) -> None:
        started[0] = now()

    def end(*_: object) -> None:
        seconds[0] += now() - started[0]

    hooks = (network.register_forward_pre_hook(begin), network.register_forward_hook(end))
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


def _class_number(name: str) -> int:
    if name.isdigit() and int(name) < len(data.CLASS_NAMES):
        return int(name)
    lowered = [n.lower() for n in data.CLASS_NAMES]
    if name.lower() not in lowered:
        raise ValueError(f"--class {name!r}; choose 0..9 or one of {', '.join(data.CLASS_NAMES)}")
    return lowered.index(name.lower())


def _check_run(count: int, device: str) -> None:
    if count < 1:
        raise ValueError(f"--count {count}; need at least 1 image")
    _check_device(device)


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {device}: {reason}; choose one that torch has here, such as cpu") from error


def _split(option: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError(f"{option} {text!r}; give one or more, separated by commas")
    return parts


def _integers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in _split(option, text)]
    except ValueError as error:
        raise ValueError(f"{option} {text!r}; give integers separated by commas, for example 5,10") from error


def _tile(samples: torch.Tensor) -> np.ndarray:
    return images.grid(images.to_pixels(samples[:4].cpu().numpy()), columns=2)


def _print_cell(cell: Cell) -> None:
    click.echo(f"{cell.solver:12s} nfe {cell.nfe:3d}  rmse {cell.rmse:.4f}")
