"""k_diffusion.sample_*: the methods of textbooks, and of k-diffusion itself where it is installed.

The package needs torchvision, wandb and more; ``pip install --no-deps k-diffusion==0.1.1`` is enough for these tests,
which load its samplers alone. Without it every method is still held to its formulas in ``textbook.py``.

Tolerance: both sides are float64. The weights are exact to 1e-12 (docs/numerics.md), a step makes some ten roundings,
and the network passes on an error as less than twice of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from genie_ext.testing import assert_same_bits
from genie_samplers.integrations import k_diffusion as K

from . import textbook
from .denoisers import KARRAS, SHAPE, denoiser, k_diffusion_sampling, noise_of_steps, start

TOLERANCE = 1e-11
REAL = k_diffusion_sampling()
real_package = pytest.mark.skipif(
    REAL is None, reason="k-diffusion is not installed: pip install --no-deps k-diffusion"
)

LEVELS = {
    "to zero": [*KARRAS, 0.0],
    "ends in noise": KARRAS,
    "starts low": [0.29, 0.1, 0.03, 0.0],
    "one step": [2.0, 0.0],
    "one step in noise": [2.0, 1.0],
    "high": [700.0, 90.0, 8.0, 0.5, 0.0],
}
every_range = pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS)


def at(x: Tensor, level: float) -> Tensor:
    return denoiser(x, torch.full((len(x),), level, dtype=x.dtype))


def draws(seed: int = 1) -> Any:
    """The same normals, as an iterator."""
    sampler = noise_of_steps(seed)
    return iter(lambda: sampler(None, None), None)


def assert_close(x: Tensor, expected: Tensor) -> None:
    assert x.dtype == expected.dtype == torch.float64
    assert float((x - expected).abs().max()) <= TOLERANCE * float(expected.abs().max().clamp(min=1.0))


def double(levels: list[float]) -> Tensor:
    return torch.tensor(levels, dtype=torch.float64)


# --- textbooks


DETERMINISTIC: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], dict[str, Any]]] = {
    "euler": (K.sample_euler, textbook.euler, {}),
    "dpm_2": (K.sample_dpm_2, textbook.dpm_2, {}),
    "lms": (K.sample_lms, textbook.lms, {}),
    "lms-2": (K.sample_lms, textbook.lms, {"order": 2}),
    "dpmpp_2m": (K.sample_dpmpp_2m, textbook.dpmpp_2m, {}),
}


@every_range
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_a_deterministic_method_is_the_textbooks(name: str, levels: list[float]) -> None:
    ours, book, options = DETERMINISTIC[name]
    x = start(levels[0])
    assert_close(ours(denoiser, x, double(levels), **options), book(at, x, levels, **options))


@every_range
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_ipndm_is_the_textbooks(levels: list[float], order: int) -> None:
    x = start(levels[0])
    assert_close(K.sample_ipndm(denoiser, x, double(levels), max_order=order), textbook.ipndm(at, x, levels, order))


@every_range
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_euler_ancestral_is_the_textbooks(levels: list[float], eta: float) -> None:
    x = start(levels[0])
    y = K.sample_euler_ancestral(denoiser, x, double(levels), eta=eta, noise_sampler=noise_of_steps())
    assert_close(y, textbook.euler_ancestral(at, x, levels, draws(), eta))


@every_range
@pytest.mark.parametrize("churn", [0.0, 1.0, 40.0])
def test_heun_with_churn_is_the_textbooks(levels: list[float], churn: float) -> None:
    x = start(levels[0])
    y = K.sample_heun(denoiser, x, double(levels), s_churn=churn, s_noise=1.007, noise_sampler=noise_of_steps())
    assert_close(y, textbook.heun(at, x, levels, draws(), churn, 1.007))


@every_range
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_dpmpp_2m_sde_is_the_textbooks(levels: list[float], eta: float) -> None:
    x = start(levels[0])
    y = K.sample_dpmpp_2m_sde(denoiser, x, double(levels), eta=eta, noise_sampler=noise_of_steps())
    assert_close(y, textbook.dpmpp_2m_sde(at, x, levels, draws(), eta))


@pytest.mark.parametrize("n", range(1, 11))
def test_dpm_fast_is_the_textbooks(n: int) -> None:
    x = start()
    assert_close(K.sample_dpm_fast(denoiser, x, 0.03, 14.6, n), textbook.dpm_fast(at, x, 0.03, 14.6, n))


# --- the real package


THEIRS: dict[str, dict[str, Any]] = {
    "sample_euler": {},
    "sample_euler_ancestral": {},
    "sample_euler_ancestral eta": {"eta": 0.4, "s_noise": 1.1},
    "sample_heun": {},
    "sample_heun churn": {"s_churn": 10.0, "s_noise": 1.003},
    "sample_heun much churn": {"s_churn": 100.0},
    "sample_dpm_2": {},
    "sample_lms": {},
    "sample_lms order": {"order": 3},
    "sample_dpmpp_2m": {},
    "sample_dpmpp_2m_sde": {"noise_sampler": noise_of_steps},
    "sample_dpmpp_2m_sde eta": {"eta": 0.3, "s_noise": 0.9, "noise_sampler": noise_of_steps},
}


def result(module: Any, case: str, levels: list[float], **more: Any) -> Tensor:
    """Of one of the two libraries, with the same generator; a noise sampler is made anew."""
    options = {key: value() if key == "noise_sampler" else value for key, value in THEIRS[case].items()}
    torch.manual_seed(0)
    return getattr(module, case.split()[0])(denoiser, start(levels[0]), double(levels), disable=True, **options, **more)


# their dpmpp_2m_sde has no one step to 0: UnboundLocalError
CASES = [(case, name) for case in THEIRS for name in LEVELS if not ("2m_sde" in case and name == "one step")]


@real_package
@pytest.mark.parametrize(("case", "levels"), CASES)
def test_the_result_is_k_diffusions(case: str, levels: str) -> None:
    assert_close(result(K, case, LEVELS[levels]), result(REAL, case, LEVELS[levels]))


@real_package
@pytest.mark.parametrize("case", THEIRS)
def test_callbacks_see_what_k_diffusions_see(case: str) -> None:
    ours, theirs = [], []
    result(K, case, LEVELS["to zero"], callback=ours.append)
    result(REAL, case, LEVELS["to zero"], callback=theirs.append)
    assert [seen["i"] for seen in ours] == [seen["i"] for seen in theirs]
    assert [set(seen) for seen in ours] == [set(seen) for seen in theirs]
    stacked = [[torch.stack([seen[key] for seen in each]) for each in (ours, theirs)] for key in ("x", "denoised")]
    assert_close(*stacked[0])
    assert_close(*stacked[1])
    levels = [[float(seen[key]) for seen in each for key in ("sigma", "sigma_hat")] for each in (ours, theirs)]
    assert levels[0] == pytest.approx(levels[1], rel=TOLERANCE)


@real_package
@pytest.mark.parametrize("n", range(3, 11))
def test_dpm_fast_is_k_diffusions(n: int) -> None:
    """Their levels are made in float32: sigma is off by some 4e-7 of it, of which the result keeps the most."""
    assert REAL is not None
    ours, theirs = (module.sample_dpm_fast(denoiser, start(), 0.03, 14.6, n, disable=True) for module in (K, REAL))
    assert float((ours - theirs).abs().max()) <= 1e-6 * float(theirs.abs().max())


# --- flow


@pytest.mark.parametrize("levels", [[1.0, 0.9, 0.6, 0.2, 0.0], [0.7, 0.4, 0.1]], ids=["from noise", "partial"])
def test_methods_of_flow_are_those_of_k_diffusion_in_t(levels: list[float]) -> None:
    """On the straight path the slope is (x - x_0) / t, too: k-diffusion's own formula."""
    x = start(levels[0])
    assert_close(K.sample_euler(denoiser, x, double(levels), flow=True), textbook.euler(at, x, levels))
    assert_close(K.sample_lms(denoiser, x, double(levels), flow=True), textbook.lms(at, x, levels))
    assert_close(K.sample_heun(denoiser, x, double(levels), flow=True), textbook.heun(at, x, levels, draws()))


