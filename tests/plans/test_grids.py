"""Time grids against 50-digit formulas and the golden grids of DEIS and GENIE."""

from typing import Any

import numpy as np
import pytest
from mpmath import expm1, log, log1p, mp, mpf, sqrt

from genie_samplers import grids, schedules

pytestmark = pytest.mark.filterwarnings("error")

Exact = Any  # an mpmath number
EPS = float(np.finfo(np.float64).eps)
VP = schedules.vp_linear()
EDM = schedules.edm()
FLOW = schedules.flow()
DDPM = schedules.from_betas(schedules.linear_betas())
SCHEDULES = {
    "vp_linear": VP,
    "vp_cosine": schedules.vp_cosine(normalized=False),
    "sub_vp": schedules.sub_vp(),
    "ve": schedules.ve(),
    "edm": EDM,
    "flow": FLOW,
    "ddpm": DDPM,
}


@pytest.fixture(autouse=True)
def fifty_digits():
    with mp.workdps(50):
        yield


def vp_gamma(t: Exact) -> Exact:
    b0, b1 = mpf(VP.beta_min), mpf(VP.beta_max)
    return sqrt(expm1((b1 - b0) * t**2 / 2 + b0 * t))


def vp_time(gamma: Exact) -> Exact:
    b0, slope = mpf(VP.beta_min), mpf(VP.beta_max) - mpf(VP.beta_min)
    return (-b0 + sqrt(b0**2 + 2 * slope * log1p(gamma**2))) / slope


def power_law(first: Exact, last: Exact, steps: int, power: float) -> list[Exact]:
    """value_i = (first^(1/k) + u (last^(1/k) - first^(1/k)))^k, u = i / steps."""
    a, b, k = first ** (1 / mpf(power)), last ** (1 / mpf(power)), mpf(power)
    return [(a + mpf(i) / steps * (b - a)) ** k for i in range(steps + 1)]


def relative_error(grid: np.ndarray, exact: list[Exact]) -> float:
    return max(float(abs(t / true - 1)) for t, true in zip(grid.tolist(), exact, strict=True))


@pytest.mark.parametrize("t_end", [1e-3, 1e-4])
@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0, 7.0])
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_power_t_follows_its_formula(steps, power, t_end):
    """Two roots, a sum and a product, at most 5 roundings, raised to the power."""
    grid = grids.power_t(VP, steps, power=power, t_end=t_end)
    exact = power_law(mpf(1), mpf(t_end), steps, power)
    assert relative_error(grid, exact) <= (5.0 * power + 2.0) * EPS


@pytest.mark.parametrize("t_end", [1e-3, 1e-4])
@pytest.mark.parametrize("power", [1.0, 3.0, 7.0])
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_power_gamma_follows_its_formula(steps, power, t_end):
    """As power_t; gamma to t at most doubles a relative error, and adds 12 roundings of its own."""
    grid = grids.power_gamma(VP, steps, power=power, t_end=t_end)
    exact = power_law(vp_gamma(mpf(1)), vp_gamma(mpf(t_end)), steps, power)
    assert relative_error(grid, [vp_time(g) for g in exact]) <= (10.0 * power + 16.0) * EPS


@pytest.mark.parametrize("t_end", [1e-3, 1e-4])
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_uniform_half_log_snr_follows_its_formula(steps, t_end):
    """|log gamma| <= 6 in at most 3 roundings is a relative error of gamma; then as above."""
    grid = grids.uniform_half_log_snr(VP, steps, t_end=t_end)
    high, low = log(vp_gamma(mpf(1))), log(vp_gamma(mpf(t_end)))
    exact = [vp_time(mp.exp(s)) for s in power_law(high, low, steps, 1.0)]
    assert relative_error(grid, exact) <= (2.0 * 18.0 + 16.0) * EPS


@pytest.mark.parametrize("t_end", [1e-3, 0.0])
@pytest.mark.parametrize("shift", [1.0, 3.0, 11.5])
def test_a_shifted_grid_of_flow_follows_its_formula(shift, t_end):
    """t and 1 - t in at most 20 roundings each, on the way to the uniform times and back."""
    grid = grids.shifted_t(FLOW, 7, shift=shift, t_end=t_end)
    first, last = (t / (shift - (shift - 1) * t) for t in (mpf(FLOW.t_max), mpf(t_end)))
    uniform = [first + mpf(i) / 7 * (last - first) for i in range(8)]
    exact = [shift * t / (1 + (shift - 1) * t) for t in uniform]
    assert max(abs(t - true) for t, true in zip(grid.tolist(), exact, strict=True)) <= 40.0 * EPS


