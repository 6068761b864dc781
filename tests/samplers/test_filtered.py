"""Any stochastic plan with its noise through an operator."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_ext.testing import assert_same_bits
from genie_samplers import Plan
from genie_samplers.plan import Apply, filtered

SHAPE = (4, 2, 5, 3)
VP, VE = gs.schedules.vp_linear(), gs.schedules.ve()


def made(name: str, schedule: gs.schedules.Schedule = VP, nfe: int = 6, **options: Any) -> Plan:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.UnfitWarning)
        return gs.make_plan(name, schedule, nfe, options=options)


PLANS = {
    "ddpm": made("ddpm"), "ddim-eta": made("ddim", eta=0.5), "dpmpp_2m_sde": made("dpmpp_2m_sde"),
    "gddim": made("gddim"), "churn": made("edm_heun", nfe=7, s_churn=3.0), "euler_maruyama": made("euler_maruyama"),
    "langevin": made("predictor_corrector", VE), "guided": made("ddpm").guided(1.5),
    "per sample": made("ddpm").guided([1.0, 1.5, 2.0, 2.5]),
}  # fmt: skip
every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


def identity(value: Tensor, index: int, out: Tensor) -> None:
    out.copy_(value)


def network(plan: Plan) -> Any:
    def answer(x: Tensor, t: Tensor) -> Any:
        half = 0.5 * x
        return half if plan.guidance is None else (half, 0.25 * x)

    return answer


def run(plan: Plan, operator: Any = identity, **options: Any) -> Tensor:
    named = {name: operator for name in plan.operators}
    return gs.sample(network(plan), plan, **({"shape": SHAPE, "seed": 5, "operators": named} | options))


@every_plan
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_identity_gives_the_bits_of_the_plan(plan: Plan, dtype: torch.dtype) -> None:
    assert_same_bits(run(filtered(plan, "f"), dtype=dtype), run(plan, dtype=dtype))


@every_plan
def test_every_draw_and_the_start_go_through_the_operator(plan: Plan) -> None:
    changed = filtered(plan, "f")
    applied = [row for row in changed.rows if isinstance(row, Apply)]
    draws = sorted(d for row in plan.rows for d in row.draws)
    assert sorted(row.source.number for row in applied) == draws
    assert {row.index for row in applied} == {0}
    assert changed.init.operator == "f"
    assert not any(row.draws for row in changed.rows if not isinstance(row, Apply))
    assert (changed.nfe, changed.recipe, changed.guidance) == (plan.nfe, plan.recipe, plan.guidance)
    assert Plan.from_json(changed.to_json()) == changed


@every_plan
def test_of_a_bank_each_draw_has_its_own(plan: Plan) -> None:
    changed = filtered(plan, "f", by_draw=True)
    assert changed.init == plan.init
    assert all(row.index == row.source.number for row in changed.rows if isinstance(row, Apply))
    assert_same_bits(run(changed), run(plan))


def test_a_scalar_is_a_noise_temperature() -> None:
    """Of a linear plan with twice the noise everywhere twice the state, exactly."""
    assert_same_bits(run(filtered(PLANS["ddpm"], "f"), lambda value, index, out: torch.mul(value, 2.0, out=out)),
                     2.0 * run(PLANS["ddpm"]))  # fmt: skip


def smooth(value: Tensor, index: int, out: Tensor) -> None:
    torch.add(value, value.roll(1, -1), out=out).mul_(0.5)


def test_predictor_corrector_with_filtered_noise_is_its_option() -> None:
    option = made("predictor_corrector", VE, filter="tdas")
    assert_same_bits(run(filtered(PLANS["langevin"], "filter"), smooth), run(option, smooth))


def test_start_and_draws_apart() -> None:
    plan = PLANS["ddpm"]
    start, draws = filtered(plan, "f", draws=False), filtered(plan, "f", start=False)
    assert (start.rows, draws.init) == (plan.rows, plan.init)
    assert_same_bits(run(start), run(plan))
    assert_same_bits(run(draws), run(plan))
    assert filtered(plan, "f", start=False, draws=False) == plan


def test_chunks_give_the_same_bits() -> None:
    plan = filtered(PLANS["dpmpp_2m_sde"], "f")
    assert_same_bits(run(plan, batch_size=3), run(plan))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((filtered(PLANS["ddpm"], "f"), "g"), {}, "plan: applies f already; give one without operators"),
        ((PLANS["ddpm"], ""), {}, "init: operator=''; need None, or the name"),
        ((PLANS["ddpm"], "f"), {"start": 1}, "start"),
        ((PLANS["ddpm"], "f"), {"start": True, "by_draw": True}, "start=True with by_draw=True: the first state is no"),
    ],
)
def test_what_cannot_be_filtered(arguments: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        filtered(*arguments, **options)


def test_what_rebuilds_a_plan_refuses_it() -> None:
    with pytest.raises(ValueError, match="plan: is not what its recipe"):
        gs.starting_at(filtered(PLANS["ddpm"], "f"), 1)
