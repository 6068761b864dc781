"""The textbook's version of every registered solver."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .analytic import analytic
from .dpm_solver_pp import dpmpp, dpmpp_2m_sde
from .flow import flow_ab, flow_rk
from .genie import genie_hermite, genie_ttm2, genie_ttm3
from .multistep import deis, f_pndm, ipndm, s_pndm
from .run import Vector
from .singlestep import TABLEAUS, deis_rho_rk, dpm_solver, edm_heun
from .stochastic import ddim, ddpm, ei_score, ei_sde, euler_maruyama, euler_ode, gddim
from .unipc import unipc

__all__ = ["TEXTBOOK"]

VARIABLES = {"deis_tab": "t", "deis_rho_ab": "gamma", "deis_log_ab": "log_gamma"}

TEXTBOOK: dict[str, Callable[..., Vector]] = {
    "ddim": ddim,
    "ddpm": ddpm,
    "analytic_ddpm": partial(analytic, eta=1.0),
    "analytic_ddim": partial(analytic, eta=0.0),
    "gddim": gddim,
    "ei_sde": ei_sde,
    "ei_score": ei_score,
    "euler_maruyama": euler_maruyama,
    "euler_ode": euler_ode,
    "edm_heun": edm_heun,
    "s_pndm": s_pndm,
    "plms": partial(s_pndm, most=4),
    "f_pndm": f_pndm,
    "dpm_solver_2s": partial(dpm_solver, order=2),
    "dpm_solver_3s": partial(dpm_solver, order=3),
    "dpmpp_1m": partial(dpmpp, order=1, variant="published"),
    "dpmpp_2m": partial(dpmpp, order=2, variant="published"),
    "dpmpp_3m": partial(dpmpp, order=3, variant="exact"),
    "dpmpp_2m_sde": dpmpp_2m_sde,
    **{f"{name}{r}": partial(deis, variable=u, order=r) for name, u in VARIABLES.items() for r in range(4)},
    **{f"deis_rho_{tableau}": partial(deis_rho_rk, tableau=tableau) for tableau in TABLEAUS},
    **{f"ipndm{order}": partial(ipndm, order=order) for order in range(1, 5)},
    **{f"unipc{order}": partial(unipc, order=order) for order in range(1, 4)},
    **{f"flow_ab{order}": partial(flow_ab, order=order) for order in range(2, 5)},
    **{f"flow_{tableau}": partial(flow_rk, tableau=tableau) for tableau in ("euler", "midpoint", "heun", "rk4")},
    "genie_ttm2": genie_ttm2,
    "genie_ttm3": genie_ttm3,
    "genie_hermite3": partial(genie_hermite, values=2, derivatives=1),
    "genie_hermite4": partial(genie_hermite, values=2, derivatives=2),
    # families: the order that the function has unless told
    "deis_tab": partial(deis, variable="t", order=3),
    "deis_log_ab": partial(deis, variable="log_gamma", order=3),
    "ipndm": partial(ipndm, order=4),
    "unipc": partial(unipc, order=3),
    "genie_hermite": partial(genie_hermite, values=2, derivatives=1),
    "dpmpp": partial(dpmpp, order=2, variant="published"),
}  # fmt: skip
