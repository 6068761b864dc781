"""Grids of whole indices against diffusers, the published sequence of DDIM, and their definitions."""

import numpy as np
import pytest

import genie_samplers as gs
from genie_samplers import grids, schedules

pytestmark = pytest.mark.filterwarnings("error")

TABLE = schedules.from_betas(schedules.linear_betas())
SHORT = schedules.from_betas(schedules.linear_betas(10))
every_grid = pytest.mark.parametrize("name", grids.TABLE_GRIDS)


@pytest.fixture
def ddim():
    """Builds diffusers' scheduler of a table of 1000."""
    return pytest.importorskip("diffusers").DDIMScheduler


@pytest.mark.parametrize("steps", [2, 3, 7, 10, 48, 50, 56, 96, 999, 1000])
@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
def test_the_indices_are_the_timesteps_of_diffusers(ddim, spacing, steps):
    scheduler = ddim(timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    grid = grids.DISCRETE_GRIDS[spacing](TABLE, steps)
    assert grid.tolist() == [*scheduler.timesteps.tolist(), -1.0]


def test_rounding_adds_no_step_to_the_trailing_indices():
    """np.arange(1000, 0, -1000 / 61) has 62 entries."""
    grid = grids.discrete_trailing(TABLE, 61)
    assert grid.shape == (62,)
    assert grid[[0, 60, 61]].tolist() == [999.0, 15.0, -1.0]


@pytest.mark.parametrize("steps", [1, 10, 30])
def test_an_offset_moves_the_leading_indices_as_in_diffusers(ddim, steps):
    scheduler = ddim(timestep_spacing="leading", steps_offset=1)
    scheduler.set_timesteps(steps)
    grid = grids.discrete_leading(TABLE, steps, steps_offset=1)
    assert grid.tolist() == [*scheduler.timesteps.tolist(), -1.0]


def test_the_labels_of_a_shifted_flow_grid_are_the_timesteps_of_diffusers():
    """Theirs are float32 after 6 roundings and start at t = 1, 1e-9 above ours (times a slope of at most 9)."""
    flow, steps = schedules.flow(t_max=1.0 - 1e-9), 10
    scheduler = pytest.importorskip("diffusers").FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps))
    labels = flow.label(grids.shifted_t(flow, steps, shift=3.0, t_end=0.0))
    assert np.abs(labels[:-1] - scheduler.timesteps.numpy()).max() <= 1000.0 * (6.0 * 2.0**-24 + 9e-9)


def test_ten_quadratic_steps_are_those_of_ddim():
    published = [0, 9, 39, 88, 158, 246, 355, 483, 632, 800]
    assert grids.ddim_quadratic(TABLE, 10).tolist() == [*published[::-1], -1]


def test_quadratic_indices_that_are_whole_are_not_lost_to_rounding():
    assert grids.ddim_quadratic(TABLE, 21).tolist() == [*(2 * i * i for i in range(20, -1, -1)), -1]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("linspace", 999.0),
        ("leading", 0.0),
        ("trailing", 999.0),
        ("ddim_quadratic", 800.0),
        ("dpm_linspace", 999.0),
        ("dpm_leading", 500.0),
        ("euler_linspace", 999.0),
    ],
)
def test_one_step_goes_from_the_first_index_to_clean_data(name, start):
    assert grids.DISCRETE_GRIDS[name](TABLE, 1).tolist() == [start, -1.0]


@pytest.mark.parametrize("steps", [2, 9, 29])
@every_grid
def test_a_discrete_grid_is_steps_falling_indices_and_then_clean_data(name, steps):
    grid = grids.DISCRETE_GRIDS[name](TABLE, steps)
    assert (grid.dtype, grid.shape) == (np.float64, (steps + 1,))
    assert grid[-2] >= 0.0 and grid[0] <= 999.0
    assert np.all(np.diff(grid) < 0.0)
    assert grid[-1] == TABLE.t_zero


@pytest.mark.parametrize("steps", [2, 9, 29])
@pytest.mark.parametrize("name", sorted({*grids.TABLE_GRIDS} - {"euler_linspace"}))
def test_the_indices_of_a_discrete_grid_are_whole(name, steps):
    assert set(grids.DISCRETE_GRIDS[name](TABLE, steps)) <= set(range(-1, 1000))


