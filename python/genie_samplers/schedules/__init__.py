"""Noise schedules: the signal scale alpha(t) and the noise scale sigma(t), in float64.

    x_t = alpha(t) x_0 + sigma(t) eps     alpha is the factor of x_0 itself, NOT alpha-bar = alpha^2

Derived: ``gamma = sigma / alpha`` (EDM and k-diffusion call it sigma, DEIS rho) and ``half_log_snr
= -log gamma`` (DPM-Solver's lambda). Times and values are float64 arrays of any shape (a scalar
gives a numpy scalar), from forms that cancel at neither end (expm1, log1p). Song et al., arXiv
2011.13456, for the continuous schedules; Karras et al., arXiv 2206.00364, for EDM.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._arguments import shown
from .alphas_cumprod import AlphasCumprod, from_alphas_cumprod
from .base import Schedule, check_schedule, option_names
from .betas import from_betas, linear_betas, scaled_linear_betas, squaredcos_betas
from .from_diffusers import SchedulerConfig, from_diffusers, read_scheduler
from .rare_betas import exponential_betas, laplace_betas, sigmoid_betas
from .rectified_flow import Flow
from .remembered import Remembered
from .shift_of_size import flux2_mu, mu_of_length, shift_of_mu
from .sub_variance_preserving import SubVP
from .variance_exploding import EDM, VE
from .variance_preserving import VPCosine, VPLinear

__all__ = [
    "EDM",
    "VE",
    "AlphasCumprod",
    "Flow",
    "Remembered",
    "Schedule",
    "SchedulerConfig",
    "SubVP",
    "VPCosine",
    "VPLinear",
    "check_schedule",
    "edm",
    "exponential_betas",
    "flow",
    "flux2_mu",
    "from_alphas_cumprod",
    "from_betas",
    "from_dict",
    "from_diffusers",
    "laplace_betas",
    "linear_betas",
    "mu_of_length",
    "read_scheduler",
    "scaled_linear_betas",
    "shift_of_mu",
    "sigmoid_betas",
    "squaredcos_betas",
    "sub_vp",
    "ve",
    "vp_cosine",
    "vp_linear",
]

# the names by which users build schedules: gs.schedules.vp_linear(...)
vp_linear = VPLinear
vp_cosine = VPCosine
sub_vp = SubVP
ve = VE
edm = EDM
flow = Flow

_KINDS: dict[str, type[Schedule]] = {
    kind.name: kind for kind in (VPLinear, VPCosine, SubVP, VE, EDM, Flow, AlphasCumprod)
}


def from_dict(recipe: Mapping[str, Any]) -> Schedule:
    """The schedule that :meth:`Schedule.to_dict` described; ValueError for an unknown recipe."""
    if not isinstance(recipe, Mapping):
        raise TypeError(f"schedule recipe={shown(recipe)}: give the mapping that to_dict returned")
    options = dict(recipe)
    name = options.pop("name", None)
    if not isinstance(name, str) or name not in _KINDS:
        raise ValueError(f"schedule name={shown(name)}: choose one of {sorted(_KINDS)}")
    if options.keys() != set(option_names(_KINDS[name])):
        fix = f"give exactly {option_names(_KINDS[name])}"
        raise ValueError(f"schedule {name} with options {shown(list(options))}: {fix}")
    return _KINDS[name](**options)
