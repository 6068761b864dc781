"""Schedulers in many threads, and states that pipelines keep by themselves."""

from __future__ import annotations

import copy
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.integrations.diffusers.pipelines import exact_network, noise, run

pytest.importorskip("diffusers")
ours: Any = pytest.importorskip("genie_samplers.integrations.diffusers")

KINDS = {
    "UniPC": lambda: ours.UniPCScheduler(),
    "DPM++ 3M": lambda: ours.DPMSolverMultistepScheduler(solver_order=3),
    "DDIM": lambda: ours.DDIMScheduler(clip_sample=False),
    "Heun": lambda: ours.HeunScheduler(),
    "flow": lambda: ours.FlowMatchScheduler(solver="unipc2", shift=3.0),
}


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def scheduler(request: pytest.FixtureRequest) -> Any:
    made = request.param()
    made.set_timesteps(6)
    return made


def expected(scheduler: Any, x: Tensor) -> Tensor:
    return run(copy.deepcopy(scheduler), exact_network(scheduler.schedule, kind(scheduler)), x)


def kind(scheduler: Any) -> str:
    return "flow_prediction" if isinstance(scheduler, ours.FlowMatchScheduler) else "epsilon"


def test_a_generation_goes_on_in_whichever_thread_makes_its_next_step(scheduler: Any) -> None:
    """A pool of workers, two generations at a time."""
    network, states = exact_network(scheduler.schedule, kind(scheduler)), [noise(seed=1), noise(seed=2)]
    wanted = [expected(scheduler, x) for x in states]
    workers = [ThreadPoolExecutor(1) for _ in range(4)]
    turn = 0
    for t in scheduler.timesteps:
        for place, x in enumerate(states):
            worker = workers[(turn := turn + 1 + place) % 4]
            output = network(scheduler.scale_model_input(x, t), t)
            step = worker.submit(scheduler.step, output, t, x, return_dict=False)
            states[place] = step.result()[0]
    for worker in workers:
        worker.shutdown()
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(states, wanted, strict=True))


TURNS = {
    "two workers change places": [(0, 0), (1, 1), (0, 1), (1, 0), (0, 0), (1, 1)],
    "a generation begins where another was taken away from": [(0, 0), (0, 1), (1, 0), (0, 1), (1, 0)],
    "two by turns in one worker": [(0, 0), (1, 0), (0, 0), (1, 0), (0, 0), (1, 0)],
    "one begins while another is ahead": [(0, 0), (0, 0), (0, 0), (1, 0), (0, 1), (1, 0), (1, 1)],
}


@pytest.mark.parametrize("turns", TURNS.values(), ids=TURNS)
def test_generations_in_a_pool_keep_their_histories(scheduler: Any, turns: list[tuple[int, int]]) -> None:
    """turns: which generation makes a step in which worker."""
    network, states = exact_network(scheduler.schedule, kind(scheduler)), [noise(seed=1), noise(seed=2)]
    alone, wanted = [copy.deepcopy(scheduler) for _ in states], list(states)
    workers, times = [ThreadPoolExecutor(1) for _ in range(2)], [iter(scheduler.timesteps) for _ in states]
    for place, worker in turns:
        t, x = next(times[place]), states[place]
        output = network(scheduler.scale_model_input(x, t), t)
        states[place] = workers[worker].submit(scheduler.step, output, t, x, return_dict=False).result()[0]
        wanted[place] = alone[place].step(output, t, wanted[place], return_dict=False)[0]
    for worker in workers:
        worker.shutdown()
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(states, wanted, strict=True))


def test_two_generations_by_turns_in_the_thread_that_set_the_times(scheduler: Any) -> None:
    network, states = exact_network(scheduler.schedule, kind(scheduler)), [noise(seed=1), noise(seed=2)]
    wanted = [expected(scheduler, x) for x in states]
    for t in scheduler.timesteps:
        outputs = [network(scheduler.scale_model_input(x, t), t) for x in states]
        states = [scheduler.step(o, t, x, return_dict=False)[0] for o, x in zip(outputs, states, strict=True)]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(states, wanted, strict=True))


@pytest.mark.parametrize("steps", [6, 4], ids=["same", "other"])
@pytest.mark.parametrize("first", ["here", "in a worker"])
def test_a_generation_in_a_worker_goes_on_where_times_are_set_for_the_next(steps: int, first: str) -> None:
    scheduler, made = KINDS["UniPC"](), noise()
    scheduler.set_timesteps(6)
    network, wanted = exact_network(scheduler.schedule, "epsilon"), expected(scheduler, made)
    with ThreadPoolExecutor(1) as worker:
        for number, t in enumerate(scheduler.timesteps):
            args = network(made, t), t, made
            here = number == 0 and first == "here"
            made = (scheduler.step(*args) if here else worker.submit(scheduler.step, *args).result()).prev_sample
            if number == 2:
                scheduler.set_timesteps(steps)
    assert torch.equal(made, wanted)


