"""What spectral_filter does on a GPU, torch.fft at all sizes, with the host in its place.

Its values where gradients are recorded, which takes the same lines; and with tensors on "meta", where a step through
the CPU would fail. No GPU has run it; ``python -m benchmarks.run --only spectral_filter`` compares it there.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genie_ext import Noise, SpectralFilter, backends, sum_of_squares
from genie_samplers import tdas

from .spectral import F32, F64, expected, mirrored, rounding, scattered, white, zones

SIZES = [(8, 8), (9, 12), (17, 31), (32, 32), (64, 80), (128, 100), (256, 256), (1024, 8), (1024, 1024)]
by_transform = pytest.mark.parametrize("transform", ["dct", "dft"])
by_size = pytest.mark.parametrize("size", SIZES, ids=str)


def as_on_a_gpu(filter_: SpectralFilter, z: Tensor, **options: object) -> Tensor:
    """By the lines that a GPU runs."""
    assert filter_.method == "fft"
    return filter_(z.clone().requires_grad_(), **options).detach()  # type: ignore[arg-type]


@by_transform
@by_size
@pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
@pytest.mark.parametrize("shape", ["zones", "mirrored", "scattered"])
def test_the_device_path_is_the_formula(transform: str, size: tuple[int, int], dtype: torch.dtype, shape: str) -> None:
    pytest.importorskip("scipy")
    frequency = {"zones": zones(*size, transform), "mirrored": mirrored(*size), "scattered": scattered(*size)}[shape]
    space, z = scattered(2, *size), white(1, 2, *size, dtype=dtype)
    filter_ = SpectralFilter(frequency, space, transform=transform, dtype=dtype, method="fft")  # type: ignore[arg-type]
    difference = as_on_a_gpu(filter_, z).double() - expected(z, frequency, space, transform)
    bound = rounding(dtype, size, float(frequency.max())) * float((space * z).norm())
    assert float(difference.norm()) <= bound


@by_transform
@by_size
@pytest.mark.parametrize("shape", ["mirrored", "scattered"])
def test_the_device_path_has_the_adjoint(transform: str, size: tuple[int, int], shape: str) -> None:
    frequency = mirrored(*size) if shape == "mirrored" else scattered(*size)
    filter_ = SpectralFilter(frequency, scattered(*size), transform=transform, dtype=F64, method="fft")  # type: ignore[arg-type]
    z, w = white(1, 1, *size), white(1, 1, *size, seed=9)
    left, right = (as_on_a_gpu(filter_, z) * w).sum(), (z * as_on_a_gpu(filter_, w, adjoint=True)).sum()
    assert abs(float(left - right)) <= 2 * rounding(F64, size, 2.1) * 1.25 * float(z.norm() * w.norm())


@by_transform
@pytest.mark.parametrize("size", [(8, 8), (9, 12), (64, 80)], ids=str)
@pytest.mark.parametrize("shape", ["mirrored", "scattered"])
def test_the_device_path_without_the_forward_transform_is_the_hosts(
    transform: str, size: tuple[int, int], shape: str
) -> None:
    frequency = mirrored(*size) if shape == "mirrored" else scattered(*size)
    filter_ = SpectralFilter(frequency, transform=transform, dtype=F64, method="fft", skip_forward=True)  # type: ignore[arg-type]
    z = white(2, 3, *size)
    difference = as_on_a_gpu(filter_, z) - filter_(z)
    assert float(difference.norm()) <= rounding(F64, size, 2.1) * float(z.norm())


@by_transform
@pytest.mark.parametrize("index", [0, 1])
def test_the_device_path_takes_the_filter_of_a_bank(transform: str, index: int) -> None:
    bank = torch.stack([mirrored(9, 12), scattered(9, 12)])[:, None]
    filter_ = SpectralFilter(bank, transform=transform, dtype=F64, method="fft")  # type: ignore[arg-type]
    z = white(2, 3, 9, 12)
    found = as_on_a_gpu(filter_, z, index=index)
    torch.testing.assert_close(found, expected(z, bank[index], 1.0, transform), rtol=0.0, atol=1e-13)


@by_transform
@pytest.mark.parametrize("size", [(8, 8), (9, 12), (256, 200)], ids=str)
@pytest.mark.parametrize("skip_forward", [False, True])
def test_off_the_cpu_everything_lies_on_the_device(transform: str, size: tuple[int, int], skip_forward: bool) -> None:
    space = None if skip_forward else scattered(3, *size)
    filter_ = SpectralFilter(
        scattered(2, 1, *size), space, transform=transform, skip_forward=skip_forward, device="meta"  # type: ignore[arg-type]
    )  # fmt: skip
    assert filter_.method == "fft"
    z = torch.zeros(2, 3, *size, device="meta")
    noise = Noise(torch.zeros(1, dtype=torch.int64, device="meta"), torch.zeros(2, dtype=torch.int64, device="meta"))
    made = [filter_(z, index=1), filter_(z, out=z), filter_.fill(torch.empty_like(z), noise=noise)]
    made += [] if skip_forward else [filter_(z, adjoint=True)]
    assert {(x.shape, x.dtype, x.device.type) for x in made} == {(z.shape, F32, "meta")}


@pytest.mark.parametrize("adjoint", [False, True])
def test_filters_and_gains_of_a_run_work_off_the_cpu(adjoint: bool) -> None:
    spec = tdas.FilterSpec("dft", scattered(8, 9).numpy(), scattered(2, 8, 9).numpy())
    value, out = (torch.zeros(3, 2, 8, 9, device="meta") for _ in range(2))
    assert tdas.FilterOperator(spec, adjoint=adjoint)(value, 0, out) is None
    gains = tdas.NoiseGains("dct", scattered(4, 8, 9).numpy())
    assert tdas.FilterOperator(gains)(value, 3, out) is None


def test_norms_work_off_the_cpu() -> None:
    found = sum_of_squares(torch.zeros(3, 2, 8, 9, device="meta"))
    assert (found.shape, found.dtype, found.device.type) == ((3,), F64, "meta")


def test_it_is_said_which_kernels_there_are_not() -> None:
    found = backends()["spectral_filter"]
    assert "there is no CUDA kernel of it; the reference runs torch.fft on the GPU" in found["cuda"]
    assert "there is no Triton kernel of it" in found["triton"]
