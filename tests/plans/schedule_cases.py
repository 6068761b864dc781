"""The schedules that the tests of schedules go through."""

import numpy as np

from genie_samplers import schedules

DDPM_TABLE = tuple(np.cumprod(1.0 - np.linspace(1e-4, 2e-2, 1000)).tolist())
ODD_TABLE = (1.0 - 1e-10, 0.9999, 0.5, 0.49, 1e-3, 4.6e-5, 1e-9)

SCHEDULES = {
    "vp_linear": schedules.vp_linear(),
    "vp_constant_beta": schedules.vp_linear(beta_min=0.7, beta_max=0.7),
    "vp_steep": schedules.vp_linear(beta_min=1e-3, beta_max=1000.0),
    "vp_cosine": schedules.vp_cosine(),
    "vp_cosine_unnormalized": schedules.vp_cosine(normalized=False),
    "vp_cosine_wide": schedules.vp_cosine(s=1.0, t_max=1.0 - 1e-6),
    "sub_vp": schedules.sub_vp(),
    "sub_vp_steep": schedules.sub_vp(beta_min=1e-3, beta_max=1000.0),
    "ve": schedules.ve(),
    "ve_flat": schedules.ve(sigma_min=2.0, sigma_max=3.0),
    "edm": schedules.edm(),
    "flow": schedules.flow(t_max=4096.0 / 4097.0),
    "flow_far": schedules.flow(t_max=1.0 - 1e-9, label_scale=1.0),
    "ddpm_log_alpha": schedules.from_alphas_cumprod(DDPM_TABLE),
    "ddpm_alpha_bar": schedules.from_alphas_cumprod(DDPM_TABLE, interpolation="alpha_bar"),
    "odd_log_alpha": schedules.from_alphas_cumprod(ODD_TABLE),
    "odd_alpha_bar": schedules.from_alphas_cumprod(ODD_TABLE, interpolation="alpha_bar"),
}
TABLES = sorted(name for name in SCHEDULES if "ddpm" in name or "odd" in name)
METHODS = ("alpha", "log_alpha", "sigma", "gamma", "log_gamma", "half_log_snr")
RATES = ("drift", "diffusion_squared")