@every_grid
def test_a_schedule_without_a_table_is_refused(name):
    with pytest.raises(
        ValueError, match=r"schedule=VPLinear.* has no table of indices: take uniform_t, or a schedule of"
    ):
        grids.DISCRETE_GRIDS[name](schedules.vp_linear(), 5)


@every_grid
def test_a_discrete_grid_belongs_to_a_schedule(name):
    with pytest.raises(TypeError, match="schedule='vp': give a Schedule"):
        grids.DISCRETE_GRIDS[name]("vp", 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("steps", "message"), [(0, "steps=0: give 1 or more"), (11, "steps=11: the table has 10 indices")]
)
@every_grid
def test_a_number_of_steps_that_the_table_cannot_hold_is_refused(name, steps, message):
    with pytest.raises(ValueError, match=message):
        grids.DISCRETE_GRIDS[name](SHORT, steps)


@pytest.mark.parametrize("steps", [True, 5.0, "5", None])
@every_grid
def test_steps_that_are_no_int_are_a_type_error(name, steps):
    with pytest.raises(TypeError, match=r"steps=.*: give an int"):
        grids.DISCRETE_GRIDS[name](TABLE, steps)


def test_quadratic_steps_of_equal_indices_are_refused():
    with pytest.raises(
        ValueError, match=r"steps=30: two indices .* of 1000 are equal; take at most 29 steps, or quadratic_t"
    ):
        grids.ddim_quadratic(TABLE, 30)


@pytest.mark.parametrize(
    ("steps_offset", "message"),
    [(20, "steps_offset=20: with steps=99 give at most {}, the table ends at 999"), (-1, "0 or more")],
)
@pytest.mark.parametrize(("grid", "most"), [(grids.discrete_leading, 19), (grids.dpm_leading, 9)])
def test_an_offset_beyond_the_table_is_refused(grid, most, steps_offset, message):
    with pytest.raises(ValueError, match=message.format(most)):
        grid(TABLE, 99, steps_offset=steps_offset)


@pytest.mark.parametrize("grid", [grids.dpm_linspace, grids.dpm_leading])
def test_the_multistep_grids_leave_one_index_out(grid):
    assert grid(SHORT, 9).tolist() == [*range(9, 0, -1), -1]
    with pytest.raises(ValueError, match="steps=10: the table has 10 indices, take at most 9 steps"):
        grid(SHORT, 10)


def test_the_table_of_discrete_grids_is_complete_and_read_only():
    of_tables = ["linspace", "leading", "trailing", "ddim_quadratic", "dpm_linspace", "dpm_leading", "euler_linspace"]
    assert list(grids.TABLE_GRIDS) == of_tables
    assert list(grids.DISCRETE_GRIDS) == [*of_tables, *grids.FLOW_GRIDS, "beta"]
    with pytest.raises(TypeError):
        grids.DISCRETE_GRIDS["mine"] = grids.discrete_linspace  # type: ignore[index]


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m"])
@every_grid
def test_a_plan_on_a_discrete_grid_ends_with_clean_data(name, solver):
    plan = gs.make_plan(solver, TABLE, 9, grid=name)
    assert plan.times == tuple(grids.DISCRETE_GRIDS[name](TABLE, 9)[:-1])
    assert plan.nfe == 9


@pytest.mark.parametrize("name", ["linspace", "leading", "ddim_quadratic", "euler_linspace"])
def test_a_plan_without_denoising_leaves_the_step_to_clean_data_out(name):
    plan = gs.make_plan("ddim", TABLE, 9, grid=name, denoise=False)
    assert plan.times == tuple(grids.DISCRETE_GRIDS[name](TABLE, 10)[:-2])
    assert plan.nfe == 9


def test_encoding_on_a_discrete_grid_rises_from_its_last_index():
    plan = gs.make_plan("ddim", TABLE, 9, grid="linspace", direction="encode")
    assert plan.times == tuple(grids.discrete_linspace(TABLE, 10)[-2:0:-1])
