"""What a noise filter is: a transform, gains per frequency and gains per pixel; as numbers and as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import boolean, choice, reals, shown
from ..files import unreadable
from .filter_files import FIX, read_filter, write_filter
from .transforms import TRANSFORMS, image_shape, matrix, transformed

__all__ = ["FilterSpec"]

Array = NDArray[np.float64]

_KIND = "genie_samplers noise filter"


@dataclass(frozen=True, eq=False)
class FilterSpec:
    """eta = B z with B = T^-1 diag(frequency) T diag(space): pixels first, then frequencies. arXiv 2206.04029.

    transform: "dct" or "dft" (:func:`.matrix`). frequency: positive, [H, W] or [C, H, W]. space: positive, [C, H, W]
    or [H, W], None for 1 everywhere. about: JSON of where it comes from. Arrays are copied, float64 and read-only.
    ValueError or TypeError naming argument, value and fix.
    """

    transform: str
    frequency: Array
    space: Array | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        choice(self.transform, "transform", TRANSFORMS)
        object.__setattr__(self, "frequency", _gains(self.frequency, "frequency"))
        if self.space is not None:
            object.__setattr__(self, "space", _gains(self.space, "space"))
            both = (self.space, self.frequency)
            channels = {array.shape[0] for array in both if array.ndim == 3}
            if self.space.shape[-2:] != self.size or len(channels) > 1:
                raise ValueError(
                    f"space has shape {self.space.shape}, frequency {self.frequency.shape}; make both for one sample "
                    "shape [C, H, W]"
                )
        if not isinstance(self.about, Mapping):
            raise TypeError(f"about={shown(self.about)}: give a mapping that JSON can hold")

    def __reduce__(self) -> tuple[object, ...]:
        return FilterSpec, (
            self.transform,
            self.frequency,
            self.space,
            self.about,
        )  # a copy's arrays are read-only, too

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        height, width = self.frequency.shape[-2:]
        return height, width

    @property
    def is_identity(self) -> bool:
        """Whether it leaves every sample as it is."""
        return bool(np.all(self.frequency == 1.0)) and (self.space is None or bool(np.all(self.space == 1.0)))

    @property
    def noise_energy(self) -> float:
        """trace(B B^T) / d: the mean square of filtered white noise."""
        channels = max((array.shape[0] for array in self._arrays if array.ndim == 3), default=1)
        shape = (channels, *self.size)
        power = np.broadcast_to(self.frequency**2, shape)
        if self.space is None:
            return float(power.mean())
        height, width = (_squares(self.transform, n) for n in self.size)
        per_pixel = height.T @ power @ width  # (T^-1 R^2 T)_jj
        return float((np.broadcast_to(self.space**2, shape) * per_pixel).mean())

    def check_fits(self, shape: Sequence[int]) -> None:
        """ValueError unless it filters samples of ``shape``: [B, C, H, W], or [B, C, ..., H, W] plane by plane.

        [C, H, W] and [H, W] are taken, too.
        """
        channels = next((array.shape[:1] for array in self._arrays if array.ndim == 3), ())
        own = (*channels, *self.size)
        if image_shape(shape)[-len(own) :] != own:
            raise ValueError(
                f"filter is for samples [..., {', '.join(map(str, own))}], the model's are {list(shape)}; calibrate "
                "one on this model, or give radial_filter its size"
            )

    def apply(self, z: ArrayLike, *, adjoint: bool = False) -> Array:
        """B z, or B^T z, of samples as of :meth:`check_fits`, in float64 on the host: for statistics and tests."""
        values = reals(z, "z")
        self.check_fits(values.shape)
        frequency = _beside(self.frequency, values.ndim)
        space = np.ones(1) if self.space is None else _beside(self.space, values.ndim)
        values = values if boolean(adjoint, "adjoint") else values * space
        values = transformed(frequency * transformed(values, self.transform), self.transform, inverse=True)
        return values * space if adjoint else values

    def save(self, path: Path | str) -> None:
        """``path``, a .json that says what it is, and beside it the numbers in a .safetensors of the same name."""
        arrays = {"frequency": self.frequency} | ({} if self.space is None else {"space": self.space})
        write_filter(path, _KIND, self.transform, arrays, self.about)

    @staticmethod
    def load(path: Path | str) -> FilterSpec:
        """Read :meth:`save`'s two files; ValueError naming the file, what is wrong with it and the fix."""
        transform, arrays, about = read_filter(path, _KIND, "frequency", "space")
        with unreadable(Path(path), FIX):
            return FilterSpec(transform, arrays["frequency"], arrays.get("space"), about)

    @property
    def _arrays(self) -> tuple[Array, ...]:
        return (self.frequency,) if self.space is None else (self.frequency, self.space)


def _beside(numbers: Array, axes: int) -> Array:
    """[C, H, W] as it multiplies samples of so many axes, [B, C, ..., H, W]; [H, W] as it is."""
    if numbers.ndim == 2:
        return numbers
    return numbers.reshape(len(numbers), *(1,) * max(0, axes - 4), *numbers.shape[-2:])


def _gains(values: ArrayLike, name: str) -> Array:
    array = np.array(reals(values, name))
    if array.ndim not in (2, 3) or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; need [H, W] or [C, H, W]")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: holds inf or NaN; give positive finite gains, 1 leaves a place as it is")
    if array.min() <= 0.0:
        raise ValueError(f"{name}: its least gain is {array.min()}; give positive gains, or the noise is singular")
    array.flags.writeable = False
    return array


def _squares(transform: str, n: int) -> Array:
    return matrix(transform, n) ** 2
