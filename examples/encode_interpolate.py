"""Real images encoded, decoded, interpolated, started from and painted over: docs/images/encode_interpolate.png.

    python examples/encode_interpolate.py [--out picture.png] [--nfe 20]

Needs the embedded network (pip install "genie-ext[cli]") and the test images of Fashion-MNIST (``--data``).
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from torch import Tensor

import genie_samplers as gs
from genie_samplers.cli import images
from genie_samplers.demo import data
from genie_samplers.uses.reconstruct import decoding_plan

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = 8
PAIRS = ((0, 1), (2, 6))  # of the first test images: boot and pullover, trousers and coat


@click.command()
@click.option("--nfe", default=20, show_default=True, help="Evaluations each way.")
@click.option("--data", "root", default=str(data.DEFAULT_ROOT), show_default=True, help="Folder of the IDX files.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=ROOT / "docs" / "images" / "encode_interpolate.png"
)  # fmt: skip
def main(nfe: int, root: str, out: Path) -> None:
    """One row of the picture for each use of the ODE."""
    images.check_target(out)
    model, schedule = gs.demo.embedded(), gs.schedules.vp_linear()
    up = gs.make_plan("dpmpp_2m", schedule, nfe, direction="encode")
    down = decoding_plan(up)
    test = data.fashion_mnist("test", root)
    real = torch.from_numpy(test.images[:COLUMNS])

    latents = gs.encode(model, up, image=real, seed=0)
    back = gs.sample(model, down, state=latents)
    rows = {"test images": real, "encoded and decoded": back}
    for a, b in PAIRS:
        path = gs.interpolate(latents[a], latents[b], COLUMNS)
        rows[f"from image {a + 1} to image {b + 1}"] = gs.sample(model, down, state=path)
    rows["image 1 from start=0, .., last"] = image_to_image(model, down, nfe, real[0], int(test.labels[0]))
    rows["lower half painted anew"] = lower_half_anew(model, schedule, nfe, real)

    cells = [list(images.to_pixels(row.numpy())) for row in rows.values()]
    page = images.labelled_table(cells, list(rows), [""] * COLUMNS)
    images.save_png(page, out, {"nfe": nfe, "solver": "dpmpp_2m"})
    error = ((back - real) / 2).square().mean()
    click.echo(f"{out}: error of the way there and back {float(error):.2e} per dimension, images in [0, 1]")


def image_to_image(model: gs.models.WrappedModel, plan: gs.Plan, steps: int, image: Tensor, label: int) -> Tensor:
    """The image noised to ever later times of the grid: from all new to hardly changed."""
    starts = [round((steps - 1) * i / (COLUMNS - 1)) for i in range(COLUMNS)]
    cond = {"class_labels": torch.tensor([label])}
    return torch.cat([gs.sample(model, plan, state=image[None], start=k, cond=cond) for k in starts])


def lower_half_anew(model: gs.models.WrappedModel, schedule: gs.schedules.Schedule, nfe: int, real: Tensor) -> Tensor:
    plan = gs.make_plan("ddim", schedule, 2 * nfe, options={"eta": 1.0})
    mask = torch.zeros(28, 28, dtype=torch.bool)
    mask[14:] = True
    return gs.sample(model, plan, shape=tuple(real.shape), on_row=gs.inpaint(mask, real, plan))


if __name__ == "__main__":
    main()
