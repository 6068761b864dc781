"""Tables of beta against 50-digit formulas and against diffusers."""

import numpy as np
import pytest
from mpmath import cos, mp, mpf, sqrt

from genie_samplers import schedules

pytestmark = pytest.mark.filterwarnings("error")

EPS = float(np.finfo(np.float64).eps)
UNIT = 2.0**-24  # half a unit in the last place of 1 in float32
TABLES = {
    "linear": schedules.linear_betas(),
    "scaled_linear": schedules.scaled_linear_betas(beta_start=1e-4, beta_end=0.02),
    "squaredcos_cap_v2": schedules.squaredcos_betas(),
}
every_table = pytest.mark.parametrize("name", TABLES)


@pytest.fixture(autouse=True)
def fifty_digits():
    with mp.workdps(50):
        yield


def exact_betas(name: str) -> list:
    first, last, steps = mpf(1e-4), mpf(0.02), 1000
    if name == "linear":
        return mp.linspace(first, last, steps)
    if name == "scaled_linear":
        return [root**2 for root in mp.linspace(sqrt(first), sqrt(last), steps)]
    s = mpf(0.008)
    cosine = [cos((mpf(i) / steps + s) / (1 + s) * mp.pi / 2) for i in range(steps + 1)]
    return [min(1 - (cosine[i + 1] / cosine[i]) ** 2, mpf(0.999)) for i in range(steps)]


@every_table
def test_betas_follow_their_formulas(name):
    """A cosine of up to 1.6 costs 2 roundings, a sine of it likewise; two of each and the rest make 16."""
    exact = np.array(exact_betas(name))
    assert np.all(np.abs(TABLES[name] - exact) / exact <= 16.0 * EPS)


@every_table
def test_a_schedule_from_betas_has_the_product_of_one_minus_beta(name):
    """log alpha-bar is a sum of n terms of one sign: n roundings of it at most."""
    exact, bar = [], mpf(1)
    exact = [bar := bar * (1 - mpf(beta)) for beta in TABLES[name].tolist()]
    table = schedules.from_betas(TABLES[name]).alphas_cumprod
    log_bar = -np.log(np.array(table))
    errors = np.abs(np.array(table) - np.array(exact)) / np.array(exact)
    assert np.all(errors <= EPS * (2.0 + np.arange(1000) * log_bar))


def of_diffusers(name: str, **options: bool) -> np.ndarray:
    """alphas_cumprod, float32 and so promoted, of the scheduler with this table."""
    scheduler = pytest.importorskip("diffusers").DDIMScheduler(beta_schedule=name, **options)
    return scheduler.alphas_cumprod.double().numpy()


def float32_error(name: str) -> np.ndarray:
    """Bound of the relative error of diffusers' table: 1 - beta and its product round, and so does beta before."""
    betas = TABLES[name]
    return UNIT * np.cumsum(2.0 + 4.0 * betas / (1.0 - betas)) * 1.01


@every_table
def test_alphas_cumprod_are_those_of_diffusers(name):
    table = np.array(schedules.from_betas(TABLES[name]).alphas_cumprod)
    assert np.all(np.abs(of_diffusers(name) - table) <= float32_error(name) * table)


@every_table
def test_zero_terminal_snr_is_that_of_diffusers(name):
    """Both square roots move by half the relative error of their alpha-bar; then alphas, betas and product round."""
    plain = np.array(schedules.from_betas(TABLES[name]).alphas_cumprod)
    table = np.array(schedules.from_betas(TABLES[name], zero_terminal_snr=True).alphas_cumprod)
    moved = np.sqrt(plain) * (0.5 * float32_error(name) + 4.0 * UNIT)
    product = 4.0 * UNIT * np.cumsum(table[:-1] / np.append(table[1:-1], table[-2]))
    bound = 2.0 * np.sqrt(table) * (moved + moved[-1]) * 1.1 + np.append(product, 0.0) * table
    error = np.abs(of_diffusers(name, rescale_betas_zero_snr=True) - table)
    assert np.all(error[:-1] <= bound[:-1])


@every_table
def test_zero_terminal_snr_follows_its_algorithm(name):
    """sqrt(alpha-bar), shifted so that the last is 0, then scaled so that the first is as before."""
    plain = [sqrt(mpf(bar)) for bar in schedules.from_betas(TABLES[name]).alphas_cumprod]
    exact = np.array([((a - plain[-1]) * plain[0] / (plain[0] - plain[-1])) ** 2 for a in plain[:-1]])
    table = np.array(schedules.from_betas(TABLES[name], zero_terminal_snr=True).alphas_cumprod[:-1])
    lost = np.sqrt(np.array(plain[:-1], dtype=np.float64)) - float(plain[-1])
    roundings = 2000.0 * (1.0 + np.sqrt(np.array(plain[:-1], dtype=np.float64)) / lost)
    assert np.all(np.abs(table - exact) / exact <= roundings * EPS)


@every_table
def test_zero_terminal_snr_ends_in_pure_noise(name):
    schedule = schedules.from_betas(TABLES[name], zero_terminal_snr=True)
    assert schedule.starts_in_pure_noise
    assert (schedule.alpha(999.0), schedule.sigma(999.0), schedule.gamma(999.0)) == (0.0, 1.0, np.inf)
    assert not schedules.from_betas(TABLES[name]).starts_in_pure_noise


def test_the_interpolation_is_passed_on():
    schedule = schedules.from_betas([0.1, 0.2], interpolation="alpha_bar")
    assert schedule == schedules.from_alphas_cumprod(schedule.alphas_cumprod, interpolation="alpha_bar")


@pytest.mark.parametrize(
    ("betas", "message"),
    [
        ([0.1], r"betas has shape \(1,\): give 2 or more"),
        ([[0.1, 0.2]], r"betas has shape \(1, 2\)"),
        ([0.1, 0.0], r"betas\[1\]=0.0: every beta lies inside \(0, 1\)"),
        ([1.0, 0.1], r"betas\[0\]=1.0"),
        ([0.1, 0.2, np.nan], r"betas\[2\]=nan"),
    ],
)
def test_betas_that_are_none_are_refused(betas, message):
    with pytest.raises(ValueError, match=message):
        schedules.from_betas(betas)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (schedules.linear_betas, {"beta_start": 0.0}, "beta_start=0.0, beta_end=0.02: choose both inside"),
        (schedules.scaled_linear_betas, {"beta_end": 1.0}, "beta_end=1.0: choose both inside"),
        (schedules.squaredcos_betas, {"s": -1.0}, "s=-1.0, cap=0.999: choose 0 <= s <= 1"),
        (schedules.squaredcos_betas, {"cap": 1.0}, "cap=1.0: choose .* 0 < cap < 1"),
        (schedules.linear_betas, {"steps": 1}, "steps=1: give 2 or more"),
    ],
)
def test_impossible_tables_are_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize("flag", [1, "yes", None])
def test_zero_terminal_snr_is_a_flag(flag):
    with pytest.raises(TypeError, match=r"zero_terminal_snr=.*: give True or False"):
        schedules.from_betas([0.1, 0.2], zero_terminal_snr=flag)
