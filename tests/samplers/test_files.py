"""Files are written whole or not at all, and read only where they are what they say."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genie_samplers
from genie_samplers import files
from genie_samplers.cli import images
from genie_samplers.cli.files import read_images, read_latents, read_plan, write_latents
from genie_samplers.demo.data import read_idx
from genie_samplers.training import plot_loss

from .command_line import write_idx

FIX = "give another"
SHAPE = (1, 28, 28)


class Stopped(Exception):
    """A writer that fails half-way: a full disk, or Ctrl-C."""


# --- writing


def fail_at_the_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise Stopped

    monkeypatch.setattr(os, "replace", stopped)


def rows() -> list[tuple[int, int]]:
    return [(1, 2)]


WRITERS: dict[str, Callable[[Path], None]] = {
    "text.json": lambda path: files.write_text(path, "{}"),
    "table.csv": lambda path: files.write_rows(path, rows()),
    "weights.safetensors": lambda path: files.write_tensors(path, {"a": torch.ones(2)}),
    "latents.safetensors": lambda path: write_latents(path, torch.zeros(1, 1, 28, 28)),
    "latents.npy": lambda path: write_latents(path, torch.zeros(1, 1, 28, 28)),
    "picture.png": lambda path: images.save_png(np.zeros((4, 4, 1), np.uint8), path, {}),
    "loss.png": lambda path: plot_loss([1.0] * 300, path, "loss"),
}
every_writer = pytest.mark.parametrize("name", WRITERS)


@every_writer
def test_a_file_is_made_in_a_folder_that_is_not_there_yet(name: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / name
    WRITERS[name](path)
    assert path.stat().st_size > 0
    assert list(path.parent.iterdir()) == [path]


@every_writer
def test_a_writer_that_fails_keeps_the_old_bytes_and_leaves_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    fail_at_the_rename(monkeypatch)
    with pytest.raises(Stopped):
        WRITERS[name](path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


@every_writer
def test_a_writer_that_fails_leaves_no_file_where_there_was_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at_the_rename(monkeypatch)
    with pytest.raises(Stopped):
        WRITERS[name](tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [Stopped, KeyboardInterrupt, OSError])
def test_what_was_written_before_the_failure_is_not_seen(stop: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(stop), files.replacing(path) as partial:
        partial.write_text("half of the n")
        raise stop
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


KILLED = """
import os, signal, sys
from genie_samplers import files
with files.replacing(sys.argv[1]) as partial:
    partial.write_text("half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_keeps_the_old_bytes_and_what_it_left_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / "x[1].txt"
    path.write_text("old")
    (tmp_path / "x1.txt").write_text("another")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 3
    files.clear_partials(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x1.txt", "x[1].txt"]


def test_of_a_link_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    there, link = tmp_path / "there.txt", tmp_path / "link.txt"
    there.write_text("old")
    link.symlink_to(there)
    files.write_text(link, "new")
    assert (link.is_symlink(), there.read_text()) == (True, "new")


def test_the_permissions_of_an_old_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    path.chmod(0o640)
    files.write_text(path, "new")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_folder_takes_the_place_of_the_old_one_or_the_old_one_stays(tmp_path: Path) -> None:
    place = tmp_path / "head"
    with files.replacing_folder(place) as partial:
        (partial / "old").touch()
    with pytest.raises(Stopped), files.replacing_folder(place) as partial:
        (partial / "new").touch()
        raise Stopped
    assert (list(tmp_path.iterdir()), [f.name for f in place.iterdir()]) == ([place], ["old"])
    with files.replacing_folder(place) as partial:
        (partial / "new").touch()
    assert (list(tmp_path.iterdir()), [f.name for f in place.iterdir()]) == ([place], ["new"])


def test_files_are_added_to_a_folder_all_or_none_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    with pytest.raises(Stopped), files.replacing_files(tmp_path) as made:
        (made / "new").touch()
        raise Stopped
    assert [f.name for f in tmp_path.iterdir()] == ["other"]
    with files.replacing_files(tmp_path) as made:
        (made / "new").touch()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["new", "other"]


def test_a_check_of_a_target_makes_no_folder(tmp_path: Path) -> None:
    files.check_target(tmp_path / "new" / "x.png", suffix=".png")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_refused_by_the_nearest_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != tmp_path)
    with pytest.raises(ValueError, match=rf"out=.*; the folder '{tmp_path}' cannot be written to"):
        files.check_target(tmp_path / "new" / "x.png")


IN_PLACE = re.compile(r"open\(.*[\"'][wax]b?\+?[\"']|\.write_(text|bytes)\(|\bsave_file\(|np\.save|savefig\(|\.save\(")
SOURCES = sorted(Path(genie_samplers.__file__).parent.rglob("*.py"))


def writes(path: Path) -> list[str]:
    """The lines that write to a file whose name is not the one of :func:`files.replacing`."""
    lines = [line for line in path.read_text().splitlines() if IN_PLACE.search(line)]
    # the helper and its name; of a run, a report, a filter; into memory
    allowed = ("partial", "files.write_text(", "self.save()", "found.save(", "spec.save(", ".save(packed")
    return [line.strip() for line in lines if not any(word in line for word in allowed)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_written_in_place(path: Path) -> None:
    assert writes(path) == []


# --- reading


def npy(path: Path) -> Path:
    np.save(path, np.zeros((2, 1, 28, 28), np.float32))
    return path


def tensors(path: Path) -> Path:
    files.write_tensors(path, {"latents": torch.zeros(2, 1, 28, 28)})
    return path


def png(path: Path) -> Path:
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(path)
    return path


def plan(path: Path) -> Path:
    path.write_text(genie_samplers.make_plan("ddim", genie_samplers.schedules.vp_linear(), 2).to_json())
    return path


def idx(path: Path) -> Path:
    write_idx(path, np.zeros((3, 28, 28)))
    return path


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "images.npy": (npy, lambda path: read_images([path], SHAPE)),
    "latents.npy": (npy, lambda path: read_latents(path, SHAPE)),
    "latents.safetensors": (tensors, lambda path: read_latents(path, SHAPE)),
    "image.png": (png, lambda path: read_images([path], SHAPE)),
    "plan.json": (plan, read_plan),
    "images.gz": (idx, read_idx),
}
every_kind = pytest.mark.parametrize("name", KINDS)


def refusal(name: str, path: Path) -> str:
    with pytest.raises(ValueError) as refused:
        KINDS[name][1](path)
    return str(refused.value)


@every_kind
def test_a_good_file_of_each_kind_is_read(name: str, tmp_path: Path) -> None:
    make, read = KINDS[name]
    assert read(make(tmp_path / name)) is not None


@every_kind
@pytest.mark.parametrize("kept", [0, 1, 7, 40, -20])
def test_a_truncated_file_is_named(name: str, kept: int, tmp_path: Path) -> None:
    path = KINDS[name][0](tmp_path / name)
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(name, path).startswith(f"{path}: cannot be read (")


@every_kind
@pytest.mark.parametrize("data", [b"no such thing", b"\x00" * 200, b"\xff" * 200, b"[" * 5000], ids=repr)
def test_garbage_is_named(name: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert refusal(name, path).startswith(f"{path}: ")


@every_kind
def test_a_missing_file_and_a_folder_are_named(name: str, tmp_path: Path) -> None:
    assert refusal(name, tmp_path / name).startswith(f"{tmp_path / name}: cannot be read (")
    (tmp_path / name).mkdir()
    assert refusal(name, tmp_path / name).startswith(f"{tmp_path / name}: ")


def test_an_array_whose_header_claims_more_than_the_file_holds_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (2**50,)})
    with pytest.raises(ValueError, match=rf"its header says float64 \({2**50},\), {2**53} bytes, and it holds 0"):
        files.read_npy(path, FIX)


def test_an_array_of_pickled_objects_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="its header says object"):
        files.read_npy(path, FIX)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_read_as_it_was_written(order: str, tmp_path: Path) -> None:
    values = np.asarray(np.arange(6.0).reshape(2, 3), order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "x.npy", values)
    assert np.array_equal(files.read_npy(tmp_path / "x.npy", FIX), values)


@pytest.mark.parametrize(
    ("value", "reason"), [("[1]", "not an object"), ("NaN", "no JSON number"), ('{"a": Infinity}', "no JSON number")]
)
def test_json_that_is_no_object_of_numbers_is_refused(value: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(value)
    with pytest.raises(ValueError, match=rf"x\.json: cannot be read \(.*{reason}.*\); {FIX}"):
        files.read_json(tmp_path / "x.json", FIX)
