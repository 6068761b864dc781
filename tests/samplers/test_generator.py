"""Loading, averaging and exporting draw nothing from torch's generator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from genie_samplers import demo, genie, schedules
from genie_samplers.demo.classifier import fashion_classifier
from genie_samplers.demo.data import LabelledImages
from genie_samplers.demo.train import Trainer, TrainingOptions, export

from .genie.heads import data, head, model

pytest.importorskip("diffusers", reason="the networks are diffusers U-Nets")


def averaged(folder: Path) -> Callable[[], object]:
    options = genie.DistillOptions(steps=1, batch_size=2, chunk_size=2, target="pointwise")
    return genie.Distiller(folder, model(), data(), options).averaged


def exported(folder: Path) -> Callable[[], object]:
    images = LabelledImages(np.zeros((2, 1, 28, 28), np.float32), np.zeros(2, np.int64))
    trainer = Trainer(folder, images, schedules.vp_linear(), TrainingOptions(steps=1, batch_size=2))
    return lambda: export(trainer, folder / "made")


def loaded(folder: Path) -> Callable[[], object]:
    genie.save_head(head(), folder)
    return lambda: genie.load_head(folder)


CALLS: dict[str, Callable[[Path], Callable[[], object]]] = {
    "averaged": averaged,
    "export": exported,
    "load_head": loaded,
    "embedded_with_head": lambda _: demo.embedded_with_head,
    "fashion_classifier": lambda _: fashion_classifier,
}


@pytest.mark.parametrize("name", CALLS)
def test_the_generator_of_torch_is_left_alone(name: str, tmp_path: Path) -> None:
    call = CALLS[name](tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    call()
    assert torch.equal(torch.rand(3), expected)


def test_the_average_goes_its_own_way(tmp_path: Path) -> None:
    options = genie.DistillOptions(steps=2, batch_size=2, chunk_size=2, target="pointwise", warmup_steps=1)
    run = genie.Distiller(tmp_path, model(), data(), options)
    found = run.averaged().state_dict()
    kept = {name: value.clone() for name, value in found.items()}
    run.take_step()
    assert all(torch.equal(value, kept[name]) for name, value in found.items())
    assert any(not torch.equal(value, run.average[name]) for name, value in found.items())
