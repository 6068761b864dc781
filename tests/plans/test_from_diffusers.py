"""Schedules read from the schedulers of diffusers against what those compute."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from genie_samplers import predictions, schedules

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("error", "ignore::FutureWarning", "ignore:__array:DeprecationWarning")

UNIT = 2.0**-24  # half a unit in the last place of 1 in float32
CLASSIC = (
    "DDIM", "DDIMInverse", "DDIMParallel", "DDPM", "DDPMParallel", "DEISMultistep", "DPMSolverMultistep",
    "DPMSolverMultistepInverse", "DPMSolverSinglestep", "EulerAncestralDiscrete", "EulerDiscrete", "HeunDiscrete",
    "KDPM2AncestralDiscrete", "KDPM2Discrete", "LCM", "LMSDiscrete", "PNDM", "RePaint", "SASolver", "TCD",
    "UniPCMultistep",
)  # fmt: skip
COGVIDEOX = ("CogVideoXDDIM", "CogVideoXDPM")
ENDING_AT_ZERO = ("DDIM", "DDIMInverse", "DDIMParallel", "DDPM", "DDPMParallel", "LCM", "TCD", *COGVIDEOX)
ENDING_ABOVE_ZERO = ("DPMSolverMultistep", "EulerAncestralDiscrete", "EulerDiscrete", "UniPCMultistep")
USUAL = ("linear", "scaled_linear", "squaredcos_cap_v2")
TABLES = (
    *((name, betas) for name in (*CLASSIC, *COGVIDEOX) for betas in USUAL),
    *((name, "sigmoid") for name in ("DDPM", "DDPMParallel", "RePaint")),
    *((name, "laplace") for name in ("DDPM", "DDPMParallel")),
    ("HeunDiscrete", "exp"),
    ("UnCLIP", "squaredcos_cap_v2"),
)
FLOWS = ("FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete", "FlowMatchLCM")
WITH_FLOW_SIGMAS = (
    "DEISMultistep", "DPMSolverMultistep", "DPMSolverMultistepInverse", "DPMSolverSinglestep", "SASolver",
    "UniPCMultistep",
)  # fmt: skip


def scheduler(name: str, **options: Any) -> Any:
    return getattr(diffusers, f"{name}Scheduler")(**options)


def table_of(source: object) -> np.ndarray:
    schedule = schedules.from_diffusers(source)
    assert isinstance(schedule, schedules.AlphasCumprod)
    return np.array(schedule.alphas_cumprod)


def theirs(source: Any) -> np.ndarray:
    return source.alphas_cumprod.double().numpy()


def roundings(bar: np.ndarray) -> np.ndarray:
    """Bound of the relative error of a table in float32: beta, 1 - beta and their product round."""
    betas = 1.0 - bar / np.concatenate(([1.0], bar[:-1]))
    return UNIT * np.cumsum(2.0 + 4.0 * betas / (1.0 - betas)) * 1.01


def zero_snr_error(plain: np.ndarray, rescaled: np.ndarray) -> np.ndarray:
    """Of all but the last entry: both square roots move by half their alpha-bar's error, then the product rounds."""
    moved = np.sqrt(plain) * (0.5 * roundings(plain) + 4.0 * UNIT)
    product = 4.0 * UNIT * np.cumsum(rescaled[:-2] / rescaled[1:-1])
    return (2.0 * np.sqrt(rescaled) * (moved + moved[-1]) * 1.1)[:-1] + np.append(product, product[-1]) * rescaled[:-1]


# --- tables


@pytest.mark.parametrize(("name", "betas"), TABLES)
@pytest.mark.each_value
def test_a_table_is_that_of_diffusers(name: str, betas: str) -> None:
    source = scheduler(name, beta_schedule=betas)
    ours = table_of(source)
    assert np.all(np.abs(theirs(source) - ours) <= (roundings(ours) + 4.0 * UNIT) * ours)


@pytest.mark.parametrize("name", [*CLASSIC, *COGVIDEOX, "UnCLIP"])
def test_a_scheduler_by_default_is_read_with_its_own_defaults(name: str) -> None:
    written = {"_class_name": f"{name}Scheduler"}
    assert schedules.from_diffusers(written) == schedules.from_diffusers(scheduler(name))


