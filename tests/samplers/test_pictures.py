"""Pictures that people hand in are brought to the size of the network, or refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genie_samplers import files
from genie_samplers.cli.files import read_images
from genie_samplers.files import pictures, read_picture

FIX = "give another"
RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (6, 10, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_a_picture_of_the_size_keeps_its_bits(tmp_path: Path) -> None:
    found = read_picture(save(tmp_path / "x.png", COLOURS), (3, 6, 10), FIX)
    assert np.array_equal(found, COLOURS.transpose(2, 0, 1))


def test_a_wide_picture_is_cropped_around_its_centre(tmp_path: Path) -> None:
    pixels = np.zeros((8, 24), np.uint8)
    pixels[:, 8:16] = 200
    assert np.array_equal(read_picture(save(tmp_path / "x.png", pixels), (1, 8, 8), FIX), np.full((1, 8, 8), 200))


def test_a_large_picture_is_resized(tmp_path: Path) -> None:
    pixels = np.full((40, 60), 77, np.uint8)
    assert np.array_equal(read_picture(save(tmp_path / "x.jpg", pixels), (1, 5, 4), FIX), np.full((1, 5, 4), 77))


@pytest.mark.parametrize(("channels", "expected"), [(1, [[76]]), (3, [[255], [0], [0]])])
def test_colours_become_what_the_network_has(channels: int, expected: list[list[int]], tmp_path: Path) -> None:
    red = save(tmp_path / "x.png", np.full((2, 2, 3), (255, 0, 0), np.uint8))
    found = read_picture(red, (channels, 2, 2), FIX)
    assert np.array_equal(found.reshape(channels, 4), np.repeat(expected, 4, axis=1))


def test_a_picture_that_lies_on_its_side_is_turned(tmp_path: Path) -> None:
    orientation, turned_left = 0x0112, 8
    exif = Image.Exif()
    exif[orientation] = turned_left
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(read_picture(tmp_path / "x.png", (1, 3, 2), FIX)[0], np.rot90(pixels))


def test_a_picture_of_another_depth_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("I;16", (28, 28)).save(path)
    with pytest.raises(ValueError, match=r"x\.png: cannot be read \(I;16, 28 x 28 pixels; need 8 bits"):
        read_picture(path, (1, 28, 28), FIX)


def test_a_picture_of_very_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "x.png", COLOURS)
    monkeypatch.setattr(pictures, "_MOST_PIXELS", 59)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match=r"x\.png: cannot be read \(RGB, 10 x 6 pixels; need 8 bits, 59 at most\)"):
        read_picture(tmp_path / "x.png", (3, 6, 10), FIX)


def test_a_folder_is_its_pictures_by_name(tmp_path: Path) -> None:
    save(tmp_path / "b.PNG", np.full((4, 4), 10, np.uint8))
    save(tmp_path / "a.jpeg", np.full((4, 4), 20, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    assert [path.name for path in files.pictures_in(tmp_path)] == ["a.jpeg", "b.PNG"]
    assert read_images([tmp_path], (1, 4, 4)).shape == (2, 1, 4, 4)


def test_a_folder_without_pictures_and_a_broken_picture_in_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no picture; give a folder of \.png, \.jpg, \.jpeg files"):
        read_images([tmp_path], (1, 4, 4))
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"a\.png: cannot be read"):
        read_images([tmp_path], (1, 4, 4))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("x.gif", (1, 4, 4), r"x\.gif: ends in none of \.npy, \.png, \.jpg, \.jpeg"),
        ("x.png", (4, 4, 4), r"x\.png: the network's samples have 4 channels; give a \.npy of floats"),
    ],
)
def test_what_is_no_picture_of_the_network_is_refused(
    name: str, shape: tuple[int, int, int], message: str, tmp_path: Path
) -> None:
    Image.new("L", (4, 4)).save(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        read_images([tmp_path / name], shape)
