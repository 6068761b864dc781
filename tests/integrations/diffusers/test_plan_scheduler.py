"""PlanScheduler: a plan as it is, GENIE with a head, and sample(pipe, ...)."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import genie_samplers as gs
from tests.integrations.diffusers.pipelines import exact_network, noise, run, sampled

diffusers = pytest.importorskip("diffusers")
ours = pytest.importorskip("genie_samplers.integrations.diffusers")


@pytest.fixture(scope="module")
def unet() -> Any:
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    return (
        diffusers.UNet2DModel(
            sample_size=16, in_channels=1, out_channels=1, block_out_channels=(8, 8), layers_per_block=1,
            norm_num_groups=4, **blocks,
        )
        .eval()
        .requires_grad_(False)
    )  # fmt: skip


def table() -> Any:
    return gs.schedules.from_diffusers(diffusers.DDPMScheduler())


@pytest.mark.parametrize("name", ["dpmpp_2m", "deis_log_ab2", "edm_heun", "f_pndm", "auto"])
def test_a_plan_as_it_is(name: str, tmp_path: Path) -> None:
    plan = gs.make_plan(name, table(), 13)
    file = tmp_path / "plan.json"
    file.write_text(plan.to_json(indent=1))
    network = exact_network(table(), "epsilon")
    for given in (plan.to_json(), str(file)):
        scheduler = ours.PlanScheduler(plan=given)
        made = sampled(scheduler, network, 13)
        assert scheduler.plan == plan
        labels = iter(range(100))

        def asked(x: torch.Tensor, t: torch.Tensor, labels: Any = labels) -> torch.Tensor:
            next(labels)
            return network(x, t[:1])

        model = gs.models.wrap(asked, table())
        assert torch.equal(made, gs.sample(model, plan, state=noise()))


def test_a_plan_is_kept_in_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(gs.make_plan("unipc2", table(), 7).to_json())
    ours.PlanScheduler(plan=str(file)).save_pretrained(tmp_path / "saved")
    file.unlink()
    again = ours.PlanScheduler.from_pretrained(tmp_path / "saved")
    again.set_timesteps(7)
    assert again.plan == gs.make_plan("unipc2", table(), 7)


def test_a_plan_from_the_middle() -> None:
    """As starting_at has it: with a warm-up of its own."""
    plan = gs.make_plan("dpmpp_2m", table(), 8)
    scheduler, network = ours.PlanScheduler(plan=plan.to_json()), exact_network(table(), "epsilon")
    scheduler.set_timesteps(8)
    scheduler.set_begin_index(3)
    from genie_samplers.solvers.registry import starting_at

    model = gs.models.wrap(lambda x, t: network(x, t[:1]), table())
    expected = gs.sample(model, starting_at(plan, 3), state=noise())
    assert torch.equal(run(scheduler, network, noise(), first=3), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "plan|format"),
        ("no such file.json", "there is no such file"),
        (gs.make_plan("ddim", gs.schedules.vp_linear(), 4).to_json(), "of the schedule vp_linear"),
        (gs.make_plan("ddim", table(), 4, prediction="v").to_json(), "prediction_type says 'epsilon'"),
        (gs.make_plan("ddim", table(), 4).guided(2.0).to_json(), "a pipeline guides by itself"),
        (gs.make_plan("ddim", table(), 4, direction="encode").to_json(), "encodes"),
    ],
)
def test_plans_that_do_not_fit(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ours.PlanScheduler(plan=text)


@pytest.mark.parametrize("options", [{}, {"corrector": "none", "filter": "tdas"}])
def test_plans_that_are_no_tables_are_refused(options: dict[str, Any]) -> None:
    plan = gs.make_plan("predictor_corrector", table(), 20, options=options)
    with pytest.raises(ValueError, match="applies operators, computes gains or starts in uniform noise"):
        ours.PlanScheduler(plan=plan.to_json()).set_timesteps(20)
    with pytest.raises(ValueError, match="applies operators, computes gains or starts in uniform noise"):
        ours.PlanScheduler(solver="predictor_corrector").set_timesteps(20)


def test_another_number_of_steps_than_the_plans() -> None:
    scheduler = ours.PlanScheduler(plan=gs.make_plan("ddim", table(), 4).to_json())
    with pytest.raises(ValueError, match="num_inference_steps=5: the plan makes 4 evaluations"):
        scheduler.set_timesteps(5)


@pytest.mark.parametrize("grid", ["auto", "config", "karras", "log_snr", "trailing"])
def test_grids(grid: str) -> None:
    scheduler = ours.PlanScheduler(solver="deis_tab2", grid=grid)
    scheduler.set_timesteps(9)
    assert scheduler.plan.nfe == 9


def test_options_of_the_solver() -> None:
    scheduler = ours.PlanScheduler(solver="edm_heun", solver_options={"s_churn": 5.0})
    scheduler.set_timesteps(9)
    assert scheduler.plan.stochastic


# --- GENIE


@pytest.mark.parametrize("kind", ["correction", "derivative"])
def test_genie_in_a_pipeline_is_genie(unet: Any, kind: str) -> None:
    """The same bits as the model with its head on the engine."""
    config, head = {
        "correction": (gs.genie.CorrectionConfig, gs.genie.CorrectionHead),
        "derivative": (gs.genie.HeadConfig, gs.genie.GenieHead),
    }[kind]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = head(config.of(unet))
        torch.nn.init.normal_(made.conv_out.weight, std=0.05)
    made = made.eval().requires_grad_(False)
    scheduler = ours.GENIEScheduler.from_config(diffusers.DDPMScheduler().config).attach(unet, made)
    scheduler.set_timesteps(6)
    x = start = noise((2, 1, 16, 16))
    for t in scheduler.timesteps:
        x = scheduler.step(unet(x, t).sample, t, x, return_dict=False)[0]
    model = gs.genie.with_head(gs.models.from_diffusers(unet, diffusers.DDPMScheduler()), made)
    assert torch.equal(x, gs.sample(model, scheduler.plan, state=start))
    multistep = gs.sample(model.model, gs.make_plan("ddim", table(), 6), state=start)
    assert not torch.allclose(x, multistep)
    pipe = diffusers.DDPMPipeline(unet, scheduler)
    assert pipe(batch_size=1, num_inference_steps=3, output_type="np").images.shape == (1, 16, 16, 1)


def test_genie_refuses_guidance_and_a_missing_head(unet: Any) -> None:
    scheduler = ours.GENIEScheduler.from_config(diffusers.DDPMScheduler().config)
    with pytest.raises(ValueError, match=r"call .attach\(pipe.unet, head\) first"):
        scheduler.set_timesteps(4)
    head = gs.genie.CorrectionHead(gs.genie.CorrectionConfig.of(unet)).eval()
    scheduler.attach(unet, head).set_timesteps(4)
    x = noise((2, 1, 16, 16))
    both = unet(torch.cat([x, x]), scheduler.timesteps[0]).sample
    with pytest.raises(ValueError, match="features of 4 samples, the step has 2"):
        scheduler.step(both[:2], scheduler.timesteps[0], x)
    with pytest.raises(ValueError, match="solver='ddim': choose genie_hermite"):
        ours.GENIEScheduler(solver="ddim")


def test_copies_of_a_genie_scheduler(unet: Any) -> None:
    """A copy shares the network; a pickle is attached again."""
    head = gs.genie.CorrectionHead(gs.genie.CorrectionConfig.of(unet)).eval()
    scheduler = ours.GENIEScheduler.from_config(diffusers.DDPMScheduler().config).attach(unet, head)

    def last(of: Any) -> torch.Tensor:
        of.set_timesteps(4)
        x = noise((1, 1, 16, 16))
        for t in of.timesteps:
            x = of.step(unet(x, t).sample, t, x, return_dict=False)[0]
        return x

    expected = last(scheduler)
    assert torch.equal(last(copy.deepcopy(scheduler)), expected)
    read = pickle.loads(pickle.dumps(scheduler))
    with pytest.raises(ValueError, match=r"call .attach\(pipe.unet, head\) first"):
        read.set_timesteps(4)
    assert torch.equal(last(read.attach(unet, head)), expected)


# --- sample(pipe, ...)


def test_a_pipeline_without_text(unet: Any) -> None:
    pipe = diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler())
    images = ours.sample(pipe, nfe=5, count=3, seed=7, output_type="latent")
    plan = gs.make_plan("auto", table(), 5)
    model = gs.models.from_diffusers(unet, diffusers.DDPMScheduler())
    assert torch.equal(images, gs.sample(model, plan, shape=(3, 1, 16, 16), seed=7))
    assert ours.sample(pipe, nfe=2, count=1)[0].size == (16, 16)
    with pytest.raises(TypeError, match="has no unet and scheduler"):
        ours.sample(object())