@pytest.mark.parametrize("schedule", [VP, DDPM], ids=["vp_linear", "ddpm"])
def test_a_shifted_grid_has_the_gammas_of_the_uniform_one_times_the_shift(schedule):
    """32 roundings from gamma to t and back, as in the golden grids."""
    start, end = schedule.time_of_gamma(2.0 * schedule.gamma(np.array([0.6, 0.1]) * schedule.t_max))
    grid = grids.shifted_t(schedule, 6, shift=2.0, t_start=start, t_end=end)
    uniform = np.linspace(0.6, 0.1, 7) * schedule.t_max
    condition = schedule.t_max * schedule.diffusion_squared(grid) / schedule.sigma(grid) ** 2
    error = np.abs(schedule.gamma(grid) / (2.0 * schedule.gamma(uniform)) - 1.0)
    assert np.all(error <= (32.0 + 8.0 * condition) * EPS)


@pytest.mark.parametrize("shift", [0.99, 0.0, np.inf, np.nan])
def test_a_shift_below_one_is_refused_from_a_finite_gamma(shift):
    with pytest.raises(ValueError, match=r"shift=.*: give a finite number, of 1 or more where the grid starts"):
        grids.shifted_t(VP, 4, shift=shift)


@pytest.mark.parametrize("steps", [1, 5, 18])
def test_karras_on_edm_follows_equation_5(steps):
    grid = grids.GRIDS["karras"](EDM, steps)
    exact = power_law(mpf(80), mpf(0.002), steps, 7.0)
    assert relative_error(grid, exact) <= (5.0 * 7.0 + 2.0) * EPS


def digits(printed: str) -> float:
    """Half a unit of the last printed digit."""
    return 0.5 * 10.0 ** -len(printed.partition(".")[2])


@pytest.mark.parametrize(
    ("index", "t", "gamma"),
    [
        (0, "1", "152.166970283946"),
        (1, ".650159288512539", "8.40176924473115"),
        (2, ".375338932768808", "1.79378676735278"),
        (3, ".175538932768808", ".618755195896413"),
        (4, ".0507592885125388", ".176603060636869"),
        (5, ".001", ".010485992786703"),
    ],
)
def test_the_golden_quadratic_grid_agrees_in_every_printed_digit(index, t, gamma):
    grid = grids.quadratic_t(VP, 5, t_end=1e-3)
    assert abs(grid[index] - float(t)) <= digits(t) + 4.0 * EPS * float(t)
    assert abs(VP.gamma(grid)[index] - float(gamma)) <= digits(gamma) + 32.0 * EPS * float(gamma)


@pytest.mark.parametrize(
    ("index", "gamma"),
    list(enumerate(["152.16697", "25.14885", "6.11166", "2.03443", "0.72381", "0.01049"])),
)
def test_the_golden_uniform_grid_of_genie_agrees_in_every_printed_digit(index, gamma):
    grid = grids.uniform_t(VP, 5, t_end=1e-3)
    assert abs(VP.gamma(grid)[index] - float(gamma)) <= digits(gamma)


def test_a_discrete_checkpoint_gets_the_quadratic_grid_of_deis():
    """Fractional labels 999 (1 - i / 10)^2, as the torch version of DEIS returns them."""
    exact = [999 * (1 - mpf(i) / 10) ** 2 for i in range(10)]
    grid = grids.quadratic_t(DDPM, 10)
    assert relative_error(grid[:-1], exact) <= 12.0 * EPS
    assert grid[-1] == 0.0


def test_a_discrete_grid_that_ends_below_zero_counts_from_t_zero():
    grid = grids.quadratic_t(DDPM, 10, t_end=-1.0)
    exact = [1000 * (1 - mpf(i) / 10) ** 2 for i in range(10)]
    assert relative_error(grid[:-1] + 1.0, exact) <= 12.0 * EPS
    assert grid[-1] == -1.0


