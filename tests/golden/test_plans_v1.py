"""Plans and samples kept for good: 203 plans in JSON of format version 1 and the digests of their samples.

``plans_v1.json.xz`` was written by the code of format version 1. It is never made anew: a change that turns a test red
changes what users' files mean or the bits of their samples, and belongs in the CHANGELOG under "numerics". Each entry
holds the plan, the arguments by which ``make_plan`` made it (None for one changed by hand) and, for each dtype of the
state, the SHA-256 of its samples' bytes.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import genie_samplers as gs
from genie_samplers import Plan
from genie_samplers.solvers import registry

SHAPE = (3, 2, 5, 3)
GOLDEN: Mapping[str, Any] = json.loads(lzma.decompress(Path(__file__).with_name("plans_v1.json.xz").read_bytes()))
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
ON_REFERENCE = (
    "ddpm-edm", "deis_rho_rk4-guided", "edm_heun-churn", "genie_hermite3-guided-head", "ddim-guided-per-sample",
    "dpmpp_2m-clipped-by-hand",
)  # fmt: skip

every_case = pytest.mark.parametrize("case", GOLDEN)


class Network:
    """Output i: x times 0.375 / 2^i, plus the row's number over 32."""

    def __init__(self, outputs: int) -> None:
        self.count = outputs

    def label(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.arange(len(times)) / 32.0

    def __call__(self, x: Tensor, t: Tensor) -> Tensor | tuple[Tensor, ...]:
        shift = t.reshape(-1, 1, 1, 1).to(x.dtype)
        first, *others = (x * (0.375 / 2**i) + shift for i in range(self.count))
        return (first, *others) if others else first


class GuidedNetwork(Network):
    def conditional(self, x: Tensor, t: Tensor) -> Tensor | tuple[Tensor, ...]:
        return Network(self.count // 2)(x, t)


def read(case: str) -> Plan:
    return Plan.from_json(json.dumps(GOLDEN[case]["plan"]))


def digest(plan: Plan, dtype: torch.dtype, backend: str) -> str:
    network = (Network if plan.guidance is None else GuidedNetwork)(len(plan.output_names))
    start: dict[str, Any] = {"shape": SHAPE}
    if plan.rising:
        data = torch.arange(prod(SHAPE), dtype=torch.float64) / 64 - 0.7
        start = {"state": data.reshape(SHAPE).to(dtype)}
    x = gs.sample(network, plan, seed=11, dtype=dtype, backend=backend, progress=False, **start)
    return hashlib.sha256(x.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def digests(plan: Plan, backend: str) -> dict[str, str]:
    return {name: digest(plan, dtype, backend) for name, dtype in DTYPES.items()}


def solvers() -> set[str]:
    return {read(case).recipe.solver for case in GOLDEN}  # type: ignore[union-attr]


def test_every_solver_of_version_1_has_a_case() -> None:
    assert len(solvers()) == 54
    assert solvers() <= set(gs.SOLVERS)


@every_case
def test_a_plan_of_version_1_is_read_and_comes_back_in_version_2(case: str) -> None:
    plan = read(case)
    written = plan.to_json()
    assert json.loads(written)["version"] == 2
    assert Plan.from_json(written) == plan
    assert Plan.from_json(written).to_json() == written


@every_case
def test_its_samples_have_the_bits_that_they_had(case: str) -> None:
    assert digests(read(case), "cpu") == GOLDEN[case]["digests"]


@pytest.mark.parametrize("case", ON_REFERENCE)
def test_the_reference_makes_the_same_bits(case: str) -> None:
    assert digests(read(case), "reference") == GOLDEN[case]["digests"]


@pytest.mark.parametrize("case", [case for case, entry in GOLDEN.items() if entry["make"] is not None])
def test_its_recipe_still_makes_it(case: str) -> None:
    """Rows may have another form, which does the same but for rounding; the defaults of make_plan may change."""
    plan = read(case)
    assert registry.recipe_of(plan) == plan.recipe


@pytest.mark.parametrize("case", [case for case, entry in GOLDEN.items() if entry["make"] is not None])
def test_it_starts_anew_by_its_recipe(case: str) -> None:
    plan, anew = read(case), gs.starting_at(read(case), 0)
    assert (anew.recipe, anew.init, anew.times, anew.guidance) == (plan.recipe, plan.init, plan.times, plan.guidance)
