"""Comparisons made of chosen numbers, and the elements of a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genie_samplers.uses.compare import Cell, Comparison, rmse

__all__ = ["NFES", "SOLVERS", "Element", "Page", "comparison", "noise", "pixels_of"]

SOLVERS, NFES = ("ddim", "ipndm"), (5, 8, 10)
_VOID = {"meta", "link", "img", "input", "br"}


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Numbers in [-1, 1]."""
    return 2.0 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1.0


def comparison(*shape: int, solvers: tuple[str, ...] = SOLVERS, nfes: tuple[int, ...] = NFES) -> Comparison:
    """Every cell off by 0.4 / (evaluations * its place among the solvers), to both sides."""
    fine, away = noise(*shape), noise(*shape, seed=1).sign()
    cells = [
        Cell(solver, nfe, samples := fine + 0.4 / (nfe * place) * away, rmse(samples, fine), fine)
        for place, solver in enumerate(solvers, start=1)
        for nfe in nfes
    ]
    return Comparison(fine, cells)


@dataclass
class Element:
    """``within``: the elements around it, outermost first. text: what it holds directly, and in what is inside."""

    tag: str
    attributes: dict[str, str]
    within: tuple[Element, ...]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """The elements of a page in order, as html.parser reads them; ``open`` is empty where all were closed."""

    source: str
    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)
        self.close()

    @staticmethod
    def of(path: Path) -> Page:
        return Page(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, tuple(self.open))
        self.elements.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}, tuple(self.open)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, (self.open[-1], tag)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Of this tag with these attributes; ``_`` stands for ``-``, and ``class_`` for class."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [e for e in self.elements if e.tag == tag and wanted.items() <= e.attributes.items()]

    def one(self, tag: str, **attributes: str) -> Element:
        (found,) = self.all(tag, **attributes)
        return found

    def inside(self, tag: str, *around: Element) -> list[Element]:
        """Of this tag, within all of these."""
        return [e for e in self.all(tag) if all(any(e is not a and a is b for b in e.within) for a in around)]


def pixels_of(picture: Element) -> np.ndarray:
    """uint8 [H, W] or [H, W, 3] of the PNG that an img holds."""
    kind, _, packed = picture.attributes["src"].partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(packed, validate=True))))
