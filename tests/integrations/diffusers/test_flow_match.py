"""FlowMatchScheduler against FlowMatchEulerDiscreteScheduler, and every solver behind its surface."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.integrations.diffusers.pipelines import MEAN, VARIANCE, difference, exact_network, noise, run, sampled

diffusers = pytest.importorskip("diffusers")
ours = pytest.importorskip("genie_samplers.integrations.diffusers")

TOLERANCE = 2e-6
PIPELINE_SIGMAS = [1.0, 0.75, 0.5, 0.25]
CONFIGS = [
    {},
    {"shift": 3.0},
    {"shift": 12.0},
    {"shift": 3.0, "use_karras_sigmas": True},
    {"shift": 3.0, "use_exponential_sigmas": True},
    {"shift": 3.0, "use_beta_sigmas": True},
    {"use_dynamic_shifting": True},
    {"use_dynamic_shifting": True, "time_shift_type": "linear", "base_shift": 0.95, "max_shift": 2.05},
    {"use_dynamic_shifting": True, "shift_terminal": 0.02},
    {"shift": 3.0, "shift_terminal": 0.1},
    {"shift": 3.0, "invert_sigmas": True},
]


def pair(**config: Any) -> tuple[Any, Any]:
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(**config)
    return theirs, ours.FlowMatchScheduler.from_config(theirs.config, solver="euler")


def mu_of(config: dict[str, Any]) -> dict[str, float]:
    return {"mu": 0.8} if config.get("use_dynamic_shifting") else {}


@pytest.mark.parametrize(
    "given", [{"num_inference_steps": n} for n in (1, 2, 4, 8, 20)] + [{"sigmas": PIPELINE_SIGMAS}]
)
@pytest.mark.parametrize("config", CONFIGS)
def test_noise_levels_and_times_are_theirs(config: dict[str, Any], given: dict[str, Any]) -> None:
    if given.get("num_inference_steps") == 1 and "shift_terminal" in config:
        pytest.skip("theirs divides 0 by 0")
    theirs, mine = pair(**config)
    for each in (theirs, mine):
        each.set_timesteps(**given, **mu_of(config))
    assert torch.allclose(mine.sigmas, theirs.sigmas, rtol=0.0, atol=2e-7)
    assert torch.allclose(mine.timesteps, theirs.timesteps, rtol=0.0, atol=2e-4)


@pytest.mark.parametrize("steps", [1, 4, 8, 20])
@pytest.mark.parametrize("config", [c for c in CONFIGS if "invert_sigmas" not in c])
def test_euler_is_theirs(config: dict[str, Any], steps: int) -> None:
    if steps == 1 and "shift_terminal" in config:
        pytest.skip("theirs divides 0 by 0")
    theirs, mine = pair(**config)
    network = exact_network(mine.schedule, "flow_prediction")
    results = [sampled(each, network, steps, **mu_of(config)) for each in (theirs, mine)]
    assert difference(*results) < TOLERANCE


@pytest.mark.parametrize("steps", [2, 8])
def test_inverted_noise_levels(steps: int) -> None:
    """Mochi: the network's time rises from 0, and it predicts data - noise."""
    theirs, mine = pair(shift=3.0, invert_sigmas=True)
    results = []
    for each in (theirs, mine):
        each.set_timesteps(steps)
        x = noise()
        for t in each.timesteps:
            flow = exact_network(mine.schedule, "flow_prediction")(x, 1000.0 - t)
            x = each.step(-flow, t, x, return_dict=False)[0]
        results.append(x)
    assert difference(*results) < TOLERANCE


def test_stochastic_sampling_is_theirs() -> None:
    theirs, mine = pair(shift=3.0, stochastic_sampling=True)
    network = exact_network(mine.schedule, "flow_prediction")
    assert difference(*(sampled(each, network, 6) for each in (theirs, mine))) < TOLERANCE


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_tokens_with_times_of_their_own(sign: float) -> None:
    """LTX: [B, L] beside [B, L, C]; dt is positive and callers negate the flow."""
    theirs, mine = pair(shift=3.0)
    tokens = torch.tensor([[1000.0, 875.0, 500.0, 20.0, 0.0], [700.0, 1000.0, 3.0, 0.5, 910.0]])
    results = []
    for each in (theirs, mine):
        each.set_timesteps(4)
        x = noise((2, 5, 7))
        for t in each.timesteps:
            x = each.step(sign * torch.sin(x), t, x, per_token_timesteps=tokens, return_dict=False)[0]
        results.append(x)
    assert difference(*results) < TOLERANCE


@pytest.mark.parametrize("begin", [0, 2])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_scaling_noise_and_beginning_in_the_middle(shift: float, begin: int) -> None:
    theirs, mine = pair(shift=shift)
    network, picture, results = exact_network(mine.schedule, "flow_prediction"), 0.5 * noise(seed=3), []
    for each in (theirs, mine):
        each.set_timesteps(6)
        each.set_begin_index(begin)
        x = each.scale_noise(picture, each.timesteps[begin : begin + 1], noise())
        results.append(run(each, network, x, first=begin))
    assert difference(*results) < TOLERANCE


