"""What pipelines and users of diffusers rely on, whatever the solver."""

from __future__ import annotations

import collections
import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.integrations.diffusers.pipelines import exact_network, noise, run, sampled

diffusers = pytest.importorskip("diffusers")
ours = pytest.importorskip("genie_samplers.integrations.diffusers")

NAMES = ["DDIM", "DDPM", "DEIS", "IPNDM", "PNDM", "DPMSolverMultistep", "UniPC", "Euler", "Heun", "Plan"]


def make(name: str, **config: Any) -> Any:
    return getattr(ours, f"{name}Scheduler")(**config)


@pytest.fixture(params=NAMES)
def scheduler(request: pytest.FixtureRequest) -> Any:
    return make(request.param)


# --- configuration


def test_a_configuration_survives_saving_and_loading(scheduler: Any, tmp_path: Path) -> None:
    scheduler.save_pretrained(tmp_path)
    again = type(scheduler).from_pretrained(tmp_path)
    assert {**again.config, "_use_default_values": None} == {**scheduler.config, "_use_default_values": None}
    network = exact_network(scheduler.schedule, "epsilon")
    assert torch.equal(sampled(again, network, 6), sampled(scheduler, network, 6))


@pytest.mark.parametrize(
    "name", ["DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"]
)
def test_configurations_go_over_and_back(scheduler: Any, name: str) -> None:
    """A class of diffusers keeps what only another one knows."""
    theirs = getattr(diffusers, name)(num_train_timesteps=500, beta_schedule="scaled_linear")
    mine = type(scheduler).from_config(theirs.config)
    assert (mine.config["num_train_timesteps"], mine.config["beta_schedule"]) == (500, "scaled_linear")
    again = type(theirs).from_config(mine.config)
    assert {k: again.config[k] for k in theirs.config if not k.startswith("_")} == {
        k: v for k, v in theirs.config.items() if not k.startswith("_")
    }
    assert theirs.__class__ in mine.compatibles


def test_an_option_that_the_class_does_not_have_is_refused(scheduler: Any) -> None:
    with pytest.raises(TypeError, match="unknown_option"):
        type(scheduler)(unknown_option=1)


def test_betas_of_ones_own(scheduler: Any) -> None:
    trained = [0.1, 0.2, 0.3, 0.4]
    own = type(scheduler)(trained_betas=trained)
    assert own.betas.tolist() == torch.tensor(trained).tolist()
    assert torch.allclose(own.alphas_cumprod, torch.cumprod(1.0 - torch.tensor(trained), 0))


def test_the_schedule_can_be_read_as_from_diffusers(scheduler: Any) -> None:
    import genie_samplers as gs

    assert gs.schedules.from_diffusers(scheduler) == scheduler.schedule
    assert gs.predictions.from_diffusers(scheduler) == "epsilon"


# --- steps


def test_the_last_state_is_the_plans(scheduler: Any) -> None:
    """The same bits as the rows of the plan on the engine, for a network that reads x alone."""
    scheduler.set_timesteps(6)
    labels = iter(scheduler.timesteps.tolist())
    x = noise() * scheduler.init_noise_sigma
    made = x
    for t in scheduler.timesteps:
        assert next(labels) == t.item()
        made = (
            scheduler.step(torch.sin(made), t, made, generator=torch.Generator().manual_seed(0), return_dict=False)[0]
            if "generator" in inspect.signature(scheduler.step).parameters
            else scheduler.step(torch.sin(made), t, made, return_dict=False)[0]
        )
    assert made.shape == x.shape
    assert bool(made.isfinite().all())


