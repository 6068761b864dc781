"""Langevin steps by the norms of samples of few elements, where what those happen to be says little."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

import genie_samplers as gs
from genie_samplers.run import REDUCTIONS

from .fakes import normals

MEAN, DEVIATION, SNR = 0.3, 0.5, 0.16
SCHEDULES = {
    "vp": gs.schedules.vp_linear(), "cosine": gs.schedules.vp_cosine(), "ve": gs.schedules.ve(),
    "edm": gs.schedules.edm(), "sub_vp": gs.schedules.sub_vp(),
}  # fmt: skip
COUNT = 10000


class Exact:
    """epsilon of data N(MEAN, DEVIATION^2); t is its own label."""

    def __init__(self, schedule: gs.schedules.Schedule) -> None:
        self.schedule = schedule

    def label(self, times: np.ndarray) -> np.ndarray:
        return times

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (float(of(float(t[0]))) for of in (self.schedule.alpha, self.schedule.sigma))
        return sigma * (x - alpha * MEAN) / (alpha**2 * DEVIATION**2 + sigma**2)


@pytest.mark.parametrize("elements", [1, 2, 8])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_samples_of_few_elements_have_the_law_of_the_data(schedule: gs.schedules.Schedule, elements: int) -> None:
    """A step that follows |z|^2 and |s|^2, filled up to 64 elements, is off by 2 / 64 of the variance for either; that
    it is finite, h = 2 snr^2, by h / 2; and the deviation of n numbers is uncertain by 1 / sqrt(2 n), five times here.
    """
    plan = gs.make_plan("predictor_corrector", schedule, 200, options={"predictor": "euler_maruyama"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = gs.sample(Exact(schedule), plan, shape=(COUNT // elements, elements), seed=1, progress=False)
    of_step = 0.5 * (2.0 / 64 + 2.0 / 64 + SNR**2)
    assert x.std().item() == pytest.approx(DEVIATION, rel=of_step + 5.0 / (2 * COUNT) ** 0.5)
    assert x.mean().item() == pytest.approx(MEAN, abs=5.0 * DEVIATION / COUNT**0.5)


def test_norms_of_few_elements_are_filled_up_to_sixty_four_with_ones() -> None:
    epsilon, z = (normals([0, 1, 2], (2, 3), draw=draw, stream=1).double() for draw in (1, 2))
    a, snr, sigma = 0.9, 0.16, 3.0
    filled = [v.square().sum((1, 2)) + 58.0 for v in (z, epsilon)]
    e = 2.0 * a * (snr * sigma) ** 2 * filled[0] / filled[1]
    found = REDUCTIONS["langevin_snr"]((epsilon, z), (a, snr, sigma))
    torch.testing.assert_close(found, torch.stack([-e / sigma, (2.0 * e).sqrt()], dim=1), rtol=1e-14, atol=0.0)