def test_times_of_the_callers_own() -> None:
    """Kept as they are for the network, their noise levels shifted; exact_grid takes both as given (#14013)."""
    theirs, mine = pair(shift=3.0)
    times = [1000.0, 700.0, 300.0]
    for each in (theirs, mine):
        each.set_timesteps(timesteps=times)
    assert mine.timesteps.tolist() == theirs.timesteps.tolist() == times
    assert torch.allclose(mine.sigmas, theirs.sigmas, atol=1e-7)
    exact = ours.FlowMatchScheduler(shift=3.0, exact_grid=True)
    exact.set_timesteps(timesteps=times)
    assert exact.sigmas.tolist() == torch.tensor([1.0, 0.7, 0.3, 0.0]).tolist()


def test_the_double_shift_and_its_absence() -> None:
    """#13243: the last of 8 times with shift 3 is 8.93 where 2.99 was meant."""
    double, exact = ours.FlowMatchScheduler(shift=3.0), ours.FlowMatchScheduler(shift=3.0, exact_grid=True)
    for each in (double, exact):
        each.set_timesteps(8)
    assert [round(float(each.timesteps[-1]), 2) for each in (double, exact)] == [8.93, 2.99]


def test_another_shift_by_set_shift() -> None:
    theirs, mine = pair(shift=1.0)
    for each in (theirs, mine):
        each.set_shift(5.0)
        each.set_timesteps(sigmas=PIPELINE_SIGMAS)
    assert torch.allclose(mine.sigmas, theirs.sigmas, atol=1e-7)
    assert mine.shift == theirs.shift == 5.0
    for each in (theirs, mine):
        each.set_timesteps(5)
    assert torch.allclose(mine.timesteps, theirs.timesteps, rtol=0.0, atol=2e-4)


@pytest.mark.parametrize(
    "solver", ["auto", "heun", "deis_log_ab1", "unipc2", "dpmpp_2m", "dpm++_2m", "flow_ab2", "ipndm"]
)
def test_every_solver_takes_the_pipelines_sigmas(solver: str) -> None:
    """Which DPM++ and DEIS of diffusers refuse; and nothing is left of a point mass (#7: theirs ends at sigma .14)."""
    mine = ours.FlowMatchScheduler(shift=3.0, solver=solver)
    mine.set_timesteps(sigmas=np.linspace(1.0, 1 / 8, 8))
    x, centre = noise(), 0.7
    for t in mine.timesteps:
        share = float(t) / 1000.0
        x = mine.step((x - centre) / share, t, x, return_dict=False)[0]
    assert torch.allclose(x, torch.full_like(x, centre), atol=2e-6)
    assert float(mine.sigmas[-1]) == 0.0


@pytest.mark.parametrize(("theirs", "solver"), [("UniPCMultistep", "unipc2"), ("DPMSolverMultistep", "dpmpp_2m")])
@pytest.mark.parametrize("steps", [4, 8, 20])
def test_flow_configurations_of_multistep_classes(theirs: str, solver: str, steps: int) -> None:
    """Wan, SANA: one line; as good as theirs or better on exact data, whose network is asked at truncated times."""
    config = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
    original = getattr(diffusers, f"{theirs}Scheduler")(**config)
    mine = ours.FlowMatchScheduler.from_config(original.config, solver=solver)
    network, z = exact_network(mine.schedule, "flow_prediction"), noise().double()
    exact = MEAN + np.sqrt(VARIANCE) * z
    errors = [float((sampled(each, network, steps) - exact).square().mean().sqrt()) for each in (original, mine)]
    assert errors[1] < 1.05 * errors[0]
    assert mine.shift == 3.0


@pytest.mark.parametrize("mine", ["UniPC", "DPMSolverMultistep", "DEIS", "IPNDM", "Plan"])
def test_flow_sigmas_of_the_table_classes(mine: str) -> None:
    theirs = diffusers.UniPCMultistepScheduler(
        use_flow_sigmas=True, flow_shift=5.0, prediction_type="flow_prediction", num_train_timesteps=1000
    )
    scheduler = getattr(ours, f"{mine}Scheduler").from_config(theirs.config)
    x = sampled(scheduler, exact_network(scheduler.schedule, "flow_prediction"), 30)
    assert abs(float(x.mean()) - MEAN) < 0.05
    assert scheduler.timesteps.dtype == torch.float32
    with pytest.raises(AttributeError, match="has no attribute 'betas'"):
        _ = scheduler.betas


def test_errors() -> None:
    _, mine = pair(use_dynamic_shifting=True)
    with pytest.raises(ValueError, match="`mu` must be passed when `use_dynamic_shifting`"):
        mine.set_timesteps(4)
    mine.set_timesteps(4, mu=0.5)
    with pytest.raises(ValueError, match=r"pass one of scheduler\.timesteps"):
        mine.step(noise(), 0, noise())
    with pytest.raises(ValueError, match="equal length"):
        mine.set_timesteps(num_inference_steps=3, sigmas=PIPELINE_SIGMAS, mu=0.5)
    with pytest.raises(ValueError, match="num_inference_steps=0: give 1 or more"):
        mine.set_timesteps(0, mu=0.5)
    with pytest.raises(ValueError, match="no flow; take PlanScheduler"):
        ours.FlowMatchScheduler.from_config(diffusers.DDIMScheduler().config)
    with pytest.raises(ValueError, match="did you mean"):
        ours.FlowMatchScheduler(solver="unipcc")


def test_mu_is_taken_and_left_alone_without_dynamic_shifting() -> None:
    _, mine = pair(shift=3.0)
    mine.set_timesteps(sigmas=PIPELINE_SIGMAS, mu=1.5)
    levels = mine.sigmas.clone()
    mine.set_timesteps(sigmas=PIPELINE_SIGMAS)
    assert torch.equal(levels, mine.sigmas)
