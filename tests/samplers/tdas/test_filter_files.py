"""Filters in files: a .json that says what it is, and a .safetensors of the same name with the numbers."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from genie_samplers import tdas

SPEC = tdas.FilterSpec(
    "dft", tdas.radial_filter((6, 4), transform="dft", lambda1=0.9, r1=0.3), np.full((3, 6, 4), 0.5), {"lambda1": 0.9}
)


def saved(folder: Path) -> Path:
    SPEC.save(folder / "filter.json")
    return folder / "filter.json"


def test_a_filter_is_read_as_it_was_written(tmp_path: Path) -> None:
    read = tdas.FilterSpec.load(saved(tmp_path))
    assert SPEC.space is not None and read.space is not None
    assert (read.transform, dict(read.about)) == ("dft", {"lambda1": 0.9})
    assert read.frequency.tobytes() == SPEC.frequency.tobytes()
    assert read.space.tobytes() == SPEC.space.tobytes()


def test_a_filter_without_a_space_filter_has_none_when_read(tmp_path: Path) -> None:
    tdas.published("cifar10", iterations=50).save(tmp_path / "filter.json")
    read = tdas.FilterSpec.load(tmp_path / "filter.json")
    assert read.space is None
    assert read.about["published"] == "cifar10"


@pytest.mark.parametrize("about", [{"from": object()}, {"strength": float("nan")}])
def test_a_filter_that_no_json_can_describe_leaves_the_files_as_they_were(about: dict, tmp_path: Path) -> None:
    path = saved(tmp_path)
    before = [file.read_bytes() for file in sorted(tmp_path.iterdir())]
    with pytest.raises(ValueError, match=r"about: .*; give a mapping that JSON can hold"):
        tdas.FilterSpec("dct", np.ones((6, 4)), about=about).save(path)
    assert [file.read_bytes() for file in sorted(tmp_path.iterdir())] == before


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda made: pickle.loads(pickle.dumps(made))}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_the_numbers_of_a_copy_are_read_only_too(copied: Callable[[Any], Any]) -> None:
    spec, gains = copied(SPEC), copied(tdas.NoiseGains("dct", np.ones((2, 4, 4)), {"from": "ones"}))
    assert not (spec.frequency.flags.writeable or spec.space.flags.writeable or gains.bank.flags.writeable)
    assert (spec.space == SPEC.space).all()
    assert (spec.transform, spec.about, gains.about) == ("dft", SPEC.about, {"from": "ones"})


def with_json(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = json.loads((folder / "filter.json").read_text())
        (folder / "filter.json").write_text(json.dumps({**text, **changes}))

    return change


def with_tensors(**tensors: torch.Tensor) -> Callable[[Path], None]:
    return lambda folder: save_file(tensors, folder / "filter.safetensors")


def without_tensors(folder: Path) -> None:
    (folder / "filter.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            with_json(format="a plan"),
            "format 'a plan', version 1, not .* noise filter.; write one with",
        ),
        (
            with_json(version=2),
            "format 'genie_samplers noise filter', version 2, not .*; write",
        ),
        (with_json(more=1), r"filter.json: cannot be read .keys \['about', 'format', 'more'"),
        (with_json(about=[1]), "filter.json: cannot be read .tensors 'filter.safetensors', about .1., not a name"),
        (with_json(tensors="../filter.safetensors"), "filter.json: cannot be read .tensors .* lie in another folder"),
        (with_json(transform="fft"), "filter.json: cannot be read .transform='fft'; choose one of dct, dft"),
        (without_tensors, "filter.safetensors: cannot be read"),
        (with_tensors(other=torch.ones(2, 2)), r"filter.safetensors: holds \['other'\], not frequency, space; write"),
        (with_tensors(frequency=torch.zeros(2, 2)), "filter.json: cannot be read .frequency: its least gain is"),
        (with_tensors(frequency=torch.full((2, 2), torch.nan)), "filter.json: .*frequency: holds inf or NaN"),
        (with_tensors(frequency=torch.ones(4)), r"filter.json: .*frequency has shape \(4,\)"),
    ],
)
def test_a_damaged_file_is_refused_by_name_with_the_fix(
    damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    path = saved(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        tdas.FilterSpec.load(path)
    assert str(tmp_path / "filter.") in str(error.value)


@pytest.mark.parametrize("call", [SPEC.save, tdas.FilterSpec.load])
def test_a_filter_has_a_json_name(call: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r"path='filter.pt'; need a name that ends in .json"):
        call("filter.pt")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none.json: cannot be read .No such file or directory.; write one with"):
        tdas.FilterSpec.load(tmp_path / "none.json")
