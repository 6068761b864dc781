"""normal_fill: the published generator, accurate normals, their statistics, the same bits."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import genie_ext
from genie_ext import Noise
from genie_ext.ops.normal_fill.reference import box_muller, philox
from genie_ext.testing import PHILOX_ANSWERS, PINNED_NORMALS, SentinelView, assert_same_bits

from ..conftest import native_backends
from ..plans.products import pairs_first

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # where 2^20 numbers take long


def fill(backend, device, shape, *, draw=0, seed=5, ids=None, stream=1, dtype=torch.float32):
    ids = torch.arange(shape[0]) if ids is None else torch.tensor(ids)
    noise = Noise(torch.tensor([seed], device=device), ids.to(device), stream)
    out = torch.full(shape, float("nan"), dtype=dtype, device=device)
    return genie_ext.normal_fill(out, noise=noise, draw=draw, backend=backend).cpu()


@pytest.mark.parametrize("counter, key, expected", PHILOX_ANSWERS.values(), ids=PHILOX_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, expected):
    low, high = (torch.tensor([word]) for word in key)
    words = philox([torch.tensor([word]) for word in counter], (low, high))
    assert [int(word) for word in words] == expected


def borders(*middles: int) -> torch.Tensor:
    """Every word within 2 of the given ones, modulo 2^32."""
    return torch.tensor([(m + d) % 2**32 for m in middles for d in range(-2, 3)])


RADIUS_EDGES = borders(0, 2**31, 2 * 2**32 // 3, 2**32 // 3, 2**30)
ANGLE_EDGES = borders(*(k * 2**29 for k in range(8)))


def exact_box_muller(radius_word, angle_word):
    u = (radius_word.double().numpy() + 0.5) / 2**32
    angle = 2 * np.pi * (angle_word.double().numpy() + 0.5) / 2**32
    # near U = 1 the logarithm needs 1 - U, which is exact here
    radius = np.sqrt(-2 * np.log1p(-(2**32 - radius_word.double().numpy() - 0.5) / 2**32))
    radius = np.where(u < 0.5, np.sqrt(-2 * np.log(u)), radius)
    return radius * np.cos(angle), radius * np.sin(angle)


def random_words(seed: int) -> torch.Tensor:
    return torch.randint(0, 2**32, (1_000_000,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "radius, angle",
    [torch.cartesian_prod(RADIUS_EDGES, ANGLE_EDGES).T, (random_words(1), random_words(2))],
    ids=["edges", "random"],
)
def test_normals_are_within_their_bound_of_exact_box_muller(radius, angle):
    cosine, sine = box_muller(radius, angle)
    exact_cosine, exact_sine = exact_box_muller(radius, angle)
    assert np.abs(cosine.double().numpy() - exact_cosine).max() <= 1.4e-6
    assert np.abs(sine.double().numpy() - exact_sine).max() <= 1.4e-6


def test_the_reference_draws_the_pinned_bits():
    assert pinned_digest("reference", "cpu") == PINNED_NORMALS


def test_every_backend_begins_with_the_pinned_bits(backend, device):
    """The reference's, which are pinned; 64 blocks of a kernel."""
    assert_same_bits(pinned(backend, device, 2**16), pinned("reference", "cpu", 2**20)[:, : 2**16].contiguous())


@pytest.mark.parametrize(
    "backend",
    [pytest.param(b, marks=pytest.mark.product if b == "triton" and INTERPRETED else ()) for b in native_backends()],
)
def test_every_backend_draws_the_pinned_bits(backend, device):
    assert pinned_digest(backend, device) == PINNED_NORMALS


def pinned(backend, device, length: int) -> torch.Tensor:
    return fill(backend, device, (1, length), draw=3, ids=[7], stream=11)


def pinned_digest(backend, device) -> str:
    return hashlib.md5(pinned(backend, device, 2**20).numpy().tobytes()).hexdigest()


