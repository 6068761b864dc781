"""What a folder says of its network: the network's own, that of a pipeline, and one that this library wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genie_samplers as gs
from genie_samplers.models import read_folder, write_description

from .network_folders import save_dit, save_pipeline, save_unet

pytest.importorskip("diffusers", reason="the networks are diffusers U-Nets")

COSINE, LINEAR = gs.schedules.vp_cosine(), gs.schedules.vp_linear()
HALF = np.array([0.5])


def label_of(model: gs.models.WrappedModel) -> list[float]:
    return np.asarray(model.label(HALF)).tolist()


def test_a_folder_of_weights_alone_says_nothing(tmp_path: Path) -> None:
    found = read_folder(save_unet(tmp_path))
    assert (found.home, found.schedule, found.prediction, found.label) == (tmp_path, None, None, None)
    with pytest.raises(ValueError, match=r"schedule: nothing in .* says it; give the one that it was trained with"):
        gs.models.load(tmp_path)


def test_what_was_written_beside_a_network_is_what_loads_it(tmp_path: Path) -> None:
    write_description(save_unet(tmp_path), COSINE, "v", "log_gamma")
    model = gs.models.load(tmp_path)
    assert (model.schedule, model.outputs) == (COSINE, ("v",))
    assert label_of(model) == COSINE.log_gamma(HALF).tolist()


def test_arguments_go_before_what_the_folder_says(tmp_path: Path) -> None:
    write_description(save_unet(tmp_path), COSINE, "v", "log_gamma")
    model = gs.models.load(tmp_path, LINEAR, prediction="x0", label=LINEAR.label)
    assert (model.schedule, model.outputs, label_of(model)) == (LINEAR, ("x0",), LINEAR.label(HALF).tolist())


def ddim(**values: Any) -> dict[str, Any]:
    return {"_class_name": "DDIMScheduler", "num_train_timesteps": 50, **values}


@pytest.mark.parametrize("part", ["unet", "transformer"])
def test_a_pipeline_is_its_network_and_its_scheduler(part: str, tmp_path: Path) -> None:
    save_pipeline(tmp_path, ddim(prediction_type="v_prediction"))
    (tmp_path / "unet").rename(tmp_path / part)
    found = read_folder(tmp_path)
    assert (found.home, found.prediction) == (tmp_path / part, "v")
    assert found.schedule == gs.schedules.from_betas(gs.schedules.linear_betas(50))
    assert gs.models.load(tmp_path).outputs == ("v",)


@pytest.mark.parametrize(
    ("config", "prediction"),
    [
        (ddim(), "epsilon"),
        (ddim(prediction_type="sample"), "x0"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "flow"),
        (
            {
                "_class_name": "UniPCMultistepScheduler",
                "use_flow_sigmas": True,
                "prediction_type": "flow_prediction",
            },
            "flow",
        ),
    ],
)
def test_the_prediction_is_what_the_scheduler_says(config: dict[str, Any], prediction: str, tmp_path: Path) -> None:
    assert read_folder(save_pipeline(tmp_path, config)).prediction == prediction


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ddim(prediction_type="noise"), r"prediction_type='noise': epsilon, sample, .* are read"),
        ({"_class_name": "IPNDMScheduler"}, r"scheduler: IPNDMScheduler; .* are read"),
        ({}, r"scheduler: no _class_name; .* are read"),
        ({"_class_name": "EDMEulerScheduler"}, "EDMEulerScheduler scales what its network takes"),
    ],
)
def test_a_scheduler_that_is_not_read_leaves_the_schedule_to_be_said(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    save_pipeline(tmp_path, config)
    fix = "give the network's own folder, and say schedule and prediction"
    with pytest.raises(ValueError, match=rf"scheduler_config\.json: cannot be read \(.*{message}.*\); {fix}"):
        read_folder(tmp_path)
    assert gs.models.load(tmp_path / "unet", COSINE, prediction="v").schedule == COSINE


def test_two_networks_and_none_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has none of config\.json, unet/config\.json, transformer/config\.json"):
        read_folder(tmp_path)
    save_unet(tmp_path / "unet")
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds unet and transformer; give the folder of one of them"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": "noise"}, "prediction is 'noise', none of epsilon"),
        ({"label": "seconds"}, "label is 'seconds', none of schedule, log_gamma"),
        ({"label": ["schedule"]}, "label is "),
        ({"schedule": {"name": "none"}}, "schedule name='none'"),
        ({"more": 1}, r"holds \['label', 'more', 'prediction', 'schedule'\]"),
    ],
)
def test_a_description_that_was_damaged_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_description(save_unet(tmp_path), COSINE, "v", "schedule")
    file = tmp_path / "genie_network.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ValueError, match=rf"genie_network\.json: cannot be read \({message}"):
        read_folder(tmp_path)


def test_a_transformer_predicts_without_its_variance_and_is_asked_for_no_class(tmp_path: Path) -> None:
    model = gs.models.load(save_dit(tmp_path), LINEAR)
    x, t = torch.ones(2, 2, 4, 4), torch.tensor([3.0, 4.0])
    network: Any = model.network
    expected = network(x, t, class_labels=torch.full((2,), 3)).sample[:, :2]
    assert torch.equal(model(x, t), expected) and expected.shape == x.shape
