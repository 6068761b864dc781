"""Files that are written whole or not at all: beside their place under another name, then renamed."""

from __future__ import annotations

import csv
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = [
    "check_folder",
    "check_target",
    "clear_partials",
    "replacing",
    "replacing_files",
    "replacing_folder",
    "write_bytes",
    "write_rows",
    "write_text",
]

_MARK = ".partial"


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """The name to write a file under, which becomes ``path`` where the block ends well.

    It lies in the same folder, which is made, and ends in the same suffix. Where the block fails or is interrupted, or
    the process is killed, ``path`` has its old bytes, or is not there; what was written so far is removed, after a kill
    by :func:`clear_partials`. Of a link what it leads to is replaced; the permissions of an old file stay.
    """
    place = _place(Path(path))
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{secrets.token_hex(4)}{_MARK}{place.suffix}")
    try:
        yield partial
        if place.exists():
            shutil.copymode(place, partial)
        os.replace(partial, place)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path | str) -> Iterator[Path]:
    """As :func:`replacing`, of an empty folder that takes the place of ``path`` and of all that was in it."""
    place = _place(Path(path))
    token = secrets.token_hex(4)
    partial, old = (place.with_name(f".{place.name}.{token}{mark}") for mark in (_MARK, f".old{_MARK}"))
    partial.mkdir(parents=True)
    try:
        yield partial
        if place.is_dir():
            os.replace(place, old)  # a folder that is not empty cannot be replaced at once
        try:
            os.replace(partial, place)
        except OSError:
            if old.is_dir():
                os.replace(old, place)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def replacing_files(folder: Path | str) -> Iterator[Path]:
    """An empty folder whose files take their places in ``folder``, which is made, where the block ends well.

    Other files of the folder stay. Each file is whole, or the old one.
    """
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    partial = home / f".{secrets.token_hex(4)}{_MARK}"
    partial.mkdir()
    try:
        yield partial
        for file in sorted(partial.iterdir()):
            os.replace(file, _place(home / file.name))
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_bytes(path: Path | str, data: bytes) -> None:
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """In UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_rows(path: Path | str, rows: Iterable[Sequence[object]]) -> None:
    """As CSV."""
    with replacing(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def clear_partials(path: Path | str) -> None:
    """Remove what writers of this file, or folder, left that were killed; none may be at work on it."""
    place = _place(Path(path))
    for partial in place.parent.glob(f".{_escaped(place.name)}.*{_MARK}*"):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            with suppress(OSError):
                partial.unlink()


def check_target(path: Path, *, suffix: str = "", name: str = "out") -> None:
    """ValueError where a file could not be written there, as far as can be told without writing; makes nothing."""
    if path.suffix.lower() != suffix and suffix:
        raise ValueError(f"{name}={str(path)!r}; need a name that ends in {suffix}")
    place = _place(path)
    if place.exists() and not (place.is_file() and os.access(place, os.W_OK)):
        raise ValueError(f"{name}={str(path)!r}; cannot be written, choose another file")
    if reason := _why_not_into(place.parent):
        raise ValueError(f"{name}={str(path)!r}; {reason}, choose another place")


def check_folder(path: Path, *, name: str) -> None:
    """ValueError where no files could be written into this folder, which need not be there yet; makes nothing."""
    if reason := _why_not_into(path):
        raise ValueError(f"{name}={str(path)!r}; {reason}, choose another place")


def _why_not_into(folder: Path) -> str | None:
    """By the nearest folder that is there, in which the others would be made."""
    home = next(place for place in (folder, *folder.absolute().parents) if place.exists() or place.is_symlink())
    if not home.is_dir():
        return f"{str(home)!r} is not a folder"
    return None if os.access(home, os.W_OK | os.X_OK) else f"the folder {str(home)!r} cannot be written to"


def _place(path: Path) -> Path:
    """Of a link what it leads to."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