def test_dpm_solver_sde_has_the_defaults_of_the_heun_scheduler() -> None:
    """Its class needs torchsde."""
    assert schedules.from_diffusers({"_class_name": "DPMSolverSDEScheduler"}) == schedules.from_diffusers(
        {"_class_name": "HeunDiscreteScheduler"}
    )


@pytest.mark.parametrize("betas", USUAL)
@pytest.mark.parametrize("name", ENDING_AT_ZERO)
def test_zero_terminal_snr_ends_at_zero(name: str, betas: str) -> None:
    plain = table_of(scheduler(name, beta_schedule=betas))
    source = scheduler(name, beta_schedule=betas, rescale_betas_zero_snr=True)
    ours = table_of(source)
    assert theirs(source)[-1] == ours[-1] == 0.0
    assert np.all(np.abs(theirs(source) - ours)[:-1] <= zero_snr_error(plain, ours))


@pytest.mark.parametrize("betas", ["scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("name", ENDING_ABOVE_ZERO)
def test_zero_terminal_snr_ends_where_the_class_puts_its_end(name: str, betas: str) -> None:
    plain = table_of(scheduler(name, beta_schedule=betas))
    source = scheduler(name, beta_schedule=betas, rescale_betas_zero_snr=True)
    ours = table_of(source)
    assert theirs(source)[-1] == ours[-1] == 2.0**-24
    assert np.all(np.abs(theirs(source) - ours)[:-1] <= zero_snr_error(plain, ours))


@pytest.mark.parametrize("name", ENDING_ABOVE_ZERO)
def test_where_that_end_would_not_fall_the_table_ends_at_zero(name: str) -> None:
    source = scheduler(name, beta_schedule="linear", rescale_betas_zero_snr=True)
    assert theirs(source)[-2] < theirs(source)[-1] == 2.0**-24
    assert table_of(source)[-1] == 0.0


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_the_shift_of_the_signal_to_noise_ratio_is_read(scale: float) -> None:
    source = scheduler("CogVideoXDDIM", snr_shift_scale=scale)
    ours = table_of(source)
    # theirs is float64 here: some thousand roundings
    assert np.all(np.abs(theirs(source) - ours) <= 4000.0 * 2.0**-53 * ours)


def test_trained_betas_come_before_the_beta_schedule() -> None:
    betas = np.linspace(0.01, 0.2, 17)
    assert schedules.from_diffusers(scheduler("DDIM", trained_betas=betas)) == schedules.from_betas(betas)


@pytest.mark.parametrize("steps", [10, 400])
def test_the_length_of_the_table_is_read(steps: int) -> None:
    assert table_of(scheduler("DDIM", num_train_timesteps=steps)).shape == (steps,)


# --- flow and EDM


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_match_scheduler_is_flow_with_its_shift(name: str, shift: float) -> None:
    source = scheduler(name, shift=shift)
    assert schedules.from_diffusers(source) == schedules.flow(shift=shift)
    assert predictions.from_diffusers(source) == "flow"


def test_the_length_of_a_flow_is_its_label_of_noise() -> None:
    source = scheduler("FlowMatchEulerDiscrete", num_train_timesteps=500)
    assert float(source.timesteps[0]) == schedules.from_diffusers(source).label(1.0) == 500.0


@pytest.mark.parametrize("name", WITH_FLOW_SIGMAS)
def test_flow_sigmas_are_flow_with_their_shift(name: str) -> None:
    source = scheduler(name, use_flow_sigmas=True, flow_shift=5.0, prediction_type="flow_prediction")
    assert schedules.from_diffusers(source) == schedules.flow(shift=5.0)
    assert predictions.from_diffusers(source) == "flow"


def test_the_ancestral_scheduler_of_ltx_is_flow() -> None:
    assert schedules.from_diffusers({"_class_name": "LTXEulerAncestralRFScheduler"}) == schedules.flow()


def dynamic(**options: Any) -> Any:
    return scheduler("FlowMatchEulerDiscrete", use_dynamic_shifting=True, shift=7.0, **options)


@pytest.mark.parametrize(("kind", "mu", "shift"), [("exponential", np.log(3.0), 3.0), ("linear", 1.15, 1.15)])
def test_a_dynamic_shift_follows_from_mu(kind: str, mu: float, shift: float) -> None:
    schedule = schedules.from_diffusers(dynamic(time_shift_type=kind), mu=mu)
    assert isinstance(schedule, schedules.Flow)
    assert schedule == schedules.flow(shift=schedule.shift)
    assert abs(schedule.shift - shift) <= 2.0**-50


def test_a_dynamic_shift_follows_from_the_tokens_by_the_numbers_of_the_scheduler() -> None:
    numbers = {"base_image_seq_len": 1024, "max_image_seq_len": 4096, "base_shift": 0.95, "max_shift": 2.05}
    source = dynamic(**numbers)
    mu = schedules.mu_of_length(2048, base_length=1024, max_length=4096, base_shift=0.95, max_shift=2.05)
    assert schedules.from_diffusers(source, tokens=2048) == schedules.from_diffusers(source, mu=mu)
    default = {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}
    mu_by_default = schedules.mu_of_length(2048)
    assert schedules.from_diffusers(default, tokens=2048) == schedules.from_diffusers(default, mu=mu_by_default)


def test_a_dynamic_shift_of_no_image_is_warned_of() -> None:
    with pytest.warns(
        UserWarning, match=r"use_dynamic_shifting makes .*; give tokens=, or mu=; the shift is 1 without"
    ):
        schedule = schedules.from_diffusers(dynamic())
    assert schedule == schedules.flow()


def test_tokens_and_mu_are_one_thing() -> None:
    with pytest.raises(ValueError, match=r"tokens=2048 beside mu=1\.0: give one of them"):
        schedules.from_diffusers(dynamic(), tokens=2048, mu=1.0)


@pytest.mark.parametrize("name", ["EDMEuler", "EDMDPMSolverMultistep"])
def test_an_edm_scheduler_is_edm_between_its_sigmas(name: str) -> None:
    assert schedules.from_diffusers(scheduler(name, sigma_min=0.01, sigma_max=50.0)) == schedules.edm(0.01, 50.0)
    assert schedules.from_diffusers({"_class_name": f"{name}Scheduler"}) == schedules.edm()


# --- predictions


@pytest.mark.parametrize(("name", "prediction"), [("epsilon", "epsilon"), ("sample", "x0"), ("v_prediction", "v")])
def test_predictions_have_our_names(name: str, prediction: str) -> None:
    assert predictions.from_diffusers(scheduler("DDIM", prediction_type=name)) == prediction


@pytest.mark.parametrize(("name", "prediction"), [("RePaint", "epsilon"), ("EDMEuler", "x0"), ("DDPM", "epsilon")])
def test_a_scheduler_that_says_nothing_of_the_prediction_has_that_of_its_class(name: str, prediction: str) -> None:
    assert predictions.from_diffusers({"_class_name": f"{name}Scheduler"}) == prediction


def test_a_prediction_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prediction_type='trigflow': epsilon, sample, .* are read"):
        predictions.from_diffusers({"_class_name": "DDIMScheduler", "prediction_type": "trigflow"})


# --- the forms in which a scheduler comes


SOURCE = {"beta_schedule": "scaled_linear", "beta_start": 8.5e-4, "beta_end": 0.012, "prediction_type": "v_prediction"}


def test_a_subclass_is_read_as_its_class() -> None:
    class Mine(diffusers.DDIMScheduler): ...

    assert schedules.from_diffusers(Mine(**SOURCE)) == schedules.from_diffusers(scheduler("DDIM", **SOURCE))


@pytest.mark.parametrize("place", ["", "scheduler_config.json", "scheduler/scheduler_config.json"])
def test_what_was_saved_is_read_from_its_file_its_folder_and_the_pipelines(tmp_path: Any, place: str) -> None:
    source = scheduler("DDIM", **SOURCE)
    source.save_pretrained(tmp_path / "scheduler" if "/" in place else tmp_path)
    path = tmp_path / place if place.startswith("scheduler_") else tmp_path
    assert schedules.from_diffusers(path) == schedules.from_diffusers(str(path)) == schedules.from_diffusers(source)
    assert predictions.from_diffusers(path) == "v"


def test_a_mapping_is_read_as_its_file(tmp_path: Any) -> None:
    source = scheduler("UniPCMultistep", **SOURCE)
    source.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "scheduler_config.json").read_text())
    assert schedules.from_diffusers(written) == schedules.from_diffusers(source)