WORDS = {str(word): word for word in (0, 1, 2**31, 2**32 - 1)}
SEEDS = {str(seed): seed for seed in (0, 1, 2**32, 2**63 - 1, -(2**63), -1)}


@pairs_first({"draw": WORDS, "stream": WORDS, "seed": SEEDS})
def test_extreme_keys_and_counters(backend, device, seed, draw, stream):
    key = {"seed": seed, "draw": draw, "stream": stream, "ids": [0, 1, 2**31, 2**32 - 1]}
    assert_same_bits(fill(backend, device, (4, 9), **key), fill("reference", "cpu", (4, 9), **key))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("length", [1, 3, 4, 5, 127, 1023, 4099])
def test_ragged_lengths_inside_sentinels(backend, device, length, dtype):
    view = SentinelView(3, length, dtype=dtype, device=device, start=1, gap=2)
    noise = Noise(torch.tensor([5], device=device), torch.arange(3, device=device))
    genie_ext.normal_fill(view.tensor, noise=noise, backend=backend)
    assert_same_bits(view.tensor, fill("reference", "cpu", (3, length), dtype=dtype))
    assert view.intact()


def test_a_sample_does_not_depend_on_its_batch(backend, device):
    together = fill(backend, device, (5, 4099), ids=[3, 1, 4, 1, 5])
    alone = fill(backend, device, (1, 4099), ids=[4])
    assert_same_bits(together[2:3], alone)
    assert_same_bits(together[1], together[3])


def test_a_longer_sample_begins_like_a_shorter_one(backend, device):
    longer = fill(backend, device, (2, 5000))
    assert_same_bits(longer[:, :1023].contiguous(), fill(backend, device, (2, 1023)))


def test_elements_are_numbered_row_by_row(backend, device):
    image = fill(backend, device, (2, 3, 5, 7))
    assert_same_bits(image.reshape(2, 105), fill(backend, device, (2, 105)))


@pytest.mark.parametrize("changed", ["seed", "draw", "stream", "ids"])
def test_each_part_of_key_and_counter_gives_other_normals(backend, device, changed):
    key: dict[str, Any] = {"seed": 1, "draw": 1, "stream": 1, "ids": [1]}
    other: dict[str, Any] = key | {changed: [2] if changed == "ids" else 2}
    a, b = (fill(backend, device, (1, 4096), **k).flatten().numpy() for k in (key, other))
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(4096)


@pytest.fixture(scope="module")
def ten_million() -> np.ndarray:
    return fill(None, "cpu", (10, 1_000_000), seed=2024).double().numpy().ravel()


@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_moments_of_ten_million(ten_million, moment):
    """Within 4 standard errors of those of the normal distribution."""
    powers = ten_million**moment
    expected = stats.norm.moment(moment)
    standard_error = np.sqrt((stats.norm.moment(2 * moment) - expected**2) / len(powers))
    assert abs(powers.mean() - expected) < 4 * standard_error


def test_distribution_of_ten_million(ten_million):
    assert stats.kstest(ten_million, "norm").pvalue > 1e-3


@pytest.mark.parametrize("beyond", [3.0, 4.0, 4.5, 5.0])
def test_tails_of_ten_million(ten_million, beyond):
    expected = 2 * stats.norm.sf(beyond) * len(ten_million)
    found = int((np.abs(ten_million) > beyond).sum())
    assert stats.poisson.sf(found - 1, expected) > 1e-4
    assert stats.poisson.cdf(found, expected) > 1e-4


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 1_000_000])
def test_neighbours_are_uncorrelated(ten_million, distance):
    """Also in their squares: the two normals of a Box-Muller pair share a radius."""
    a, b = ten_million[:-distance], ten_million[distance:]
    bound = 4 / np.sqrt(len(a))
    assert abs(np.mean(a * b)) < bound
    assert abs(np.mean((a**2 - 1) * (b**2 - 1))) < 2 * bound
