"""spectral_filter against the chains of library calls that it stands for, with the zones of a published filter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from genie_ext import FusedStepCall, Noise, SpectralFilter, prepare
from genie_ext.ops.spectral_filter.filters import Transform

from ..case import Benchmark, Case, Competitor, Settings, shape_text

__all__ = ["BENCHMARK", "radial"]

_THREADS = (1, 2)
_X, _NOISE = 0.9, 0.3  # of an update
_FACTORS = (0.892, 0.798)
_ZONES: dict[Transform, tuple[float, float]] = {"dct": (0.781, 0.862), "dft": (0.4, 0.455)}
_ROUNDINGS = 64  # by which two float32 transforms may differ, in units of the last place of the largest value


def radial(height: int, width: int, transform: Transform) -> Tensor:
    """float64 [H, W]: 1 up to a radius, then two factors below 1; the plane is wrapped for "dft"."""
    h, w = (torch.arange(n, dtype=torch.float64) / n for n in (height, width))
    if transform == "dft":
        h, w = torch.minimum(h, (1 - h) % 1), torch.minimum(w, (1 - w) % 1)
    radius = ((h[:, None] ** 2 + w[None, :] ** 2) / 2).sqrt()
    (near, far), (inner, outer) = _FACTORS, _ZONES[transform]
    return torch.where(radius <= inner, 1.0, torch.where(radius <= outer, near, far))


def _cases(settings: Settings) -> Iterator[Case]:
    threads = _THREADS if settings.device == "cpu" else (None,)
    for shape in settings.images:
        for n in threads:
            for transform in ("dct", "dft"):
                yield _filter_case(shape, transform, n, settings.device)
                yield _update_case(shape, transform, n, settings.device)


class _Setting:
    """The tensors of a case: z and x given, out and drawn to write to."""

    def __init__(self, shape: tuple[int, ...], transform: Transform, device: str) -> None:
        self.frequency = radial(shape[-2], shape[-1], transform)
        self.filter = SpectralFilter(self.frequency, transform=transform, device=device)
        self.r = self.frequency.float().to(device)
        self.z, self.x, self.out, self.drawn = (torch.randn(shape, device=device) for _ in range(4))
        self.noise = Noise(torch.tensor([5], device=device), torch.arange(shape[0], device=device))
        row = torch.tensor([_X, _NOISE, 1.0], device=device)
        self.noisy = prepare("fused_step", self._step(row, [self.drawn]))
        self.plain = prepare("fused_step", self._step(row[[0, 2]], []))

    def _step(self, row: Tensor, draws: list[int | Tensor]) -> FusedStepCall:
        return FusedStepCall(
            x=self.x, outputs=[], history=[], row=row, converted=0, aux=None, draws=draws, noise=None,
            out=self.out, aux_out=None, stored=(), x_in=None, nonfinite=None,
        )  # fmt: skip

    def filtered_update(self) -> Tensor:
        self.filter.fill(self.drawn, noise=self.noise, draw=3)
        self.noisy()
        return self.out


def _by_scipy(z: Tensor, r: Tensor, threads: int | None) -> Tensor:
    from scipy import fft

    options = {"axes": (-2, -1), "norm": "ortho", "workers": threads}
    return torch.from_numpy(fft.idctn(r.numpy() * fft.dctn(z.numpy(), **options), **options))


def _by_torch(z: Tensor, r: Tensor, threads: int | None) -> Tensor:
    return torch.fft.ifft2(r * torch.fft.fft2(z)).real


def _chain(transform: Transform, device: str) -> tuple[str, Callable[[Tensor, Tensor, int | None], Tensor]]:
    if transform == "dct" and device == "cpu":
        return "scipy dctn, idctn", _by_scipy
    return "torch fft2, ifft2, real", _by_torch


def _filter_case(shape: tuple[int, ...], transform: Transform, threads: int | None, device: str) -> Case:
    setting = _Setting(shape, transform, device)
    ours = partial(setting.filter, setting.z, setting.out)
    chains = dict([_chain(transform, device)])
    if device == "cpu":
        chains["scipy dctn, idctn"] = _by_scipy
    theirs = [Competitor(name, partial(chain, setting.z, setting.r, threads)) for name, chain in chains.items()]
    return Case(
        f"{shape_text(shape)} {transform}, filter",
        [Competitor(f"spectral_filter by {setting.filter.method}", ours), *theirs],
        partial(_filter_disagreement, setting, _chain(transform, device)[1], threads),
        bytes=2 * setting.z.numel() * setting.z.element_size(),
        threads=threads,
    )


def _update_case(shape: tuple[int, ...], transform: Transform, threads: int | None, device: str) -> Case:
    setting = _Setting(shape, transform, device)
    name, chain = _chain(transform, device)

    def theirs() -> Tensor:
        return _X * setting.x + _NOISE * chain(torch.randn(shape, device=device), setting.r, threads)

    def plain() -> Tensor:
        setting.plain()
        return torch.randn(shape, device=device)

    return Case(
        f"{shape_text(shape)} {transform}, update with filtered noise",
        [
            Competitor("fill, fused_step", setting.filtered_update),
            Competitor(f"randn, {name}, multiply, add", theirs),
            Competitor("step without noise, torch.randn", plain),
        ],
        partial(_update_disagreement, setting, chain, threads),
        threads=threads,
    )


def _filter_disagreement(
    setting: _Setting, chain: Callable[[Tensor, Tensor, int | None], Tensor], threads: int | None
) -> str | None:
    return _difference(setting.filter(setting.z), chain(setting.z, setting.r, threads))


def _update_disagreement(
    setting: _Setting, chain: Callable[[Tensor, Tensor, int | None], Tensor], threads: int | None
) -> str | None:
    """Of the same normals."""
    z = SpectralFilter(torch.ones_like(setting.frequency), device=setting.z.device)
    normals = z.fill(torch.empty_like(setting.z), noise=setting.noise, draw=3)
    return _difference(setting.filtered_update(), _X * setting.x + _NOISE * chain(normals, setting.r, threads))


def _difference(ours: Tensor, theirs: Tensor) -> str | None:
    unit = float(theirs.abs().max()) * torch.finfo(torch.float32).eps
    off = float((ours - theirs).abs().max()) / unit
    return None if off <= _ROUNDINGS else f"spectral_filter: {off:.0f} roundings off"


BENCHMARK = Benchmark(
    "spectral_filter",
    unit="batch",
    summary="filtering a batch of images, and an update with filtered noise, against chains of library calls",
    cases=_cases,
)