@pytest.mark.parametrize("steps", [1, 2, 7, 50])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", grids.GRIDS)
def test_every_grid_falls_from_t_max_to_t_end_exactly(name, schedule, steps):
    grid = grids.GRIDS[name](SCHEDULES[schedule], steps)
    assert grid.dtype == np.float64
    assert grid.shape == (steps + 1,)
    assert (grid[0], grid[-1]) == (SCHEDULES[schedule].t_max, SCHEDULES[schedule].t_end)
    assert np.all(np.diff(grid) < 0.0)


@pytest.mark.parametrize(("t_start", "t_end"), [(0.7, 0.1), (1.0, 1e-5), (0.3, 0.29)])
@pytest.mark.parametrize("name", grids.GRIDS)
def test_every_grid_meets_the_ends_it_is_given_exactly(name, t_start, t_end):
    grid = grids.GRIDS[name](VP, 7, t_start=t_start, t_end=t_end)
    assert (grid[0], grid[-1]) == (t_start, t_end)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", ["uniform_t", "quadratic_t", "karras"])
def test_grids_of_powers_may_end_at_t_zero(name, schedule):
    t_zero = SCHEDULES[schedule].t_zero
    grid = grids.GRIDS[name](SCHEDULES[schedule], 6, t_end=t_zero)
    assert grid[-1] == t_zero
    assert np.all(np.diff(grid) < 0.0)


@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - {"flow"}))
def test_a_log_snr_grid_may_not_end_at_t_zero(schedule):
    with pytest.raises(ValueError, match=r"is t_zero, .* with_zero\(schedule, grid\)"):
        grids.uniform_half_log_snr(SCHEDULES[schedule], 6, t_end=SCHEDULES[schedule].t_zero)


def test_with_zero_appends_t_zero_and_leaves_the_rest():
    grid = grids.uniform_half_log_snr(DDPM, 6)
    extended = grids.with_zero(DDPM, grid)
    np.testing.assert_array_equal(extended, [*grid, -1.0])


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ([0.1, 0.9], "grid rises from 0.1 to 0.9: give it falling"),
        ([0.9, 0.0], "grid ends at t_zero=0.0 already"),
    ],
)
def test_with_zero_refuses_what_it_cannot_extend(grid, message):
    with pytest.raises(ValueError, match=message):
        grids.with_zero(VP, grid)


@pytest.mark.parametrize("times", [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0], (1, 0)])
def test_given_times_are_returned_as_float64(times):
    grid = grids.given(VP, times)
    assert grid.dtype == np.float64
    np.testing.assert_array_equal(grid, times)


def test_given_times_are_copied():
    times = np.array([1.0, 0.5])
    grids.given(VP, times)[0] = 0.9
    assert times[0] == 1.0


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.5], r"times has shape \(1,\): give 2 or more times in 1-D"),
        (0.5, r"times has shape \(\)"),
        ([[1.0, 0.5]], r"times has shape \(1, 2\)"),
        ([1.0, 0.5, 0.5], r"times\[2\]=0.5 after 0.5: give times that all fall"),
        ([1.0, 0.5, 0.7], r"times\[2\]=0.7 after 0.5"),
        ([0.1, 0.5, 0.2], r"times\[2\]=0.2 after 0.5"),
        ([0.5, 0.5], r"times\[1\]=0.5 after 0.5"),
        ([1.0, np.nan], "=nan is outside"),
        ([1.1, 0.5], "=1.1 is outside"),
        ([[1.0], [0.5, 0.1]], "times: lists of different lengths"),
    ],
)
def test_given_times_that_are_no_grid_are_refused(times, message):
    with pytest.raises(ValueError, match=message):
        grids.given(VP, times)


@pytest.mark.parametrize("steps", [0, -3])
@pytest.mark.parametrize("name", grids.GRIDS)
def test_fewer_than_one_step_is_refused(name, steps):
    with pytest.raises(ValueError, match=f"steps={steps}: give 1 or more"):
        grids.GRIDS[name](VP, steps)


@pytest.mark.parametrize("steps", [True, 5.0, "5", None])
@pytest.mark.parametrize("name", grids.GRIDS)
def test_steps_that_are_no_int_are_a_type_error(name, steps):
    with pytest.raises(TypeError, match=r"steps=.*: give an int"):
        grids.GRIDS[name](VP, steps)