@pytest.mark.parametrize(
    "name", ["dpmpp_2m", "dpmpp_2m_sde", "euler_ancestral", "dpm_2", "ipndm4", "deis_log_ab2", "unipc3"]
)
def test_a_method_in_sigma_is_the_same_on_flow_in_other_coordinates(name: str) -> None:
    """x / (1 - t) at sigma = t / (1 - t) is k-diffusion's x."""
    t = double([0.93, 0.8, 0.55, 0.3, 0.1])
    sigma = t / (1.0 - t)

    def of_flow(x: Tensor, share: Tensor) -> Tensor:
        kept = (1.0 - share).reshape(-1, 1, 1)
        return denoiser(x / kept, share / (1.0 - share))

    x = start(float(t[0]))
    flow = K.sample(name, of_flow, x, t, flow=True, seed=3)
    assert_close(flow, (1.0 - t[-1]) * K.sample(name, denoiser, x / (1.0 - t[0]), sigma, seed=3))


def test_a_flow_of_one_point_ends_there_from_pure_noise() -> None:
    point = torch.full(SHAPE, 0.75, dtype=torch.float64)
    levels = double([1.0, 0.8, 0.5, 0.2, 0.0])
    ends = [K.sample(name, lambda x, s: point, start(1.0), levels, flow=True) for name in ("dpmpp_2m", "lms", "auto")]
    assert_close(torch.stack(ends), point.expand(3, *SHAPE))


def test_names_are_those_of_the_functions() -> None:
    levels = double(LEVELS["to zero"])
    for_names = [K.sample(name, denoiser, start(), levels) for name in ("euler", "heun", "dpm_2", "lms", "dpmpp_2m")]
    functions = (K.sample_euler, K.sample_heun, K.sample_dpm_2, K.sample_lms, K.sample_dpmpp_2m)
    assert_same_bits(torch.stack(for_names), torch.stack([of(denoiser, start(), levels) for of in functions]))
