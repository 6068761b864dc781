"""genie_ext.SpectralFilter in plain torch, for as long as the op is not there."""

from __future__ import annotations

import torch
from torch import Tensor

from genie_samplers.tdas.transforms import matrix

__all__ = ["StandIn"]


class StandIn:
    def __init__(
        self, frequency: Tensor, space: Tensor | None, *, transform: str, dtype: torch.dtype, device: torch.device
    ) -> None:
        if not bool((frequency > 0.0).all()):
            raise ValueError("frequency: not positive")
        self.bank = (frequency if frequency.ndim == 4 else frequency[None]).to(device, dtype)
        self.space = None if space is None else space.to(device, dtype)
        self.u = [torch.from_numpy(matrix(transform, n).copy()).to(device, dtype) for n in frequency.shape[-2:]]

    def __call__(self, z: Tensor, out: Tensor, index: int = 0, adjoint: bool = False) -> Tensor:
        height, width = self.u
        y = z if self.space is None or adjoint else z * self.space
        y = height.T @ (self.bank[index] * (height @ y @ width.T)) @ width
        return out.copy_(y * self.space if self.space is not None and adjoint else y)
