"""The shift of flow matching that grows with the number of tokens of an image."""

from __future__ import annotations

import math

from .._arguments import choice, integer, real

__all__ = ["flux2_mu", "mu_of_length", "shift_of_mu"]


def shift_of_mu(mu: float, *, time_shift_type: str = "exponential") -> float:
    """The shift that a mu means: e^mu, or with time_shift_type "linear" mu itself. ValueError where it is not positive
    and finite.
    """
    mu = real(mu, "mu")
    exponential = choice(time_shift_type, "time_shift_type", ("exponential", "linear")) == "exponential"
    if not (abs(mu) <= 700.0 if exponential else 0.0 < mu < math.inf):
        fix = "give a number of the size of 1" if exponential else "give a positive number"
        raise ValueError(f"mu={mu!r} makes no {time_shift_type} shift: {fix}")
    return math.exp(mu) if exponential else mu


def mu_of_length(
    length: int,
    *,
    base_length: int = 256,
    max_length: int = 4096,
    base_shift: float = 0.5,
    max_shift: float = 1.15,
) -> float:
    """mu on the line from (base_length, base_shift) to (max_length, max_shift): ``calculate_shift`` of diffusers.

    length: tokens of the image, height x width / 256 where a latent of 8 x 8 pixels is patched 2 x 2. The defaults are
    FLUX.1's; a scheduler's configuration names them base_image_seq_len, max_image_seq_len, base_shift, max_shift.
    ValueError unless base_length < max_length.
    """
    length, base, most = (
        integer(value, name, least=1)
        for name, value in (("length", length), ("base_length", base_length), ("max_length", max_length))
    )
    if base >= most:
        raise ValueError(f"base_length={base}, max_length={most}: give base_length below max_length")
    low, high = real(base_shift, "base_shift"), real(max_shift, "max_shift")
    return low + (high - low) * (length - base) / (most - base)


def flux2_mu(length: int, steps: int) -> float:
    """mu of FLUX.2, fitted to the number of tokens and of steps: ``compute_empirical_mu`` of diffusers.

    Linear in the steps between two lines in the length, at 10 and at 200 steps; above 4300 tokens that at 200.
    """
    length, steps = integer(length, "length", least=1), integer(steps, "steps", least=1)
    at_10, at_200 = 8.73809524e-5 * length + 1.89833333, 1.6927e-4 * length + 0.45666666
    return at_200 if length > 4300 else at_200 + (at_10 - at_200) * (200 - steps) / 190.0
