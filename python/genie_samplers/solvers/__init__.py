"""Solvers: pure functions schedule, grid -> Plan. Importing this package fills ``registry.SOLVERS``."""

from .analytic import analytic
from .annealed_langevin import annealed_langevin
from .ddim import ddim
from .deis import deis_log_ab, deis_rho_ab, deis_tab
from .deis_rho_rk import deis_rho_rk
from .dpm_solver import dpm_solver
from .dpm_solver_pp import dpmpp
from .dpm_solver_pp_sde import dpmpp_2m_sde
from .edm_heun import edm_heun
from .euler import euler_maruyama
from .exponential_euler import ei_score, ei_sde
from .flow import flow_ab, flow_rk
from .gddim import gddim
from .genie import genie_hermite, genie_ttm2
from .genie_ttm3 import genie_ttm3
from .ipndm import ipndm
from .pndm import f_pndm, plms, s_pndm
from .predictor_corrector import predictor_corrector
from .temperature import tempered
from .unipc import unipc

__all__ = [
    "analytic",
    "annealed_langevin",
    "ddim",
    "deis_log_ab",
    "deis_rho_ab",
    "deis_rho_rk",
    "deis_tab",
    "dpm_solver",
    "dpmpp",
    "dpmpp_2m_sde",
    "edm_heun",
    "ei_score",
    "ei_sde",
    "euler_maruyama",
    "f_pndm",
    "flow_ab",
    "flow_rk",
    "gddim",
    "genie_hermite",
    "genie_ttm2",
    "genie_ttm3",
    "ipndm",
    "plms",
    "predictor_corrector",
    "s_pndm",
    "tempered",
    "unipc",
]
