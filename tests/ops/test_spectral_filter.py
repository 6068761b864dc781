"""spectral_filter: what it computes, by other libraries, in exact numbers and in bits."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from genie_ext import SpectralFilter, normal_fill, spectral_filter
from genie_ext.ops.spectral_filter import fft
from genie_ext.ops.spectral_filter.matrices import dct_matrix, hartley_matrix
from genie_ext.testing import SentinelView, assert_same_bits, poisoned_empty

from .spectral import BF16, F16, F32, F64, expected, mirrored, noise, rounding, scattered, white, zones

TRANSFORMS = ["dct", "dft"]
SIZES = [(8, 8), (17, 12), (32, 32), (30, 64), (100, 81), (256, 256)]
SHAPES = {"zones": zones, "everywhere": lambda h, w, transform: mirrored(h, w)}
by_transform = pytest.mark.parametrize("transform", TRANSFORMS)
by_size = pytest.mark.parametrize("size", SIZES, ids=str)
by_shape = pytest.mark.parametrize("shape", SHAPES)
by_method = pytest.mark.parametrize("method", ["products", "fft"])
by_dtype = pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])


@pytest.mark.parametrize("n", [4, 17, 256, 1024])
@pytest.mark.parametrize("matrix", [dct_matrix, hartley_matrix])
def test_transforms_are_orthogonal(matrix, n):
    u = matrix(n)
    assert float((u @ u.T - torch.eye(n, dtype=F64)).abs().max()) <= 1e-13


@pytest.mark.parametrize("n", [4, 17, 1024])
def test_rounded_to_float32_they_are_orthogonal_to_its_precision(n):
    u = dct_matrix(n).float().double()
    # n products, each of two entries off by half an ulp of at most sqrt(2 / n)
    bound = n * 2 * (2 / n) * torch.finfo(F32).eps / 2
    assert float((u @ u.T - torch.eye(n, dtype=F64)).abs().max()) <= bound


@pytest.mark.parametrize("n", [5, 64])
def test_the_hartley_transform_is_its_own_inverse(n):
    u = hartley_matrix(n)
    assert float((u @ u - torch.eye(n, dtype=F64)).abs().max()) <= 1e-14


@pytest.mark.parametrize("n", [8, 17, 256])
def test_the_dct_is_scipys(n):
    fft = pytest.importorskip("scipy.fft")
    theirs = torch.from_numpy(fft.dct(torch.eye(n, dtype=F64).numpy(), axis=0, norm="ortho"))
    assert float((dct_matrix(n) - theirs).abs().max()) <= 1e-14


@by_dtype
@by_shape
@by_size
@by_transform
def test_it_is_the_formula(transform, size, shape, dtype):
    pytest.importorskip("scipy")
    frequency, space, z = SHAPES[shape](*size, transform), scattered(3, *size), white(2, 3, *size, dtype=dtype)
    actual = SpectralFilter(frequency, space, transform=transform, dtype=dtype)(z)
    difference = actual.double() - expected(z, frequency, space, transform)
    bound = rounding(dtype, size, float(frequency.max())) * float((space * z).norm())
    assert float(difference.norm()) <= bound


@pytest.mark.parametrize("size", [(8, 8), (17, 12), (64, 80)], ids=str)
def test_without_symmetry_the_real_part_of_the_dft_is_meant(size):
    frequency, z = scattered(*size), white(2, 1, *size)
    difference = spectral_filter(z, frequency, transform="dft") - expected(z, frequency, 1.0, "dft")
    assert float(difference.norm()) <= rounding(F64, size, 1.25) * float(z.norm())


@by_transform
def test_every_channel_has_its_own_frequencies_and_space(transform):
    frequency, space, z = scattered(3, 12, 10), scattered(3, 12, 10, seed=4), white(2, 3, 12, 10)
    whole = spectral_filter(z, frequency, space, transform=transform)
    single = [spectral_filter(z[:, c], frequency[c], space[c], transform=transform) for c in range(3)]
    assert_same_bits(whole, torch.stack(single, 1))


@by_shape
@by_transform
@pytest.mark.parametrize("dtype", [F32, F64, F16, BF16], ids=["f32", "f64", "f16", "bf16"])
@pytest.mark.parametrize("adjoint", [False, True], ids=["forward", "adjoint"])
def test_the_cpu_has_the_bits_of_the_reference(shape, transform, dtype, adjoint):
    size = (13, 22)
    frequency, space = SHAPES[shape](*size, transform), scattered(2, *size)
    z = SentinelView(3, 2, *size, dtype=dtype, gap=5).tensor.copy_(white(3, 2, *size))
    out = SentinelView(3, 2, *size, dtype=dtype, gap=3)
    given = {"transform": transform, "adjoint": adjoint}
    spectral_filter(z, frequency, space, **given, out=out.tensor)
    assert_same_bits(out.tensor, spectral_filter(z, frequency, space, **given, backend="reference"))
    assert out.intact()


@by_shape
@by_transform
@pytest.mark.parametrize("size", [(8, 8), (13, 22), (64, 61), (200, 130)], ids=str)
@pytest.mark.parametrize("dtype", [F32, F64, F16, BF16], ids=["f32", "f64", "f16", "bf16"])
def test_drawing_is_filtering_normals(shape, transform, size, dtype):
    compute = F64 if dtype == F64 else F32
    filter_ = SpectralFilter(SHAPES[shape](*size, transform), scattered(3, *size), transform=transform, dtype=compute)
    z = normal_fill(torch.empty(2, 3, *size, dtype=compute), noise=noise(2), draw=4)
    drawn = filter_.fill(poisoned_empty(2, 3, *size, dtype=dtype), noise=noise(2), draw=4)
    assert_same_bits(drawn, filter_(z).to(dtype))


@by_transform
def test_draws_of_the_reference_are_the_same(transform):
    frequency = zones(13, 11, transform)
    drawn, expected_draw = (
        SpectralFilter(frequency, transform=transform, backend=backend).fill(torch.empty(2, 3, 13, 11), noise=noise(2))
        for backend in ("auto", "reference")
    )
    assert_same_bits(drawn, expected_draw)


@pytest.mark.parametrize("size", [(32, 32), (200, 130)], ids=["products", "fft"])
@by_transform
def test_it_may_write_over_its_input(transform, size):
    z, filter_ = white(2, 3, *size, dtype=F32), SpectralFilter(mirrored(*size), transform=transform)
    separate = filter_(z)
    assert filter_(z, out=z) is z
    assert_same_bits(z, separate)


@by_transform
@pytest.mark.parametrize("dtype", [F32, F16], ids=["f32", "f16"])
@pytest.mark.parametrize("size", [(8, 8), (256, 200)], ids=str)
def test_the_identity_gives_back_every_bit(transform, size, dtype):
    z = white(2, 1, *size, dtype=dtype)
    z[0, 0, 0, :4] = torch.tensor([-0.0, float("inf"), float("nan"), 1e-41])
    filter_ = SpectralFilter(torch.ones(size), torch.ones(size), transform=transform)
    assert filter_.is_identity()
    assert_same_bits(filter_(z), z)
    assert_same_bits(filter_(z, adjoint=True), z)


@by_transform
def test_a_constant_space_multiplies_exactly(transform):
    z = white(2, 3, 16, 16, dtype=F32)
    assert_same_bits(spectral_filter(z, torch.ones(16, 16), torch.full((16, 16), 0.7), transform=transform), 0.7 * z)


@by_transform
def test_a_filter_near_the_identity_is_near_it(transform):
    z, frequency = white(2, 3, 32, 32, dtype=F32), zones(32, 32, transform) ** 1e-3
    change = spectral_filter(z, frequency, transform=transform) - z
    largest = float((1 - frequency).abs().max())
    # |R - 1| |z|, and the rounding of what is added to z: of a change that small and of the sum
    bound = largest * (1 + rounding(F32, (32, 32), 1)) + torch.finfo(F32).eps
    assert 0 < float(change.norm()) <= bound * float(z.norm())


@by_transform
@pytest.mark.parametrize("size", [(17, 12), (200, 130)], ids=["products", "fft"])
@pytest.mark.parametrize("kind", ["mirrored", "scattered"])
def test_the_adjoint_moves_to_the_other_side_of_a_product(transform, size, kind):
    frequency = mirrored(*size) if kind == "mirrored" else scattered(*size)
    filter_ = SpectralFilter(frequency, scattered(3, *size, seed=6), transform=transform, dtype=F64)
    z, w = white(2, 3, *size), white(2, 3, *size, seed=8)
    left, right = (filter_(z) * w).sum(), (z * filter_(w, adjoint=True)).sum()
    scale = 1.25 * float(z.norm() * w.norm())  # A is at most 1.25
    # each side is off by its filter's error and by the rounding of its own sum of numel products
    bound = 2 * (rounding(F64, size, float(frequency.max())) + z.numel() * torch.finfo(F64).eps) * scale
    assert float((left - right).abs()) <= bound


def dense(filter_: SpectralFilter, size: tuple[int, int]) -> torch.Tensor:
    """The matrix B: column k is what becomes of unit vector k."""
    count = size[0] * size[1]
    return filter_(torch.eye(count, dtype=F64).view(count, *size)).view(count, count).T


def plane_matrix(transform: str, size: tuple[int, int]) -> torch.Tensor:
    matrix = dct_matrix if transform == "dct" else hartley_matrix
    return torch.kron(matrix(size[0]), matrix(size[1]))


COVARIANCES = [(4, 4), (8, 6), (5, 7)]
by_covariance = pytest.mark.parametrize("size", COVARIANCES, ids=str)


@by_covariance
@by_transform
def test_the_covariance_of_filtered_noise_is_that_of_the_formula(transform, size):
    frequency, space = mirrored(*size), scattered(*size)
    b = dense(SpectralFilter(frequency, space, transform=transform, dtype=F64), size)
    t, r, a = plane_matrix(transform, size), frequency.flatten().diag(), space.flatten().diag()
    if transform == "dft":
        r = frequency.flatten().diag()
    covariance = t.T @ r @ t @ a @ a @ t.T @ r @ t
    assert float((b @ b.T - covariance).abs().max()) <= 1e-13
    energy = (space.flatten() ** 2 * (t.T @ r @ r @ t).diag()).sum()
    assert float((b.square().sum() - energy).abs()) <= 1e-12


@by_covariance
@by_transform
def test_each_coefficient_of_filtered_noise_has_the_variance_of_its_frequency(transform, size):
    frequency = mirrored(*size)
    plane = plane_matrix(transform, size) @ dense(SpectralFilter(frequency, transform=transform, dtype=F64), size)
    assert float((plane @ plane.T - frequency.flatten().square().diag()).abs().max()) <= 1e-13


@by_transform
def test_the_power_of_drawn_coefficients_follows_chi_squared(transform):
    """Of a fixed seed: the sum of 64 * 500 squares, each over its R^2, is within five deviations of their number."""
    frequency = mirrored(8, 8)
    made = SpectralFilter(frequency, transform=transform).fill(torch.empty(500, 1, 8, 8), noise=noise(500))
    plane = plane_matrix(transform, (8, 8)) @ made.double().reshape(500, -1).T
    squares = (plane / frequency.reshape(-1, 1)).square()
    n = squares.numel()
    assert abs(float(squares.sum()) - n) <= 5 * (2 * n) ** 0.5
    assert float((squares.sum(1) - 500).abs().max()) <= 6 * (2 * 500) ** 0.5  # of each of 64 frequencies


@by_transform
@pytest.mark.parametrize("skip_forward", [False, True])
@pytest.mark.parametrize("n", [8, 31, 64, 256, 1024])
def test_a_transform_and_its_inverse_give_back_the_image(transform, n, skip_forward):
    """Half of it, since ones would not be transformed; one transform alone keeps its length (Parseval)."""
    z = white(1, 1, n, n, dtype=F32)
    filter_ = SpectralFilter(torch.full((n, n), 0.5), transform=transform, skip_forward=skip_forward)
    made = filter_(z)
    if not skip_forward:
        assert float((2 * made - z).abs().max()) <= 5e-6
    assert float(2 * made.double().norm() / z.double().norm()) == pytest.approx(1.0, abs=rounding(F32, (n, n), 0.5))


@by_transform
@pytest.mark.parametrize("size", [(1024, 1024), (1000, 700), (8, 1024)], ids=str)
def test_the_largest_images_are_filtered_as_the_formula_says(transform, size):
    pytest.importorskip("scipy")
    frequency, z = zones(size[0], size[1], transform), white(1, 1, *size, dtype=F32)
    difference = SpectralFilter(frequency, transform=transform)(z).double() - expected(z, frequency, 1.0, transform)
    assert float(difference.norm()) <= rounding(F32, size, 1.0) * float(z.double().norm())


@by_transform
@pytest.mark.parametrize("kind", ["mirrored", "scattered"])
@by_covariance
def test_without_the_forward_transform_the_law_is_the_same(transform, size, kind):
    frequency = mirrored(*size) if kind == "mirrored" else scattered(*size)
    space = torch.full(size, 0.8)
    full, short = (
        dense(SpectralFilter(frequency, space, transform=transform, dtype=F64, skip_forward=skip), size)
        for skip in (False, True)
    )
    assert float((full @ full.T - short @ short.T).abs().max()) <= 1e-13
    assert float((full - short).abs().max()) > 0.1  # another image of the same noise


@by_transform
def test_without_the_forward_transform_products_and_fft_are_one_filter(transform):
    size, given = (12, 10), {"transform": transform, "dtype": F64, "skip_forward": True}
    products, library = (SpectralFilter(mirrored(*size), method=m, **given) for m in ("products", "fft"))
    z = white(2, 3, *size)
    difference = products(z) - library(z)
    assert float(difference.norm()) <= rounding(F64, size, 2.1) * float(z.norm())


@by_transform
def test_white_noise_knows_no_order_of_pixels_and_filtered_noise_does(transform):
    size = (6, 6)
    order = torch.randperm(36, generator=torch.Generator().manual_seed(3))
    covariance = torch.eye(36, dtype=F64)
    assert torch.equal(covariance[order][:, order], covariance)
    b = dense(SpectralFilter(mirrored(*size), transform=transform, dtype=F64), size)
    covariance = b @ b.T
    assert float((covariance[order][:, order] - covariance).abs().max()) > 0.01


@by_transform
@pytest.mark.parametrize("shape, method", [("zones", "products"), ("everywhere", "products"), ("everywhere", "fft")])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [(32, 32), (64, 61), (200, 130)], ids=str)
@pytest.mark.parametrize("batch", [1, 2, 3, 7])
@pytest.mark.each_value("transform", "shape", "method", "size")
def test_an_image_has_the_same_bits_in_any_batch_and_with_any_threads(transform, shape, method, size, batch, threads):
    frequency = SHAPES[shape](*size, transform)
    filter_ = SpectralFilter(frequency, scattered(3, *size), transform=transform, method=method)
    z, before = white(12, 3, *size, dtype=F32), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        together = filter_(z)
        torch.set_num_threads(threads)
        assert_same_bits(filter_(z), together)
        assert_same_bits(filter_(z[:batch]), together[:batch])
        assert_same_bits(filter_(z[12 - batch :].clone()), together[12 - batch :])
    finally:
        torch.set_num_threads(before)


@by_method
@by_transform
def test_the_last_of_sixty_four_images_is_that_image_alone(transform, method):
    filter_ = SpectralFilter(mirrored(72, 72), transform=transform, method=method)
    z = white(64, 3, 72, 72, dtype=F32)
    assert_same_bits(filter_(z[63:]), filter_(z)[63:])


@pytest.mark.parametrize("index", [0, 1, 2])
@by_transform
def test_a_bank_holds_its_filters_one_by_one(transform, index):
    bank = torch.stack([zones(16, 16, transform), torch.ones(16, 16, dtype=F64), zones(16, 16, transform) ** 2])
    filter_, z = SpectralFilter(bank[:, None], transform=transform), white(2, 3, 16, 16, dtype=F32)
    assert len(filter_) == 3
    assert [filter_.is_identity(i) for i in range(3)] == [False, True, False]
    assert_same_bits(filter_(z, index=index), spectral_filter(z, bank[index], transform=transform))


@pytest.mark.parametrize("method", ["products", "fft"])
@by_transform
def test_a_gain_of_zero_in_a_bank_leaves_nothing_of_its_frequency(transform, method):
    """By products of a residual, of products and by FFT: what is left is rounding."""
    bank = torch.stack([zones(16, 16, transform), torch.ones(16, 16, dtype=F64)])[:, None]
    bank[0][bank[0] < 0.8] = 0.0
    z = white(2, 1, 16, 16)
    out = SpectralFilter(bank, transform=transform, dtype=F64, method=method)(z)
    torch.testing.assert_close(out, expected(z, bank[0], 1.0, transform), rtol=0.0, atol=1e-13)


@by_transform
def test_without_scipy_numpy_transforms(transform, monkeypatch):
    size, space, z = (71, 130), scattered(71, 130), white(2, 3, 71, 130)
    filter_ = SpectralFilter(mirrored(*size), space, transform=transform, dtype=F64, method="fft")
    with_scipy = filter_(z)
    monkeypatch.setattr(fft, "_scipy_fft", lambda: None)
    difference = filter_(z) - with_scipy
    assert float(difference.norm()) <= rounding(F64, size, 2.1) * float((space * z).norm())


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_a_filter_may_be_copied(copied):
    filter_, z = SpectralFilter(zones(16, 16, "dct"), scattered(16, 16)), white(2, 3, 16, 16, dtype=F32)
    assert_same_bits(copied(filter_)(z), filter_(z))


def test_a_filter_keeps_its_own_numbers():
    frequency, z = zones(16, 16, "dct").float(), white(2, 3, 16, 16, dtype=F32)
    filter_ = SpectralFilter(frequency)
    before = filter_(z)
    frequency.fill_(2.0)
    assert_same_bits(filter_(z), before)


@pytest.mark.parametrize("size", [(16, 16), (200, 130)], ids=["products", "fft"])
def test_threads_may_share_a_filter(size):
    filter_, z = SpectralFilter(mirrored(*size)), white(8, 3, *size, dtype=F32)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(filter_, z.split(2)))
    assert_same_bits(torch.cat(parts), filter_(z))


@by_transform
@pytest.mark.parametrize("size", [(6, 5), (200, 130)], ids=["products", "fft"])
def test_the_gradient_is_the_adjoint(transform, size):
    filter_ = SpectralFilter(mirrored(*size), scattered(*size), transform=transform, dtype=F64)
    z, w = white(2, 1, *size).requires_grad_(), white(2, 1, *size, seed=9)
    (gradient,) = torch.autograd.grad((filter_(z) * w).sum(), z)
    difference = gradient - filter_(w, adjoint=True)
    assert float(difference.norm()) <= 2 * rounding(F64, size, 2.1) * 1.25 * float(w.norm())


@by_method
def test_a_method_may_be_chosen(method):
    assert SpectralFilter(mirrored(20, 20), method=method).method == method


def test_the_methods_are_those_of_the_table():
    small, large = (SpectralFilter(zones(n, n, "dct")).method for n in (32, 512))
    assert (small, large) == ("products", "fft")
    assert "32 x 32, dct, by products" in repr(SpectralFilter(zones(32, 32, "dct")))