@pytest.mark.parametrize("content", ["[1, 2]", "not json", None])
def test_a_path_without_a_configuration_is_named(tmp_path: Any, content: str | None) -> None:
    path = tmp_path / "scheduler_config.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=r"scheduler_config\.json"):
        schedules.from_diffusers(path)


REFUSED = {
    "class": ({"_class_name": "VQDiffusionScheduler"}, r"scheduler: VQDiffusionScheduler; .*DDIMScheduler.* are read"),
    "no class": ({"beta_schedule": "linear"}, r"scheduler: no _class_name; .*FlowMatchEulerDiscreteScheduler"),
    "betas": (
        {"_class_name": "DDIMScheduler", "beta_schedule": "exponential"},
        r"beta_schedule='exponential': linear, scaled_linear, .* and trained_betas are read",
    ),
    "continuous": (
        {"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous", "prediction_type": "v_prediction"},
        "timestep_type='continuous' of EulerDiscreteScheduler: only 'discrete' is read",
    ),
    "inverted": (
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "invert_sigmas": True},
        r"invert_sigmas=True: .* take schedules\.flow\(\) and models\.flow_matching",
    ),
}


@pytest.mark.parametrize(("config", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_read_is_refused_by_name(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schedules.from_diffusers(config)


@pytest.mark.parametrize("given", [{"mu": 1.0}, {"tokens": 256}])
@pytest.mark.parametrize("name", ["DDIM", "FlowMatchEulerDiscrete", "UniPCMultistep"])
def test_a_size_without_dynamic_shifting_is_refused(name: str, given: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=f"=.*: {name}Scheduler .* shifts nothing by the size of the image; leave it out"
    ):
        schedules.from_diffusers(scheduler(name), **given)


def test_dynamic_shifting_says_nothing_of_a_table() -> None:
    source = scheduler("UniPCMultistep", use_dynamic_shifting=True)
    assert schedules.from_diffusers(source) == schedules.from_diffusers(scheduler("UniPCMultistep"))
    with pytest.raises(ValueError, match=r"mu=1\.0: UniPCMultistepScheduler without .* flow shifts nothing"):
        schedules.from_diffusers(source, mu=1.0)


def test_anything_with_a_config_of_a_class_is_read() -> None:
    like = SimpleNamespace(config={"_class_name": "DDIMScheduler", **SOURCE})
    assert schedules.from_diffusers(like) == schedules.from_diffusers(scheduler("DDIM", **SOURCE))


@pytest.mark.parametrize("source", [3, None, object()])
def test_what_is_no_scheduler_is_a_type_error(source: object) -> None:
    with pytest.raises(TypeError, match="give a scheduler of diffusers, the mapping of its"):
        schedules.from_diffusers(source)


@pytest.mark.parametrize(
    ("key", "value"), [("num_train_timesteps", 1.5), ("beta_start", "small"), ("rescale_betas_zero_snr", "yes")]
)
def test_a_value_of_the_wrong_type_is_named(key: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{key}="):
        schedules.from_diffusers({"_class_name": "DDIMScheduler", key: value})


# --- tables of beta of its own


@pytest.mark.parametrize("build", [schedules.sigmoid_betas, schedules.laplace_betas, schedules.exponential_betas])
def test_a_table_of_one_beta_is_refused(build: Any) -> None:
    with pytest.raises(ValueError, match="steps=1: give 2 or more"):
        build(1)


def test_ends_of_sigmoid_betas_outside_0_and_1_are_refused() -> None:
    with pytest.raises(ValueError, match=r"beta_start=0\.0, beta_end=0\.02: choose both inside"):
        schedules.sigmoid_betas(beta_start=0.0)
