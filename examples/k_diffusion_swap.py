"""A loop of k-diffusion with the import swapped: errors of its samplers, and of "auto", at equal evaluations.

    python examples/k_diffusion_swap.py

Data are a mixture of two Gaussians, whose denoiser is exact; the error is the distance from Heun's method in 200 steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genie_samplers.integrations import k_diffusion as K  # was: from k_diffusion import sampling as K

WEIGHTS, MEANS, VARIANCES = (torch.tensor(v).double() for v in ((0.3, 0.7), (-1.0, 0.8), (0.06, 0.16)))
HIGH, LOW, RHO = 14.6, 0.03, 7.0


def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
    """The mean of the clean data given x [B, n] at sigma [B]."""
    total = VARIANCES + sigma[:, None, None] ** 2
    away = x[..., None] - MEANS
    share = torch.softmax(torch.log(WEIGHTS) - 0.5 * (torch.log(total) + away**2 / total), dim=-1)
    return (share * (MEANS + VARIANCES / total * away)).sum(-1)


def karras(steps: int) -> Tensor:
    """k-diffusion's get_sigmas_karras."""
    ends = torch.linspace(HIGH ** (1 / RHO), LOW ** (1 / RHO), steps, dtype=torch.float64)
    return torch.cat([ends**RHO, torch.zeros(1)])


def errors(evaluations: int) -> dict[str, float]:
    """Root mean square error of every sampler with this many evaluations, an odd number."""
    x = HIGH * torch.randn(64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = K.sample_heun(denoiser, x, karras(200), disable=True)
    every, half = karras(evaluations), karras((evaluations + 1) // 2)
    made = {
        "sample_euler": K.sample_euler(denoiser, x, every),
        "sample_heun": K.sample_heun(denoiser, x, half),
        "sample_dpm_2": K.sample_dpm_2(denoiser, x, half),
        "sample_lms": K.sample_lms(denoiser, x, every),
        "sample_dpmpp_2m": K.sample_dpmpp_2m(denoiser, x, every),
        "sample_unipc": K.sample_unipc(denoiser, x, every),
        'sample("auto")': K.sample("auto", denoiser, x, every),
    }
    return {name: math.sqrt(float((y - exact).square().mean())) for name, y in made.items()}


def main() -> None:
    counts = (7, 11, 19)
    columns = [errors(count) for count in counts]
    print(f"{'evaluations':16s}" + "".join(f"{count:>10d}" for count in counts))
    for name in columns[0]:
        print(f"{name:16s}" + "".join(f"{column[name]:10.4f}" for column in columns))


if __name__ == "__main__":
    main()
