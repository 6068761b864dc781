"""Noise filters as numbers: radii, zones, the published tables, the space filter and what a filter leaves of noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import fft

from genie_samplers import tdas

CASES = {"dft": (32, 0.400, 0.455), "dct": (256, 0.781, 0.862)}
every_transform = pytest.mark.parametrize("transform", ["dct", "dft"])
RNG = np.random.default_rng(5)


def zones(transform: str) -> np.ndarray:
    n, r1, r2 = CASES[transform]
    return tdas.radial_filter((n, n), transform=transform, lambda1=2.0, lambda2=3.0, r1=r1, r2=r2)


@pytest.mark.parametrize(("transform", "counts"), [("dft", (935, 72, 17)), ("dct", (58602, 4367, 2567))])
def test_zones_have_the_published_shares(transform: str, counts: tuple[int, int, int]) -> None:
    assert tuple(int((zones(transform) == value).sum()) for value in (1.0, 2.0, 3.0)) == counts


def test_zones_are_circles_of_integer_frequencies() -> None:
    w, h = np.meshgrid(np.arange(256), np.arange(256))
    squares = w**2 + h**2
    expected = np.where(squares <= 2 * (0.781 * 256) ** 2, 1.0, np.where(squares <= 2 * (0.862 * 256) ** 2, 2.0, 3.0))
    assert np.array_equal(zones("dct"), expected)


@every_transform
def test_zones_are_the_same_in_both_axes(transform: str) -> None:
    assert np.array_equal(zones(transform), zones(transform).T)


@every_transform
def test_brightness_is_left_as_it_is(transform: str) -> None:
    assert zones(transform)[0, 0] == 1.0


def test_the_wrap_around_filter_treats_a_frequency_and_its_mirror_alike() -> None:
    filtered = zones("dft")
    assert np.array_equal(filtered[1:], filtered[:0:-1])


def test_radius_ends_at_the_nyquist_corner() -> None:
    rho = tdas.radius((32, 20), transform="dft")
    assert rho[16, 10] == rho.max() == 0.5


def test_radius_is_relative_to_either_side() -> None:
    rho = tdas.radius((10, 20))
    assert rho.shape == (10, 20)
    assert rho[5, 0] == rho[0, 10] == np.sqrt(0.125)


def test_two_zones_are_three_with_one_radius() -> None:
    two = tdas.radial_filter((9, 9), lambda1=0.5, r1=0.6)
    assert np.array_equal(two, tdas.radial_filter((9, 9), lambda1=0.5, r1=0.6, lambda2=0.5, r2=0.8))


# --- the published tables: the energy of the noise that is left, arXiv 2206.04029 (specification 1.6)


@pytest.mark.parametrize(
    ("name", "iterations", "transform", "energy"),
    [
        ("cifar10", 100, "dft", 0.990),
        ("cifar10", 50, "dft", 0.980),
        ("celeba", 132, "dft", 0.976),
        ("lsun_church", 400, "dft", 0.985),
        ("lsun_church", 400, "dct", 0.928),
        ("ffhq", 100, "dft", 0.990),
        ("celeba_analytic_ddim", 10, "dft", 1.71),
        ("celeba_analytic_ddim", 200, "dft", 1.010),
    ],
)
def test_published_filters_leave_the_published_energy(
    name: str, iterations: int, transform: str, energy: float
) -> None:
    found = tdas.published(name, iterations=iterations, transform=transform)
    digits = 2 if energy > 1.5 else 3
    assert round(found.noise_energy, digits) == energy


def test_a_published_filter_of_another_size_has_the_same_zones() -> None:
    small = tdas.published("lsun_church", iterations=400, transform="dct", size=(64, 48))
    assert small.size == (64, 48)
    assert set(np.unique(small.frequency)) == {1.0, 0.591, 0.511}


# --- the space filter


def test_the_space_filter_is_the_soft_log_of_the_mean() -> None:
    images = np.zeros((2, 1, 1, 3))
    images[:, 0, 0] = [[0.0, 0.2, 1.0], [0.0, 0.4, 1.0]]
    expected = (np.log1p([0.0, 0.3, 1.0]) / np.log(2.0) + 3.0) / 4.0
    assert np.allclose(tdas.space_filter(images, alpha=4.0)[0, 0], expected, rtol=1e-15)


# --- what a filter does


def spec(transform: str, space: Any = None) -> tdas.FilterSpec:
    return tdas.FilterSpec(transform, tdas.radial_filter((6, 5), transform=transform, lambda1=0.5, r1=0.3), space)


def test_the_dct_filter_is_that_of_scipy() -> None:
    z = RNG.standard_normal((3, 6, 5))
    own = spec("dct")
    coefficients = own.frequency * np.asarray(fft.dctn(z, axes=(1, 2), norm="ortho"))
    expected = np.asarray(fft.idctn(coefficients, axes=(1, 2), norm="ortho"))
    assert np.abs(own.apply(z) - expected).max() <= 1e-14


def test_the_dft_filter_is_that_of_the_fft() -> None:
    z = RNG.standard_normal((3, 6, 5))
    own = spec("dft")
    assert np.abs(own.apply(z) - np.fft.ifft2(own.frequency * np.fft.fft2(z)).real).max() <= 1e-14


@every_transform
def test_noise_energy_is_the_mean_square_of_the_filtered_basis(transform: str) -> None:
    own = spec(transform, 0.5 + RNG.random((2, 6, 5)))
    basis = np.eye(60).reshape(60, 2, 6, 5)
    assert abs(own.noise_energy - (own.apply(basis) ** 2).sum() / 60) <= 1e-13


@every_transform
def test_the_adjoint_is_the_transpose(transform: str) -> None:
    own = spec(transform, 0.5 + RNG.random((2, 6, 5)))
    basis = np.eye(60).reshape(60, 2, 6, 5)
    matrix, adjoint = own.apply(basis).reshape(60, 60), own.apply(basis, adjoint=True).reshape(60, 60)
    assert np.abs(matrix - adjoint.T).max() <= 1e-14


def test_pixels_are_filtered_before_frequencies() -> None:
    space = 0.5 + RNG.random((1, 6, 5))
    z = RNG.standard_normal((1, 6, 5))
    assert np.abs(spec("dct", space).apply(z) - spec("dct").apply(space * z)).max() <= 1e-15


def test_a_permutation_of_pixels_changes_the_law_of_filtered_noise() -> None:
    basis = np.eye(30).reshape(30, 6, 5)
    matrix = spec("dct").apply(basis).reshape(30, 30)
    covariance = matrix.T @ matrix
    order = np.roll(np.arange(30), 7)
    assert np.abs(covariance[np.ix_(order, order)] - covariance).max() > 0.1  # of white noise it is the identity


def test_a_filter_of_ones_is_known_as_the_identity() -> None:
    assert tdas.FilterSpec("dct", np.ones((4, 4)), np.ones((1, 4, 4))).is_identity
    assert not spec("dct").is_identity


# --- bad input


def two_by_two(**changes: Any) -> tdas.FilterSpec:
    arguments: dict[str, Any] = {"transform": "dct", "frequency": np.ones((2, 2)), **changes}
    return tdas.FilterSpec(**arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_by_two(transform="fft"), "transform='fft'; choose one of dct, dft"),
        (lambda: two_by_two(frequency=np.ones(4)), r"frequency has shape \(4,\); need \[H, W\]"),
        (lambda: two_by_two(frequency=[[1.0, 0.0], [1.0, 1.0]]), "frequency: its least gain is 0.0; give positive"),
        (lambda: two_by_two(frequency=[[1.0, -2.0], [1.0, 1.0]]), "frequency: its least gain is -2.0; give positive"),
        (lambda: two_by_two(frequency=[[1.0, np.nan], [1.0, 1.0]]), "frequency: holds inf or NaN; give positive"),
        (lambda: two_by_two(space=[[1.0, np.inf], [1.0, 1.0]]), "space: holds inf or NaN; give positive"),
        (lambda: two_by_two(space=np.ones((1, 2, 3))), r"space has shape \(1, 2, 3\), frequency \(2, 2\); make both"),
        (
            lambda: two_by_two(frequency=np.ones((3, 2, 2)), space=np.ones((1, 2, 2))),
            r"space has shape \(1, 2, 2\), frequency \(3, 2, 2\); make both",
        ),
        (lambda: two_by_two().check_fits((1, 1, 3, 2)), r"filter is for samples \[..., 2, 2\], the model's are"),
        (
            lambda: two_by_two(space=np.ones((3, 2, 2))).check_fits((1, 1, 2, 2)),
            r"filter is for samples \[..., 3, 2, 2\], the model's are \[1, 1, 2, 2\]; calibrate",
        ),
        (lambda: tdas.radial_filter((4, 4), lambda1=0.0, r1=0.3), "lambda1=0.0; need a positive finite number"),
        (lambda: tdas.radial_filter((4, 4), lambda1=np.inf, r1=0.3), "lambda1=inf; need a positive finite number"),
        (lambda: tdas.radial_filter((4, 4), lambda1=0.9, r1=0.3, r2=0.4), "lambda2=None, r2=0.4: three zones"),
        (
            lambda: tdas.radial_filter((4, 4), lambda1=0.9, r1=0.5, lambda2=0.8, r2=0.4),
            "r1=0.5, r2=0.4; need 0 <= r1 <= r2",
        ),
        (lambda: tdas.radius((4,)), r"size=\(4,\); give \(H, W\)"),
        (lambda: tdas.published("cifar10", iterations=10), "not in the paper; choose one of cifar10 200 dft, "),
        (lambda: tdas.published("mnist", iterations=10), "not in the paper; choose one of cifar10 200 dft, "),
        (lambda: tdas.space_filter(np.ones((4, 4))), r"images has shape \(4, 4\); need \[N, C, H, W\]"),
        (lambda: tdas.space_filter(-np.ones((1, 1, 4, 4))), r"images: -1.0..-1.0; need 0..1, of images in \[-1, 1\]"),
        (lambda: tdas.space_filter(np.ones((1, 1, 4, 4)), alpha=0.5), "alpha=0.5; need 1 or more"),
        (lambda: tdas.space_filter(np.eye(4)[None, None], alpha=1.0), "alpha=1.0: a pixel is 0 in every image"),
        (lambda: tdas.space_filter(np.zeros((1, 1, 4, 4))), "images: all are 0, which says nothing"),
    ],
)
def test_bad_input_is_refused_with_the_fix(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
