"""Samples as files of their own in a folder, each whole or not there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..files import check_folder, replacing, require, write_tensors, write_text
from ..plan import Plan
from . import images
from .batches import Batches
from .network import Chosen

__all__ = ["FORMATS", "SampleFolder"]

FORMATS = ("png", "npz", "safetensors")
_DIGITS = 5
_KEY = "latents"


@dataclass(frozen=True)
class SampleFolder:
    """form: one of :data:`FORMATS`. Beside the samples lies plan.json."""

    path: Path
    form: str

    @classmethod
    def checked(cls, path: Path, form: str | None, chosen: Chosen) -> SampleFolder:
        """ValueError where files could not be written there, or there are some."""
        check_folder(path, name="--out")
        if path.is_dir() and any(path.iterdir()):
            raise ValueError(f"--out {path}: holds files already; give a folder that is empty or not there yet")
        form = form or ("png" if chosen.shape(1)[1] in (1, 3) else "safetensors")
        if form == "png":
            chosen.picture_shape(1)
            require("a picture", "PIL", extra="cli")
        if form == "safetensors":
            require(f"--out {path}", "safetensors", extra="diffusers")
        return cls(path, form)

    def write(self, batches: Batches, run: dict[str, Any], plan: Plan) -> None:
        """Every sample as soon as its batch is done."""
        write_text(self.path / "plan.json", plan.to_json(indent=1) + "\n")
        digits = max(_DIGITS, len(str(batches.count - 1)))
        for batch in batches:
            classes = batches.chosen.cond(batch.ids, batches.number).get("class_labels")
            for place, number in enumerate(batch.ids):
                told = {**run, "sample_id": number, "class": "none" if classes is None else int(classes[place])}
                self._write(self.path / f"{number:0{digits}d}.{self.form}", batch.samples[place], told)

    def _write(self, path: Path, sample: Tensor, told: dict[str, Any]) -> None:
        """sample: [C, H, W]."""
        if self.form == "png":
            images.save_png(images.to_pixels(sample.numpy()[None])[0], path, told)
        elif self.form == "safetensors":
            write_tensors(path, {_KEY: sample}, told)
        else:
            with replacing(path) as partial:
                np.savez(partial, latents=sample.numpy())
