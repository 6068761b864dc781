"""Networks with a flow as curved as a real one's, known in closed form, on every kind of schedule."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

import genie_samplers as gs

__all__ = ["SCHEDULES", "SHAPE", "Mixture", "guided_pair", "model_of"]

SCHEDULES = {
    "vp_linear": (gs.schedules.vp_linear(), "epsilon"),
    "cosine": (gs.schedules.vp_cosine(), "v"),
    "flow": (gs.schedules.flow(shift=3.0), "flow"),
    "edm": (gs.schedules.edm(), "x0"),
    "ve": (gs.schedules.ve(), "epsilon"),
    "zero_snr": (
        gs.schedules.from_betas(gs.schedules.scaled_linear_betas(1000), zero_terminal_snr=True),
        "v",
    ),
}
SHAPE = (1, 2, 2)


class Mixture(nn.Module):
    """The exact prediction for two Gaussians at +-1 in every element: as curved a flow as a network's, in float64."""

    def __init__(self, schedule: gs.schedules.Schedule, prediction: str, shift: float = 0.0) -> None:
        super().__init__()
        self.schedule, self.prediction = schedule, prediction
        self.centre = nn.Parameter(torch.tensor(1.0 + shift, dtype=torch.float64))

    def forward(self, x: Tensor, share: Tensor) -> Tensor:
        s = share.double().reshape(-1, *(1,) * (x.ndim - 1))  # sigma / (alpha + sigma)
        z, width = x.double(), 0.3
        scale = self._scale(s)
        z = z / scale  # (1 - s) x_0 + s eps
        variance = ((1.0 - s) * width) ** 2 + s**2
        side = torch.tanh((1.0 - s) * self.centre * z / variance)
        mean = self.centre * side
        x0 = mean + (1.0 - s) * width**2 / variance * (z - (1.0 - s) * mean)
        epsilon = (z - (1.0 - s) * x0) / s
        alpha, sigma = (1.0 - s) * scale, s * scale
        return {"epsilon": epsilon, "x0": x0, "v": alpha * epsilon - sigma * x0, "flow": epsilon - x0}[self.prediction]

    def _scale(self, s: Tensor) -> Tensor:
        """alpha + sigma."""
        kinds = {"flow": lambda: torch.ones_like(s), "ve": lambda: 1.0 / (1.0 - s), "edm": lambda: 1.0 / (1.0 - s)}
        return kinds.get(self.schedule.name, lambda: 1.0 / (s**2 + (1.0 - s) ** 2).sqrt())()


def model_of(where: str, shift: float = 0.0) -> gs.models.WrappedModel:
    schedule, prediction = SCHEDULES[where]
    network = Mixture(schedule, prediction, shift).requires_grad_(False)
    return gs.models.wrap(network, schedule, prediction=prediction, label=schedule.noise_share)


def guided_pair(where: str, shift: float = 0.3) -> gs.models.Model:
    """A model of both outputs: two mixtures, the unconditional one shifted."""
    schedule, prediction = SCHEDULES[where]
    halves = [Mixture(schedule, prediction, by).requires_grad_(False) for by in (0.0, shift)]

    class Pair(gs.models.Model):
        outputs = (prediction, f"uncond.{prediction}")
        network = halves[0]

        def labels(self, plan: gs.Plan) -> np.ndarray:
            return schedule.noise_share(np.asarray(plan.times))

        @property
        def dtype(self) -> torch.dtype:
            return torch.float64

        def __call__(self, x: Tensor, t: Tensor, **cond: object) -> tuple[Tensor, Tensor]:
            return halves[0](x, t), halves[1](x, t)

    return Pair()
