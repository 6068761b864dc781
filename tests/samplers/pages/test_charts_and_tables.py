"""Where a chart's lines, ticks and names lie, what numbers look like, and what the tables of a plan say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers.pages.chart import Chart, error_chart, log_ticks, round_ticks
from genie_samplers.pages.heat_map import HeatMap, plan_tables
from genie_samplers.pages.text import measured, plain

SCHEDULE = gs.schedules.vp_linear()


@pytest.mark.parametrize(
    ("number", "plainly", "as_measured"),
    [
        (0.0, "0", "0"),
        (0.06, "0.06", "0.0600"),
        (0.000123456, "0.000123", "0.000123"),
        (0.09996, "0.1", "0.100"),
        (1.5, "1.5", "1.50"),
        (157.4, "157", "157"),
        (999.7, "1000", "1000"),
        (12345.6, "12300", "12300"),
        (-0.5, "\u22120.5", "\u22120.500"),
        (math.inf, "∞", "∞"),
        (-math.inf, "\u2212∞", "\u2212∞"),
        (math.nan, "NaN", "NaN"),
    ],
)
def test_numbers_are_plain(number: float, plainly: str, as_measured: str) -> None:
    assert (plain(number), measured(number)) == (plainly, as_measured)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.03, 0.4, [0.02, 0.05, 0.1, 0.2, 0.5]),
        (0.05, 0.05, [0.02, 0.05, 0.1]),
        (0.051, 0.052, [0.05, 0.1]),
        (0.002, 30.0, [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]),
        (1.0, 10.0, [1.0, 2.0, 5.0, 10.0]),
    ],
)
def test_the_ticks_of_errors_are_round_and_enclose_them(low: float, high: float, ticks: list[float]) -> None:
    assert log_ticks(low, high) == ticks


@pytest.mark.parametrize(
    ("high", "ticks"),
    [(0, [0, 1]), (1, [0, 1]), (6, [0, 1, 2, 3, 4, 5, 6]), (7, [0, 2, 4, 6, 8]), (150, [0, 50, 100, 150])],
)
def test_the_ticks_of_steps_are_round_and_enclose_them(high: float, ticks: list[float]) -> None:
    assert round_ticks(high) == ticks


def chart(lines: dict[str, list[tuple[float, float]]], x_ticks: list[float]) -> Chart | None:
    return error_chart(lines, x_ticks, x_label="evaluations", unit="evaluations", alt="a chart")


def test_equal_factors_are_equal_heights_and_ticks_lie_on_the_scale() -> None:
    drawn = chart({"a": [(5, 0.4), (10, 0.2), (15, 0.1)]}, [5, 10, 15])
    assert drawn is not None
    (line,) = drawn.lines
    heights, places = [mark.y for mark in line.marks], [mark.x for mark in line.marks]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], rel=1e-12)
    assert places == [tick.at for tick in drawn.x_ticks] == [drawn.left, (drawn.left + drawn.right) / 2, drawn.right]
    assert {tick.text: tick.at for tick in drawn.y_ticks}["0.2"] == pytest.approx(heights[1], rel=1e-12)
    assert (drawn.y_ticks[0].at, drawn.y_ticks[-1].at) == (drawn.bottom, drawn.top)


def test_errors_without_a_logarithm_are_left_out() -> None:
    drawn = chart({"a": [(5, 0.0), (10, 0.2)], "b": [(5, math.nan)], "c": [(10, math.inf)]}, [5, 10])
    assert drawn is not None
    assert [(line.name, len(line.marks)) for line in drawn.lines] == [("a", 1)]


def test_names_of_lines_that_end_together_do_not_cover_each_other() -> None:
    drawn = chart({f"solver {i}": [(5, 0.1), (10, 0.01 + 1e-6 * i)] for i in range(8)}, [5, 10])
    assert drawn is not None
    heights = sorted(line.name_y for line in drawn.lines)
    assert min(np.diff(heights)) >= 16.0 and heights[-1] <= drawn.bottom + 16.0
    assert sorted(line.style for line in drawn.lines) == list(range(8))


def test_numbers_at_the_axis_have_room() -> None:
    drawn = chart({"a": [(float(n), 0.1) for n in range(3, 90)]}, [float(n) for n in range(3, 90)])
    assert drawn is not None
    assert min(np.diff([tick.at for tick in drawn.x_ticks])) >= 26.0


def texts(table: HeatMap | None) -> list[list[str]]:
    assert table is not None
    return [[entry.text for entry in line.outputs] for line in table.lines]


def steps_of(name: str, nfe: int, **options) -> list[list[str]]:
    (found,) = plan_tables([(name, gs.make_plan(name, SCHEDULE, nfe, **options))])
    return texts(found.steps)


FIRST_ORDER = [["1.00", "", ""], ["0", "1.00", ""], ["0", "0", "1.00"]]


@pytest.mark.parametrize("prediction", ["epsilon", "x0", "v"])
@pytest.mark.parametrize("denoise", [False, True])
def test_a_step_of_ddim_adds_its_own_output_alone(prediction: str, denoise: bool) -> None:
    assert steps_of("ddim", 3, prediction=prediction, denoise=denoise) == FIRST_ORDER


def test_a_step_of_a_multistep_solver_has_its_textbook_weights() -> None:
    assert steps_of("ipndm2", 3) == [["1.00", "", ""], ["\u22120.500", "1.50", ""], ["0", "\u22120.500", "1.50"]]


def test_the_table_of_states_is_the_unrolled_plan() -> None:
    plan = gs.make_plan("deis_tab2", SCHEDULE, 4)
    (found,) = plan_tables([("learned", plan)])
    unrolled = plan.unrolled()
    assert found.states is not None
    assert texts(found.states)[-1] == [measured(float(c)) for c in unrolled.output[-1, :, 0]]
    assert [line.first for line in found.states.lines] == [(measured(float(c)),) for c in unrolled.state[1:]]
    gammas = [measured(float(SCHEDULE.gamma(t))) for t in plan.times]
    assert [line.at for line in found.states.lines] == gammas and found.level == "gamma"
    last = found.states.lines[-1].outputs
    assert max(abs(entry.share) for entry in last) == 1.0


def test_draws_are_told_by_their_norm() -> None:
    plan = gs.make_plan("ddpm", SCHEDULE, 3)
    (found,) = plan_tables([("ddpm", plan)])
    assert found.states is not None
    norm = float(np.linalg.norm(plan.unrolled().draw[-1]))
    assert found.states.lines[-1].first[1] == measured(norm)


def test_several_outputs_have_columns_of_their_own() -> None:
    plan = gs.make_plan("genie_ttm2", SCHEDULE, 2, options={"derivative": "exact"})
    (found,) = plan_tables([("genie", plan)])
    assert found.states is not None and len(plan.outputs) == 2
    assert found.states.columns[:2] == ("1", f"1 {plan.outputs[1]}")


@pytest.mark.filterwarnings("ignore::genie_samplers.UnfitWarning")
def test_rows_that_are_stages_have_no_table_of_steps() -> None:
    (found,) = plan_tables([("heun", gs.make_plan("edm_heun", SCHEDULE, 5))])
    assert found.steps is None and found.states is not None


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (lambda: gs.make_plan("ddim", SCHEDULE, 3, clip=1.0), "Not a table of numbers: row 0 clamps at 1.0"),
        (lambda: gs.make_plan("ddim", SCHEDULE, 40), "40 rows; up to 32 are shown."),
    ],
)
def test_a_plan_that_is_no_small_table_says_why(plan, message: str) -> None:
    (found,) = plan_tables([("plan", plan())])
    assert found.message.startswith(message) and found.steps is None and found.states is None


def test_a_plan_without_recipe_is_told_by_the_schedule_of_the_other() -> None:
    plan = gs.make_plan("ddim", SCHEDULE, 3)
    bare = replace(plan, recipe=None)
    found = plan_tables([("start", plan), ("learned", bare)])
    assert [tables.level for tables in found] == ["gamma", "gamma"] and found[1].end == ""
    (alone,) = plan_tables([("learned", bare)])
    assert alone.level == "t" and alone.states is not None
    assert alone.states.lines[0].at == measured(plan.times[0])
