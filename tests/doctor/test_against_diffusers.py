"""What the doctor says of a class is what diffusers 0.42 does: its times, its noise levels and its result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers")

from genie_samplers.doctor import examine
from genie_samplers.doctor.emulate import emulated
from genie_samplers.doctor.settings import settings_of
from genie_samplers.doctor.steps import Steps, steps_of
from genie_samplers.schedules import from_diffusers

from .real import VARIANCES, config_of, real_deviations, real_scheduler, sampled_deviations

SPACINGS = [{"timestep_spacing": spacing} for spacing in ("linspace", "leading", "trailing")]
RESPACED = [{"use_karras_sigmas": True}, {"use_exponential_sigmas": True}, {"use_beta_sigmas": True}]
FLOW = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
ZERO_SNR = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
V = {"prediction_type": "v_prediction", "steps_offset": 1}
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "DDIM": [*SPACINGS, {"set_alpha_to_one": False}, ZERO_SNR, V, {"prediction_type": "sample"}],
    "PNDM": [{"skip_prk_steps": True, **each} for each in (*SPACINGS, {"set_alpha_to_one": True}, V)],
    "EulerDiscrete": [*SPACINGS, *RESPACED, {"final_sigmas_type": "sigma_min"}, V, ZERO_SNR],
    "HeunDiscrete": [*SPACINGS, *RESPACED, V],
    "DEISMultistep": [
        *SPACINGS, *RESPACED, FLOW, {"solver_order": 3}, {"solver_order": 1}, V, {"lower_order_final": False},
    ],
    "DPMSolverMultistep": [
        *SPACINGS, *RESPACED, FLOW, {"solver_order": 3}, {"solver_type": "heun"}, {"use_lu_lambdas": True}, ZERO_SNR, V,
        {"final_sigmas_type": "sigma_min"}, {"euler_at_final": True}, {"lower_order_final": False},
        {**COSINE, "lambda_min_clipped": -5.1}, COSINE,
    ],
    "UniPCMultistep": [
        *SPACINGS, *RESPACED, FLOW, {"solver_order": 3}, {"solver_type": "bh1", "final_sigmas_type": "sigma_min"},
        {"solver_type": "bh1"}, ZERO_SNR, V, {"final_sigmas_type": "sigma_min"}, {"disable_corrector": [0]},
        {"lower_order_final": False, "solver_order": 3, "final_sigmas_type": "sigma_min"},
    ],
    "FlowMatchEulerDiscrete": [
        {}, {"shift": 3.0}, {"shift": 3.0, **RESPACED[0]}, RESPACED[1], RESPACED[2], {"shift_terminal": 0.1},
        {"use_dynamic_shifting": True}, {"use_dynamic_shifting": True, "time_shift_type": "linear"},
    ],
}  # fmt: skip
CASES = [pytest.param(config_of(name, **each), id=f"{name}-{each}") for name, all_ in OPTIONS.items() for each in all_]
STOCHASTIC = [config_of(name, **each) for name in ("DDPM", "EulerAncestralDiscrete") for each in SPACINGS]
MU = 0.8


def modelled(config: dict[str, Any], steps: int) -> Steps:
    settings = settings_of(config)
    mu = MU if config.get("use_dynamic_shifting") else None
    schedule = from_diffusers(settings.config, mu=mu)
    return steps_of(settings, schedule, steps, mu)


def extra(config: dict[str, Any]) -> dict[str, float]:
    return {"mu": MU} if config.get("use_dynamic_shifting") else {}


@pytest.mark.parametrize("config", [*CASES, *(pytest.param(each, id=str(each)) for each in STOCHASTIC)])
@pytest.mark.parametrize("steps", [2, 8, 13])
@pytest.mark.each_value
def test_times_and_noise_levels(config: dict[str, Any], steps: int) -> None:
    made, real = modelled(config, steps), real_scheduler(config, steps, **extra(config))
    asked = real.timesteps.double().numpy()
    asked = {"HeunDiscreteScheduler": asked[::2], "PNDMScheduler": np.unique(asked)[::-1]}.get(
        config["_class_name"], asked
    )
    # an index that is whole but for float32's rounding is truncated to it or to the one below
    whole = np.abs(made.times - np.round(made.times)) < 1e-3
    either = whole if {"use_exponential_sigmas", "use_beta_sigmas"} & set(config) else 0.0
    np.testing.assert_array_less(np.abs(made.asked - asked), 2e-3 + 2e-5 * asked + either)
    if hasattr(real, "sigmas"):
        sigmas = real.sigmas.double().numpy()
        sigmas = np.append(sigmas[:-1:2], 0.0) if config["_class_name"].startswith("Heun") else sigmas
        np.testing.assert_allclose(made.sigmas, sigmas, rtol=3e-4, atol=1e-6)


@pytest.mark.parametrize("config", CASES)
@pytest.mark.parametrize("steps", [3, 5, 8, 16])
@pytest.mark.each_value
def test_results(config: dict[str, Any], steps: int) -> None:
    settings = settings_of(config)
    mu = extra(config).get("mu")
    schedule = from_diffusers(settings.config, mu=mu)
    ours = emulated(settings, schedule, steps_of(settings, schedule, steps, mu), VARIANCES.numpy())
    unclipped = config if "DDIM" not in config["_class_name"] else {**config, "clip_sample": False}
    real = real_deviations(unclipped, steps, **extra(config))
    assert ours is not None
    np.testing.assert_allclose(ours, real, rtol=2e-3, atol=2e-3, equal_nan=True)


@pytest.mark.parametrize(
    "config",
    [*STOCHASTIC, config_of("FlowMatchEulerDiscrete", shift=3.0, stochastic_sampling=True)],
    ids=str,
)
def test_deviations_of_samples(config: dict[str, Any]) -> None:
    settings, count = settings_of(config), 20_000
    schedule = from_diffusers(settings.config)
    ours = emulated(settings, schedule, steps_of(settings, schedule, 6, None), VARIANCES.numpy())
    real = sampled_deviations({**config, "clip_sample": False} if "DDPM" in str(config) else config, 6, count)
    assert ours is not None
    # five times the deviation of an estimate from as many samples, or of float32's noise levels
    np.testing.assert_allclose(real, ours, rtol=5.0 / np.sqrt(2 * count))


def test_the_noise_levels_that_pipelines_pass() -> None:
    config = config_of("FlowMatchEulerDiscrete", use_dynamic_shifting=True, shift_terminal=0.02)
    report = examine(config, 8, mu=MU)
    scheduler = real_scheduler(config, 8, sigmas=np.linspace(1.0, 1.0 / 8, 8).tolist(), mu=MU)
    np.testing.assert_allclose(report.sigmas, scheduler.sigmas.double().numpy(), rtol=1e-5, atol=1e-6)
    assert not [found for found in report.findings if found.severity != "note"]


def test_the_scheduler_itself_will_do() -> None:
    config = config_of("UniPCMultistep", **FLOW)
    assert examine(real_scheduler(config, 8), 8) == examine(config, 8)


@pytest.mark.parametrize(
    "config", [config_of("PNDM"), config_of("PNDM", skip_prk_steps=True), config_of("HeunDiscrete")]
)
@pytest.mark.parametrize("steps", [4, 8])
def test_evaluations(config: dict[str, Any], steps: int) -> None:
    assert examine(config, steps).evaluations == len(real_scheduler(config, steps).timesteps)
