"""Solvers: pure functions schedule, grid -> Plan. Importing this package fills ``registry.SOLVERS``."""

from .ddim import ddim
from .deis import deis_tab
from .dpm_solver_pp import dpmpp_2m
from .edm_heun import edm_heun

__all__ = ["ddim", "deis_tab", "dpmpp_2m", "edm_heun"]