def test_what_a_step_returned_is_the_callers(scheduler: Any) -> None:
    """Later steps leave it alone, and what the caller writes into it is read."""
    scheduler.set_timesteps(5)
    network = exact_network(scheduler.schedule, "epsilon")
    x, kept, copies = noise() * scheduler.init_noise_sigma, [], []
    for t in scheduler.timesteps:
        x = scheduler.step(network(scheduler.scale_model_input(x, t), t), t, x, return_dict=False)[0]
        kept.append(x)
        copies.append(x.clone())
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))
    assert len({a.data_ptr() for a in kept}) == len(kept)


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("name", ["DDIM", "DPMSolverMultistep", "UniPC", "DEIS"])
def test_a_pipeline_may_change_the_latents_between_steps(name: str, in_place: bool) -> None:
    """Inpainting, callbacks: as if the solver had been handed these."""
    scheduler = make(name, **({"clip_sample": False} if name == "DDIM" else {}))
    results = []
    for changed in (True, False):
        scheduler.set_timesteps(4)
        x = noise()
        for number, t in enumerate(scheduler.timesteps):
            x = scheduler.step(0.3 * noise(seed=number), t, x, return_dict=False)[0]
            if number == 1 and changed and in_place:
                x.mul_(0.5)
            elif number == 1 and changed:
                x = 0.5 * x
        results.append(x)
    assert not torch.allclose(*results)
    scheduler.set_timesteps(4)
    start, outputs = noise(), [0.3 * noise(seed=number) for number in range(4)]
    for number, t in enumerate(scheduler.timesteps):
        start = scheduler.step(outputs[number], t, start, return_dict=False)[0]
        start = 0.5 * start if number == 1 else start
    assert torch.equal(start, results[0])


def test_times_are_known_by_value_and_by_place(scheduler: Any) -> None:
    network = exact_network(scheduler.schedule, "epsilon")
    expected = sampled(scheduler, network, 5)
    for of in (lambda t: t, lambda t: t.item(), lambda t: t.clone(), lambda t: t.reshape(1)):
        scheduler.set_timesteps(5)
        x, generator = noise() * scheduler.init_noise_sigma, torch.Generator().manual_seed(1)
        takes = "generator" in inspect.signature(scheduler.step).parameters
        for t in scheduler.timesteps:
            given = scheduler.scale_model_input(x, of(t))
            options = {"generator": generator} if takes else {}
            x = scheduler.step(network(given, t), of(t), x, **options, return_dict=False)[0]
        assert torch.equal(x, expected)


def test_a_second_generation_begins_anew(scheduler: Any) -> None:
    """With set_timesteps in between, and without."""
    network = exact_network(scheduler.schedule, "epsilon")
    expected = sampled(scheduler, network, 5)
    assert torch.equal(run(scheduler, network, noise() * scheduler.init_noise_sigma), expected)
    scheduler.step(noise(), scheduler.timesteps[0], noise())
    assert torch.equal(sampled(scheduler, network, 5), expected)


@pytest.mark.parametrize("name", ["DDIM", "DEIS", "UniPC"])
def test_a_step_from_a_time_that_is_not_in_the_list(name: str) -> None:
    """DDIM's, to the next of the list below it."""
    scheduler = make(name, **({"clip_sample": False} if name == "DDIM" else {}))
    scheduler.set_timesteps(10)
    t, after = 450, max(t for t in scheduler.timesteps.tolist() if t < 450)
    schedule, x, out = scheduler.schedule, noise(), noise(seed=2)
    made = scheduler.step(out, t, x, return_dict=False)[0]
    x0 = (x - float(schedule.sigma(t)) * out) / float(schedule.alpha(t))
    assert torch.allclose(made, float(schedule.alpha(after)) * x0 + float(schedule.sigma(after)) * out, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["DPMSolverMultistep", "UniPC", "DDIM", "Euler"])
def test_half_precision_keeps_its_state_in_float32(name: str, dtype: torch.dtype) -> None:
    """A pipeline hands back what it was handed, and nothing is rounded twice."""
    scheduler = make(name, **({"clip_sample": False} if name == "DDIM" else {}))
    scheduler.set_timesteps(20)
    x = noise().to(dtype) * scheduler.init_noise_sigma.to(dtype) if name == "Euler" else noise().to(dtype)
    outputs = [0.2 * noise(seed=number).to(dtype) for number in range(20)]
    made, exact = x, x.double()
    for t, out in zip(scheduler.timesteps, outputs, strict=True):
        made = scheduler.step(out, t, made, return_dict=False)[0]
        assert made.dtype == dtype
    scheduler.set_timesteps(20)
    for t, out in zip(scheduler.timesteps, outputs, strict=True):
        exact = scheduler.step(out.double(), t, exact, return_dict=False)[0]
    rounding = torch.finfo(dtype).eps / 2
    assert float((made.double() - exact).abs().max()) <= 1.01 * rounding * float(exact.abs().max()) + 1e-4