def test_a_numpy_int_counts_as_an_int():
    np.testing.assert_array_equal(grids.GRIDS["uniform_t"](VP, *np.array([4])), grids.uniform_t(VP, 4))


@pytest.mark.parametrize(("t_start", "t_end"), [(0.1, 0.5), (0.5, 0.5), (1.5, 0.1), (1.0, -0.1), (np.nan, 0.1)])
@pytest.mark.parametrize("name", grids.GRIDS)
def test_ends_that_do_not_fall_inside_the_schedule_are_refused(name, t_start, t_end):
    with pytest.raises(ValueError, match=r"t_start=.*: choose 0.0 <= t_end < t_start <= 1.0"):
        grids.GRIDS[name](VP, 4, t_start=t_start, t_end=t_end)


@pytest.mark.parametrize("power", [0.0, -2.0, np.inf, np.nan])
@pytest.mark.parametrize("grid", [grids.power_t, grids.power_gamma])
def test_a_power_that_is_not_positive_is_refused(grid, power):
    with pytest.raises(ValueError, match=r"power=.*: give a positive finite number"):
        grid(VP, 4, power=power)


@pytest.mark.parametrize("power", [1e-4, 1e-310])
def test_a_power_too_small_for_float64_is_refused(power):
    with pytest.raises(ValueError, match=r"power=.*: 152.*\^\(1/power\) is beyond float64, give a larger power"):
        grids.power_gamma(VP, 4, power=power)


@pytest.mark.parametrize("value", ["0.5", True, [0.5]])
@pytest.mark.parametrize("option", ["power", "t_start", "t_end"])
def test_options_that_are_no_real_numbers_are_a_type_error(option, value):
    with pytest.raises(TypeError, match=f"{option}=.*: give a real number"):
        grids.power_gamma(VP, 4, **{option: value})


@pytest.mark.parametrize("build", [lambda s: grids.uniform_t(s, 4), lambda s: grids.given(s, [1.0, 0.5])])
def test_a_grid_belongs_to_a_schedule(build):
    with pytest.raises(TypeError, match="schedule='vp': give a Schedule, for example"):
        build("vp")


def test_steps_too_many_for_float64_are_refused():
    with pytest.raises(ValueError, match=r"steps=50: two times of the grid are equal in float64"):
        grids.uniform_t(VP, 50, t_start=0.5 + 4.0 * EPS, t_end=0.5)


def test_the_table_of_grids_is_complete_and_read_only():
    assert list(grids.GRIDS) == ["uniform_t", "quadratic_t", "shifted_t", "karras", "log_snr"]
    with pytest.raises(TypeError):
        grids.GRIDS["mine"] = grids.uniform_t  # type: ignore[index]


@pytest.mark.parametrize("way", [1, -1], ids=["falling", "rising"])
@pytest.mark.parametrize("parts", [1, 3])
def test_subdivided_keeps_the_times_and_cuts_steps_equally_in_log_gamma(parts: int, way: int) -> None:
    times = grids.uniform_t(VP, 5)[::way]
    fine = grids.subdivided(VP, times, parts)
    assert np.array_equal(fine[::parts], times)
    widths = np.diff(VP.log_gamma(fine)).reshape(5, parts)
    assert widths == pytest.approx(np.repeat(np.diff(VP.log_gamma(times)) / parts, parts).reshape(5, parts), rel=1e-9)


def test_steps_at_infinite_log_gamma_are_cut_equally_in_the_share_of_noise() -> None:
    flow = gs.schedules.flow()
    fine = grids.subdivided(flow, [1.0, 0.75, 0.5, 0.0], 4)
    assert fine[:5].tolist() == [1.0, 0.9375, 0.875, 0.8125, 0.75]
    assert np.diff(flow.log_gamma(fine[4:9])) == pytest.approx(np.log(1.0 / 3.0) / 4, rel=1e-12)
    assert fine[8:].tolist() == [0.5, 0.375, 0.25, 0.125, 0.0]


def test_a_step_from_noise_to_data_is_cut_equally_in_the_share_of_noise() -> None:
    assert grids.subdivided(gs.schedules.flow(), [1.0, 0.0], 4).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