def test_times_set_anew_end_what_a_worker_had_begun() -> None:
    """The next generation begins midway, where that one was left."""
    scheduler, x = KINDS["UniPC"](), noise()
    network = exact_network(scheduler.schedule, "epsilon")
    scheduler.set_timesteps(6)
    with ThreadPoolExecutor(1) as worker, pytest.warns(UserWarning, match="a thread that did not call set_timesteps"):
        worker.submit(lambda: [scheduler.step(network(x, t), t, x) for t in scheduler.timesteps[:2]]).result()
        scheduler.set_timesteps(6)
        args = noise(seed=3), scheduler.timesteps[2], noise(seed=2)
        made = worker.submit(scheduler.step, *args).result().prev_sample
    scheduler.set_begin_index(2)
    assert torch.equal(made, scheduler.step(*args).prev_sample)


def test_generations_that_nobody_goes_on_with_are_forgotten() -> None:
    """Eight of them are kept, beside the first of these times and the one on its way."""
    scheduler = KINDS["UniPC"]()
    scheduler.set_timesteps(6)
    t, output = scheduler.timesteps[0], noise(seed=1)
    samples = [weakref.ref(scheduler.step(output, t, noise(seed=number)).prev_sample) for number in range(30)]
    assert sum(sample() is not None for sample in samples) <= 10


def test_another_thread_takes_a_generation_over_from_the_one_that_set_the_times() -> None:
    scheduler = KINDS["UniPC"]()
    network, x = exact_network(scheduler.schedule, "epsilon"), noise()
    with ThreadPoolExecutor(1) as worker, warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):  # the worker has a run of the first generation when the second begins
            scheduler.set_timesteps(6)
            wanted, made = expected(scheduler, x), x
            for number, t in enumerate(scheduler.timesteps):
                args = network(made, t), t, made
                step = worker.submit(scheduler.step, *args).result if number % 3 else lambda a=args: scheduler.step(*a)
                made = step().prev_sample
            assert torch.equal(made, wanted)


def test_a_generation_that_cannot_be_known_again_is_remarked() -> None:
    """A sample that was changed in between does not say whose history it goes on from."""
    scheduler, x = KINDS["UniPC"](), noise()
    scheduler.set_timesteps(6)
    x = scheduler.step(noise(seed=1), scheduler.timesteps[0], x).prev_sample
    with ThreadPoolExecutor(1) as worker, pytest.warns(UserWarning, match="a thread that did not call set_timesteps"):
        worker.submit(scheduler.step, noise(seed=2), scheduler.timesteps[1], x * 1.0).result()


def test_where_a_run_begins_midway_on_purpose_nothing_is_remarked() -> None:
    scheduler, x = KINDS["UniPC"](), noise()
    scheduler.set_timesteps(6)

    def midway() -> Tensor:
        scheduler.set_begin_index(2)
        return scheduler.step(noise(seed=2), scheduler.timesteps[2], x).prev_sample

    with ThreadPoolExecutor(1) as worker, warnings.catch_warnings():
        warnings.simplefilter("error")
        made = worker.submit(midway).result()
    assert torch.equal(made, midway())


def test_a_worker_begins_where_the_thread_that_set_the_times_said() -> None:
    """Image to image, with its steps in a worker; nothing is remarked."""
    scheduler, x = KINDS["UniPC"](), noise()
    network = exact_network(scheduler.schedule, "epsilon")
    scheduler.set_timesteps(6)
    scheduler.set_begin_index(2)
    with ThreadPoolExecutor(1) as worker, warnings.catch_warnings():
        warnings.simplefilter("error")
        made = worker.submit(run, scheduler, network, x, first=2).result()
    scheduler.set_timesteps(6)
    scheduler.set_begin_index(2)
    assert torch.equal(made, run(scheduler, network, x, first=2))


def test_a_worker_that_begins_elsewhere_is_still_remarked() -> None:
    scheduler, x = KINDS["UniPC"](), noise()
    scheduler.set_timesteps(6)
    scheduler.set_begin_index(2)
    with ThreadPoolExecutor(1) as worker, pytest.warns(UserWarning, match="a thread that did not call set_timesteps"):
        worker.submit(scheduler.step, noise(seed=1), scheduler.timesteps[3], x).result()


def test_the_same_thread_may_begin_anew_from_what_it_was_given() -> None:
    """As diffusers' classes, whose set_timesteps forgets the outputs."""
    scheduler, x = KINDS["UniPC"](), noise()
    scheduler.set_timesteps(6)
    left = scheduler.step(noise(seed=1), scheduler.timesteps[0], x).prev_sample
    scheduler.set_timesteps(6)
    made = scheduler.step(noise(seed=2), scheduler.timesteps[1], left).prev_sample
    scheduler.set_timesteps(6)
    scheduler.set_begin_index(1)
    assert torch.equal(made, scheduler.step(noise(seed=2), scheduler.timesteps[1], left).prev_sample)


def test_a_state_of_every_view_is_kept_and_put_back(scheduler: Any) -> None:
    """As StableDiffusionPanoramaPipeline does: all of ``__dict__``, one generation per view, by turns."""
    network, states = exact_network(scheduler.schedule, kind(scheduler)), [noise(seed=1), noise(seed=2)]
    wanted = [expected(scheduler, x) for x in states]
    times = scheduler.timesteps
    kept = [copy.deepcopy(scheduler.__dict__)] * len(states)
    for t in times:
        for view, x in enumerate(states):
            scheduler.__dict__.update(kept[view])
            output = network(scheduler.scale_model_input(x, t), t)
            states[view] = scheduler.step(output, t, x, return_dict=False)[0]
            kept[view] = copy.deepcopy(scheduler.__dict__)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(states, wanted, strict=True))
