"""The embedded network through the engine: a real U-Net, in one process and in two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import genie_samplers as gs

pytest.importorskip("diffusers", reason="the embedded network is a diffusers UNet2DModel")

pytestmark = pytest.mark.long
SHAPE = (2, 1, 28, 28)
CLASSES = {"class_labels": torch.tensor([3, 7])}

SHARD = """
import sys, numpy as np, torch, genie_samplers as gs
torch.set_num_threads(1)
network, plan = gs.demo.embedded(), gs.make_plan("deis_tab2", gs.schedules.vp_linear(), 3)
for first, last, path in zip(map(int, sys.argv[1::3]), map(int, sys.argv[2::3]), sys.argv[3::3]):
    ids = range(first, last)
    classes = torch.tensor([i % 10 for i in ids])
    x = gs.sample(network, plan, shape=(len(ids), 1, 28, 28), seed=4, sample_ids=ids,
                  cond={"class_labels": classes}, batch_size=3)
    np.save(path, x.numpy())
"""


@pytest.fixture(scope="module")
def network() -> gs.models.WrappedModel:
    return gs.demo.embedded()


def shard(*parts: tuple[int, int, Path]) -> tuple[str, ...]:
    """A program that samples the ids from first to last into a file, one part after the other."""
    return SHARD, *(str(value) for part in parts for value in part)


def test_two_processes_with_half_the_ids_each_give_what_one_gives(tmp_path, programs):
    first, second, both = (tmp_path / name for name in ("first.npy", "second.npy", "both.npy"))
    done = programs.together([shard((0, 6, both), (0, 3, first)), shard((3, 6, second))])
    assert [program.stderr for program in done if program.returncode] == []
    whole, *halves = (np.load(path) for path in (both, first, second))
    assert np.array_equal(whole.view(np.int32), np.concatenate(halves).view(np.int32))


def test_samples_are_images_of_their_class(network):
    plan = gs.make_plan("ipndm", gs.schedules.vp_linear(), 8)
    classes = torch.tensor([1] * 8 + [8] * 8)
    x = gs.sample(network, plan, shape=(16, 1, 28, 28), seed=0, cond={"class_labels": classes})
    trouser, bag = x.clamp(-1, 1).unflatten(0, (2, 8)).mean(1)
    # a trouser leaves the left edge dark, a bag reaches it
    assert trouser[0, 14:26, :4].mean() < -0.8 < bag[0, 14:26, :4].mean() - 0.2


@pytest.mark.parametrize("name", ["ve", "edm", "vp_cosine", "sub_vp"])
def test_the_network_serves_schedules_that_it_was_not_trained_on(network, name):
    """The same flow in another variable: DDIM's steps on the same gammas give the same images."""
    served = gs.demo.embedded(schedule=getattr(gs.schedules, name)())
    gammas = np.geomspace(min(served.schedule.gamma(served.schedule.t_max), 40.0), 0.01, 6)

    def clean(model):
        plan = gs.make_plan("ddim", model.schedule, times=model.schedule.time_of_gamma(gammas))
        end = model.schedule.alpha(model.schedule.time_of_gamma(gammas[-1]))
        return gs.sample(model, plan, shape=SHAPE, seed=0, cond=CLASSES) / float(end)

    assert torch.allclose(clean(served), clean(network), atol=2e-4)


def test_a_schedule_of_more_noise_than_the_network_knows_is_refused():
    with pytest.raises(ValueError, match="goes to gamma = inf, the network knows up to 152"):
        gs.demo.embedded(schedule=gs.schedules.flow())


def test_guidance_of_one_is_the_conditional_network(network):
    plan = gs.make_plan("deis_tab1", gs.schedules.vp_linear(), 2)
    guided = gs.guidance.classifier_free(network, null={"class_labels": gs.demo.NULL_CLASS})
    plain = gs.sample(network, plan, shape=SHAPE, cond=CLASSES)
    # equal up to the network's own arithmetic, which differs between batches of 2 and 4
    assert torch.allclose(gs.sample(guided, plan.guided(1.0), shape=SHAPE, cond=CLASSES), plain, atol=1e-3)


def test_guidance_moves_the_samples(network):
    plan = gs.make_plan("deis_tab1", gs.schedules.vp_linear(), 4)
    guided = gs.guidance.classifier_free(network, null={"class_labels": gs.demo.NULL_CLASS})
    plain = gs.sample(network, plan, shape=SHAPE, cond=CLASSES)
    assert (gs.sample(guided, plan.guided(3.0), shape=SHAPE, cond=CLASSES) - plain).abs().max() > 0.1


def test_network_without_classes_gets_the_null_class(network):
    x, t = torch.zeros(2, 1, 28, 28), torch.zeros(2)
    with torch.no_grad():
        assert torch.equal(network(x, t), network(x, t, class_labels=torch.tensor([10, 10])))


def test_bfloat16_network_runs_under_a_float32_state():
    model = gs.demo.embedded(dtype=torch.bfloat16)
    plan = gs.make_plan("deis_tab1", gs.schedules.vp_linear(), 3)
    x = gs.sample(model, plan, shape=(2, 1, 28, 28))
    assert x.dtype == torch.float32 and x.isfinite().all()


def test_assets_fit_their_budget():
    folder = Path(gs.__file__).parent / "demo" / "assets"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 8 * 2**20
    assert (folder / "README.md").exists()