def test_copies_go_their_own_way(scheduler: Any) -> None:
    """Serving engines copy a scheduler per request, and pipelines for audio and video; the tables are shared."""
    network = exact_network(scheduler.schedule, "epsilon")
    expected = sampled(scheduler, network, 6)
    scheduler.set_timesteps(6)
    x = noise() * scheduler.init_noise_sigma
    twins = [copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))]
    assert twins[0].plan is scheduler.plan
    for twin in twins:
        assert torch.equal(run(twin, network, x), expected)
    assert scheduler.step_index is None


def test_a_copy_halfway_goes_on_from_there() -> None:
    scheduler = make("UniPC")
    network = exact_network(scheduler.schedule, "epsilon")
    expected = sampled(scheduler, network, 6)
    scheduler.set_timesteps(6)
    x = noise()
    for t in scheduler.timesteps[:3]:
        x = scheduler.step(network(x, t), t, x, return_dict=False)[0]
    twin = copy.deepcopy(scheduler)
    assert torch.equal(run(twin, network, x, first=3), expected)
    assert torch.equal(run(scheduler, network, x, first=3), expected)


@pytest.mark.parametrize(("way", "time"), [("step", float), ("follow", lambda t: t)], ids=["long way", "short way"])
def test_an_interrupted_step_is_made_again(way: str, time: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same call, from the state that the caller holds, as of a run that begins there."""
    scheduler = make("UniPC")
    scheduler.set_timesteps(5)
    scheduler.set_begin_index(0)
    times, x = scheduler.timesteps, noise()
    for t in times[:2]:
        x = scheduler.step(torch.sin(x), t, x, return_dict=False)[0]
    from genie_samplers.run import Stepper

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Stepper, way, interrupted)
        scheduler.step(torch.sin(x), time(times[2]), x)
    made = x
    for t in times[2:]:
        made = scheduler.step(torch.sin(made), t, made, return_dict=False)[0]
    scheduler.set_timesteps(5)
    scheduler.set_begin_index(2)
    for t in times[2:]:
        x = scheduler.step(torch.sin(x), t, x, return_dict=False)[0]
    assert torch.equal(made, x)


@pytest.mark.parametrize("name", ["UniPC", "DDIM", "Heun", "DPMSolverMultistep"])
def test_gradients_go_through_the_steps(name: str) -> None:
    """Guidance by a loss, reward tuning: from a step in the middle on, against differences."""
    scheduler = make(name, **({"clip_sample": False} if name == "DDIM" else {}))
    weight = noise((1, 1, 2, 2), 5).double()

    def end(scale: torch.Tensor) -> torch.Tensor:
        scheduler.set_timesteps(4)
        x = noise((1, 1, 2, 2)).double()
        for number, t in enumerate(scheduler.timesteps):
            with torch.set_grad_enabled(number > 0):
                out = torch.sin(x) * (scale if number > 0 else 1.0)
                x = scheduler.step(out, t, x, return_dict=False)[0]
        return (weight * x).sum()

    scale = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(end(scale), scale)
    with torch.no_grad():
        above, below = (end(torch.tensor(value, dtype=torch.float64)) for value in (0.9 + 1e-5, 0.9 - 1e-5))
    difference = (above - below) / 2e-5
    assert float((gradient - difference).abs()) < 1e-6 * float(difference.abs())


# --- cost


class Counted(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[str(func)] += 1
        return func(*args, **(kwargs or {}))


def test_a_step_is_one_kernel_and_reads_nothing_back(scheduler: Any) -> None:
    """#9485: what a step copies and draws is all that torch sees; no number waits for the device."""
    scheduler.set_timesteps(8)
    x = noise()
    for t in scheduler.timesteps[:2]:
        x = scheduler.step(0.1 * noise(), t, x, return_dict=False)[0]
    t, out = scheduler.timesteps[2], 0.1 * noise()
    with Counted() as counted:
        scheduler.step(out, t, x, return_dict=False)
    assert counted.calls["aten._local_scalar_dense.default"] == 0
    views = {"aten.select.int", "aten.alias.default", "aten.slice.Tensor"}  # of the checks of this test suite
    assert counted.calls.keys() - views <= {"aten.empty_like.default", "aten.randn.generator"}
    assert counted.calls["aten.clone.default"] == 0


@pytest.mark.parametrize("name", ["DDIM", "Euler", "Heun"])
def test_the_predicted_clean_data_are_one_kernel_more(name: str) -> None:
    scheduler = make(name, **({"clip_sample": False} if name == "DDIM" else {}))
    scheduler.set_timesteps(8)
    x = noise()
    for t in scheduler.timesteps[:2]:
        x = scheduler.step(0.1 * noise(), t, x).prev_sample
    t, out = scheduler.timesteps[2], 0.1 * noise()
    with Counted() as counted:
        scheduler.step(out, t, x)
    arithmetic = {"aten.mul.Tensor", "aten.add.Tensor", "aten._to_copy.default", "aten.clone.default"}
    assert not arithmetic & counted.calls.keys()


@pytest.mark.parametrize("name", ["DPMSolverMultistep", "UniPC", "DDIM", "Euler"])
def test_a_compiled_loop_is_not_compiled_anew_in_every_step(name: str) -> None:
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    scheduler, counter = make(name), CompileCounter()

    def one(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return scheduler.step(torch.sin(x), t, x, return_dict=False)[0]

    compiled = torch.compile(one, backend=counter)
    scheduler.set_timesteps(20)
    x, frames = noise(), []
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = compiled(x, t)
            frames.append(counter.frame_count)
    assert frames[-1] <= 2
    assert frames[1] == frames[-1]


# --- errors


def test_a_step_before_set_timesteps_says_so() -> None:
    with pytest.raises(ValueError, match="run 'set_timesteps' after creating the scheduler"):
        make("UniPC").step(noise(), 999, noise())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_inference_steps": 4, "timesteps": [900, 100]}, "exactly one of"),
        ({}, "exactly one of"),
        ({"timesteps": [100, 900]}, "must be in descending order"),
        ({"timesteps": [1000, 10]}, "must start before `num_train_timesteps`"),
        ({"timesteps": [float("nan"), 1.0]}, "finite"),
        ({"sigmas": [1.0, 2.0]}, "must be in descending order"),
        ({"num_inference_steps": 0}, "choose 1 to 1000"),
    ],
)
def test_bad_times(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("DPMSolverMultistep").set_timesteps(**options)


def test_outputs_of_another_shape() -> None:
    scheduler = make("UniPC")
    scheduler.set_timesteps(4)
    with pytest.raises(ValueError, match=r"model_output: shape \(2, 3, 8, 8\) for a sample of \(2, 4, 8, 8\)"):
        scheduler.step(noise((2, 3, 8, 8)), scheduler.timesteps[0], noise())


def test_a_predicted_variance_is_left_out() -> None:
    scheduler = make("DPMSolverMultistep", variance_type="learned_range")
    scheduler.set_timesteps(4)
    both = noise((2, 8, 8, 8))
    made = scheduler.step(both, scheduler.timesteps[0], noise()).prev_sample
    scheduler.set_timesteps(4)
    assert torch.equal(made, scheduler.step(both[:, :4], scheduler.timesteps[0], noise()).prev_sample)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("DEIS", {"variant": "x"}, "variant='x': choose one of log_ab, tab, rho_ab, rho_rk"),
        ("DEIS", {"solver_order": 5}, "solver_order=5: choose 1 to 4"),
        ("DDPM", {"variance_type": "learned"}, "per pixel"),
        ("DPMSolverMultistep", {"algorithm_type": "sde-dpmsolver"}, "algorithm_type='sde-dpmsolver'"),
        ("UniPC", {"predict_x0": False}, "predict_x0=False"),
        ("Plan", {"solver": "dpmpp_2n"}, "did you mean"),
        ("Plan", {"prediction_type": "x"}, "prediction_type='x'"),
        ("Plan", {"beta_schedule": "x"}, "beta_schedule='x'"),
        ("DEIS", {"use_karras_sigmas": True, "use_beta_sigmas": True}, "only one of them"),
    ],
)
def test_bad_configurations(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(name, **config).set_timesteps(4)
