"""The forward process of a scheduler: its tables, and samples noised to given times."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from genie_ext import in_function_transform

from ...schedules import AlphasCumprod, Flow, Schedule
from .run import float32_or_more
from .tables import refuse_others

__all__ = ["Noising"]


class Noising:
    """What training scripts and image-to-image pipelines ask of a scheduler."""

    sigma_space: ClassVar[bool]
    _schedule: Schedule
    _size: int
    _tables: dict[torch.device, tuple[Tensor, Tensor]]
    _placed: Tensor | None = None  # like the table that a caller put in the place of alphas_cumprod

    def __len__(self) -> int:
        return self._size

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The samples noised to these times, one of each sample or one of all: alpha x_0 + sigma eps."""
        signal, spread = self._signal_and_noise(timesteps, original_samples)
        return signal * original_samples + spread * noise

    def scale_noise(self, sample: Tensor, timestep: float | Tensor, noise: Tensor | None = None) -> Tensor:
        """:meth:`add_noise`, by the name and in the order of arguments that pipelines of flow have."""
        if noise is None:
            raise ValueError("noise: missing; pass standard normals like the sample")
        return self.add_noise(sample, noise, torch.as_tensor(timestep))

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """v = alpha eps - sigma x_0 of these times, the target of a network that predicts v."""
        alpha, sigma = self._alpha_and_sigma(timesteps, sample)
        return alpha * noise - sigma * sample

    def _signal_and_noise(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self._alpha_and_sigma(timesteps, like)
        return (torch.ones_like(alpha), sigma / alpha) if self.sigma_space else (alpha, sigma)

    def _alpha_and_sigma(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Of whole times from tables on the device, so that a training loop waits for nothing."""
        times = torch.as_tensor(timesteps, device=like.device).reshape(-1)
        if not times.dtype.is_floating_point and not self._is_flow:
            tables = self._tables_on(like.device)
            found = tuple(table[times] for table in tables)
        else:
            at = np.array([self._time_of(t) for t in times.tolist()])
            pair = (self._schedule.alpha(at), self._schedule.sigma(at))
            found = tuple(torch.from_numpy(np.atleast_1d(v)).to(like.device) for v in pair)
        shape = (-1, *(1,) * (like.ndim - 1))
        alpha, sigma = (v.to(float32_or_more(like.dtype)).reshape(shape).to(like.dtype) for v in found)
        return alpha, sigma

    def _tables_on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        found = self._tables.get(device)
        if found is None:
            times = self._every_time()
            pair = (self._schedule.alpha(times), self._schedule.sigma(times))
            alpha, sigma = (torch.from_numpy(v).float().to(device) for v in pair)
            found = alpha, sigma
            if not in_function_transform():  # with which they would end
                self._tables[device] = found
        return found

    # --- tables

    @property
    def alphas_cumprod(self) -> Tensor:
        """float32 [num_train_timesteps]; may be set to the same numbers in another dtype or on another device."""
        own = torch.tensor(self._table.alphas_cumprod, dtype=torch.float64).float()
        return own if self._placed is None else own.to(self._placed)

    @alphas_cumprod.setter
    def alphas_cumprod(self, value: Tensor) -> None:
        fix = "make a scheduler with trained_betas=, the plans are of its own"
        refuse_others("alphas_cumprod", value, self.alphas_cumprod, fix)
        self._placed = value[:0]

    @property
    def alphas(self) -> Tensor:
        bar = np.array([1.0, *self._table.alphas_cumprod])
        return torch.from_numpy(bar[1:] / bar[:-1]).float()

    @property
    def betas(self) -> Tensor:
        bar = np.array([1.0, *self._table.alphas_cumprod])
        return torch.from_numpy((bar[:-1] - bar[1:]) / bar[:-1]).float()

    @property
    def _table(self) -> AlphasCumprod:
        if not isinstance(self._schedule, AlphasCumprod):
            raise AttributeError(f"{type(self).__name__}: of flow sigmas, which have no betas")
        return self._schedule

    def _every_time(self) -> np.ndarray:
        return np.arange(len(self), dtype=np.float64) if not self._is_flow else np.arange(1, len(self) + 1) / len(self)

    @property
    def _is_flow(self) -> bool:
        return isinstance(self._schedule, Flow)

    def _time_of(self, label: float) -> float:
        """The schedule's time of what the network is given."""
        low, high = (float(self._schedule.label(t)) for t in (self._schedule.t_end, self._schedule.t_max))
        if not low <= label <= high:
            raise ValueError(f"timestep={label}; the model has times from {low:g} to {high:g}")
        return label / float(self._schedule.label(1.0)) if self._is_flow else label
