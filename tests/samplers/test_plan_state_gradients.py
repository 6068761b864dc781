"""PlanState out of place carries gradients; in place it refuses what it would not differentiate."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genie_samplers import Plan, PlanState, Program
from genie_samplers.plan import Combination, Conversion, Row

from .fakes import SHAPE, VARIANTS, euler, normals, plan_of
from .plan_states import IDS, network, start_of


def differentiable(plan: Plan, x: Tensor, table: Tensor, gain: Tensor, z: list[Tensor]) -> Tensor:
    """The sum of the last state, of all that the rows are given."""
    state, draws = PlanState(Program.of(plan, dtype=torch.float64).with_table(table), x, in_place=False), iter(z)
    while (call := state.call) is not None:
        outputs = tuple((gain + 0.1 * i) * torch.tanh(state.model_input) for i in range(len(call.names)))
        state.advance(outputs, [next(draws) for _ in plan.layout[call.row].draws])
    return state.x.sum()


DIFFERENTIATED = ("deis_tab2", "edm_heun-churn", "dpmpp_2m_sde", "unipc3")


@pytest.mark.parametrize(
    ("name", "of"),
    [(name, of) for name in DIFFERENTIATED for of in ("x", "table", "outputs")]
    + [(name, "draws") for name in DIFFERENTIATED if VARIANTS[name].stochastic],
)
def test_gradients_out_of_place_are_those_of_finite_differences(name: str, of: str) -> None:
    plan = VARIANTS[name]
    count = sum(len(row.draws) for row in plan.rows)
    given = {
        "x": start_of(plan, torch.float64) / plan.init.scale,
        "table": Program.of(plan, dtype=torch.float64).table.clone(),
        "outputs": torch.tensor(0.3, dtype=torch.float64),
        "draws": [normals(IDS, SHAPE, draw=d, stream=1).double() for d in range(count)],
    }
    leaf = given[of][0] if of == "draws" else given[of]
    leaf.requires_grad_()
    differentiable(plan, given["x"], given["table"], given["outputs"], given["draws"]).backward()
    assert leaf.grad is not None
    direction = torch.where(leaf.isfinite() & (leaf != 0), normals([1], leaf.shape, draw=0, stream=0)[0].double(), 0.0)
    slope = float((leaf.grad.nan_to_num() * direction).sum())
    step, ends = 1e-5, []
    with torch.no_grad():
        leaf += step * direction
        ends.append(differentiable(plan, given["x"], given["table"], given["outputs"], given["draws"]))
        leaf -= 2 * step * direction
        ends.append(differentiable(plan, given["x"], given["table"], given["outputs"], given["draws"]))
    # a central difference errs by step^2 / 6 times the third derivative, some powers of ten above the slope
    assert slope == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-4)
    assert slope != 0.0


def test_a_replacement_passes_its_gradient_on() -> None:
    plan = plan_of(euler(1.0), euler(0.5, input_scale=2.0))
    state = PlanState(Program.of(plan, dtype=torch.float64), start_of(plan, torch.float64), in_place=False)
    state.advance(network(state.x))
    gain = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    kept = state.x.clone()
    state.replace(gain * state.x)  # the same numbers
    state.advance(state.model_input)
    state.x.sum().backward()
    assert gain.grad is not None
    assert float(gain.grad) == pytest.approx(float((kept - 0.5 * 2.0 * kept).sum()), rel=1e-12)


@pytest.mark.parametrize("of", ["x", "table", "outputs", "draws", "replacement"])
def test_rows_in_place_refuse_what_they_would_not_differentiate(of: str) -> None:
    plan = plan_of(Row(1.0, Combination(1.0, y=(1.0,), draws=(1.0,)), converted=(Conversion(0.0, (1.0,)),), draws=(0,)))
    program, given = Program.of(plan), {name: torch.ones(2, 3) for name in ("x", "outputs", "draws", "replacement")}
    given["table"] = program.table.clone()
    given[of].requires_grad_()
    with pytest.raises(ValueError, match=r"require grad .*; make the PlanState with in_place=False"):
        state = PlanState(program.with_table(given["table"]), given["x"])
        state.replace(given["replacement"])
        state.advance(given["outputs"], [given["draws"]])
    with torch.no_grad():
        PlanState(program.with_table(given["table"]), given["x"]).advance(given["outputs"], [given["draws"]])
