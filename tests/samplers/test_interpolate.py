"""Paths between latents on the sphere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import BY_DTYPE, assert_same_bits

from .fakes import SHAPE, normals

EPS = 2.0**-53


def latent(i: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Unit norm in float64."""
    z = normals([i], SHAPE, draw=0, stream=0)[0].double()
    return (z / z.norm()).to(dtype)


@pytest.mark.parametrize("dtype", **BY_DTYPE)
def test_a_path_runs_from_one_latent_to_the_other_exactly(dtype: torch.dtype) -> None:
    a, b = latent(0, dtype), 3 * latent(1, dtype)
    path = gs.interpolate(a, b, 5)
    assert path.shape == (5, *SHAPE)
    assert_same_bits(path[0], a)
    assert_same_bits(path[-1], b)


def test_a_path_keeps_the_norm_and_turns_evenly() -> None:
    a, b = latent(0), latent(1)
    theta = math.acos(float((a * b).sum()))
    path = gs.interpolate(a, b, 9).flatten(1)
    # sines and products of a unit vector, divided by sin(theta) > 0.9
    assert (path.norm(dim=1) - 1.0).abs().max() <= 16 * EPS
    turned = torch.acos((path * a.flatten()).sum(1)[1:])
    assert (turned - theta * torch.linspace(0.125, 1.0, 8).double()).abs().max() <= 16 * EPS / math.sin(theta / 8)


def test_coefficients_may_be_given() -> None:
    a, b = latent(0), latent(1)
    assert_same_bits(gs.interpolate(a, b, [0.0, 0.25, 1.0]), gs.interpolate(a, b, 5)[[0, 1, 4]])
    assert_same_bits(gs.interpolate(a, b, torch.tensor([0.5])), gs.interpolate(a, b, 3)[1:2])


def test_a_path_beyond_its_ends_stays_on_the_circle() -> None:
    a, b = latent(0), latent(1)
    beyond = gs.interpolate(a, b, [2.0])[0]
    assert float((beyond * b).sum()) == pytest.approx(float((a * b).sum()), abs=16 * EPS)


def test_the_angle_is_over_all_elements_of_a_sample() -> None:
    a, b = latent(0), latent(1)
    assert_same_bits(gs.interpolate(a, b, 4).flatten(1), gs.interpolate(a.flatten(), b.flatten(), 4))


@pytest.mark.parametrize("factor", [0.0, 1.0, 2.5])
def test_parallel_latents_are_joined_by_a_straight_line(factor: float) -> None:
    a = latent(0)
    path = gs.interpolate(a, factor * a, 3)
    assert (path[1] - (1.0 + factor) / 2.0 * a).abs().max() <= 4 * EPS


@pytest.mark.parametrize("angle", [1e-3, 1e-8, 1e-12, 1e-15])
def test_a_path_of_a_small_angle_keeps_its_norm(angle: float) -> None:
    a, b = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    near = math.cos(angle) * a + math.sin(angle) * b
    path = gs.interpolate(a, near, 5)
    # the angle is found to about EPS: what it is off by turns the path, it does not stretch it
    assert (path.norm(dim=1) - 1.0).abs().max() <= 8 * EPS
    assert (path[:, 1] - (angle * torch.linspace(0.0, 1.0, 5).double()).sin()).abs().max() <= 8 * EPS


def test_a_path_of_nearly_half_a_circle_is_on_it() -> None:
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    b = torch.tensor([math.cos(3.1), math.sin(3.1)], dtype=torch.float64)
    middle = gs.interpolate(a, b, 3)[1]
    assert middle.tolist() == pytest.approx([math.cos(1.55), math.sin(1.55)], abs=8 * EPS / math.sin(3.1))


# --- grids


CORNERS = torch.stack([latent(i) for i in range(4)])


def test_a_grid_holds_the_corners_and_the_paths_between_them() -> None:
    grid = gs.slerp_grid(CORNERS, 3, 5).reshape(3, 5, *SHAPE)
    assert_same_bits(grid[[0, 0, -1, -1], [0, -1, 0, -1]], CORNERS)
    assert_same_bits(grid[0], gs.interpolate(CORNERS[0], CORNERS[1], 5))
    assert_same_bits(grid[2], gs.interpolate(CORNERS[2], CORNERS[3], 5))


@pytest.mark.parametrize("column", range(4))
def test_the_columns_of_a_grid_are_paths_across_the_pairs(column: int) -> None:
    grid = gs.slerp_grid(CORNERS, 3, 4).reshape(3, 4, *SHAPE)
    assert_same_bits(grid[:, column], gs.interpolate(grid[0, column], grid[2, column], 3))


def test_a_grid_of_latents_of_one_norm_has_that_norm() -> None:
    grid = gs.slerp_grid(7 * CORNERS.float(), 4, 4)
    # the corners are off by half an ulp of float32 in each element, the result is rounded once more
    assert (grid.double().flatten(1).norm(dim=1) - 7.0).abs().max() <= 7 * 2 * 2.0**-24


# --- bad input


NAN = torch.full(SHAPE, torch.nan)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((latent(0), -latent(0), 3), ValueError, "latents: two are opposite to each other"),
        ((latent(0), latent(1)[0], 3), ValueError, r"a, b: .* give latents of one shape, dtype and device"),
        ((latent(0), latent(1).float(), 3), ValueError, "give latents of one shape, dtype and device"),
        ((latent(0).float(), NAN, 3), ValueError, "a, b: holds inf or NaN"),
        ((latent(0), latent(1).long(), 3), TypeError, "a, b: torch.int64; give float tensors"),
        ((np.ones(3), np.ones(3), 3), TypeError, "a, b: ndarray; give float tensors"),
        ((latent(0), latent(1), 1), ValueError, "steps=1: give 2 or more"),
        ((latent(0), latent(1), 2.5), TypeError, "steps=2.5: give an integer"),
        ((latent(0), latent(1), []), (TypeError, ValueError), "steps=.*; give finite coefficients"),
        ((latent(0), latent(1), [0.0, math.inf]), ValueError, "steps=.*; give finite coefficients"),
    ],
    ids=["opposite", "shapes", "dtypes", "NaN", "integers", "arrays", "one step", "fraction", "none", "infinite"],
)
def test_latents_without_a_path_are_refused(arguments: tuple[Any, ...], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        gs.interpolate(*arguments)


@pytest.mark.parametrize("corners", [CORNERS[:3], CORNERS[0, 0, 0, :4], None], ids=["three", "flat", "none"])
def test_a_grid_needs_four_corners(corners: Any) -> None:
    with pytest.raises(ValueError, match=r"corners: .*; give four latents \[4, ...\]"):
        gs.slerp_grid(corners, 2, 2)


@pytest.mark.parametrize(("rows", "columns", "name"), [(1, 2, "rows"), (2, 0, "columns")])
def test_a_grid_needs_both_ends_of_its_paths(rows: int, columns: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=.: give 2 or more"):
        gs.slerp_grid(CORNERS, rows, columns)
