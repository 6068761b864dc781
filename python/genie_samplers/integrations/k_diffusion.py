"""k-diffusion's sampling functions: ``sample_*(model, x, sigmas, extra_args, callback, disable)``, run as plans.

    from genie_samplers.integrations import k_diffusion as K

``model(x, sigma, **extra_args)``, sigma [B], returns the clean data of x = x_0 + sigma n; with ``flow=True`` sigma is
the share of noise, x = (1 - sigma) x_0 + sigma n, and the first may be 1. docs/k-diffusion.md has the map of names.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .._arguments import choice, integer, real
from .._eager import eager
from ..plan import Plan
from ..run.progress import progress_bar
from ..solvers.dpm_solver import fast_orders
from .denoiser_plans import DenoiserPlan, checked_levels, for_denoiser, levels_of, plan_on, tail_on
from .denoiser_run import Callback, Denoiser, Draws, NoiseSampler, run

__all__ = [
    "METHODS",
    "Method",
    "sample",
    "sample_deis",
    "sample_dpm_2",
    "sample_dpm_fast",
    "sample_dpmpp_2m",
    "sample_dpmpp_2m_sde",
    "sample_euler",
    "sample_euler_ancestral",
    "sample_heun",
    "sample_ipndm",
    "sample_lms",
    "sample_unipc",
    "sigmas_of",
]

ExtraArgs = Mapping[str, Any] | None


class Method(NamedTuple):
    """What a name of k-diffusion means here: a registered solver, options, and the solver of a flow model."""

    solver: str
    flow: str
    options: Mapping[str, object] = MappingProxyType({})


_TO_THE_END = MappingProxyType({"lower_order_final": False})  # k-diffusion lowers the order in the step to 0 alone

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "euler": Method("ddim", "flow_euler"),
        "euler_ancestral": Method("ddim", "ddim", MappingProxyType({"eta": 1.0})),
        "heun": Method("edm_heun", "flow_heun"),
        "dpm_2": Method("dpm_solver_2s", "dpm_solver_2s"),
        "lms": Method("deis_rho_ab3", "flow_ab4"),
        "dpmpp_2m": Method("dpmpp_2m", "dpmpp_2m", _TO_THE_END),
        "dpmpp_2m_sde": Method("dpmpp_2m_sde", "dpmpp_2m_sde", _TO_THE_END),
    }
)
"""The names of k-diffusion that :func:`sample` takes beside those of the registry."""

_ABSENT = {
    "sample_dpm_2_ancestral": "sample_euler_ancestral",
    "sample_dpm_adaptive": "genie_samplers.rk45, which adapts its steps too",
    "sample_dpmpp_2s_ancestral": "sample_dpmpp_2m_sde",
    "sample_dpmpp_sde": "sample_dpmpp_2m_sde",
    "sample_dpmpp_3m_sde": "sample_dpmpp_2m_sde",
}


def __getattr__(name: str) -> Any:
    if name in _ABSENT:
        raise AttributeError(f"{name}: no registered solver is this method; the nearest is {_ABSENT[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@eager
@torch.no_grad()
def sample(
    solver: str | Plan,
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor | ArrayLike,
    extra_args: ExtraArgs = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    flow: bool = False,
    seed: int | None = None,
    noise_sampler: NoiseSampler | None = None,
    s_noise: float = 1.0,
    **options: object,
) -> Tensor:
    """The state at ``sigmas[-1]`` from ``x`` [B, ...] at ``sigmas[0]``, of x's dtype and on its device.

    solver: a name of :data:`METHODS` or the registry, "auto", or a Plan, of which ``sigmas`` are the last levels
    (:func:`sigmas_of`). sigmas: noise levels that fall, from any to any; rising ones encode. They are read to the host
    once. None or one of them returns x. extra_args: of every call of the model. callback: called once per step, before
    it, with the dict x, i, sigma, sigma_hat, denoised. disable: of the progress bar; None shows it on a terminal.

    Noise: ``noise_sampler(sigma, sigma_next)``, by default torch.randn_like(x), once for each draw; with ``seed`` (64
    bits) genie_ext's counter noise, the same for sample i of any batch on any device. s_noise multiplies it.
    options: of the solver, such as eta, s_churn or warmup. The state is float32, float64 for an x of float64; the model
    is given x and sigma in x's dtype, in tensors that it may keep or change.

    ValueError or TypeError naming the argument, its value and the fix.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x: {kind}; give a tensor of floats [B, ...]")
    if not callable(model):
        raise TypeError(f"model: {type(model).__name__} is not callable; give model(x, sigma, **extra_args)")
    levels, draws = checked_levels(sigmas, flow=flow), Draws(x, noise_sampler, seed)
    if len(levels) < 2:
        return x
    plan = _plan(solver, levels, flow, options).with_noise_scale(s_noise)
    given = sigmas if isinstance(sigmas, Tensor) else torch.tensor(levels, dtype=torch.float32, device=x.device)
    with progress_bar(len(levels) - 1, show=None if disable is None else not disable, unit="step") as bar:
        return run(plan, model, x, given, extra_args or {}, callback, draws, bar.update)


def sigmas_of(plan: Plan, *, device: torch.device | str = "cpu") -> Tensor:
    """The levels of a plan's grid, float32 [steps + 1]: k-diffusion's sigma, or the share of noise of a flow plan."""
    return torch.tensor(levels_of(plan), dtype=torch.float32, device=device)


def _plan(solver: str | Plan, levels: NDArray[np.float64], flow: bool, options: Mapping[str, object]) -> DenoiserPlan:
    if isinstance(solver, Plan):
        if options:
            raise ValueError(f"{next(iter(options))}: given beside a plan, which has its own options; leave it out")
        return tail_on(for_denoiser(solver, flow=flow), levels)
    method = METHODS.get(solver) if isinstance(solver, str) else None
    if method is None:
        return plan_on(solver, levels, flow=flow, options=options)
    return plan_on(method.flow if flow else method.solver, levels, flow=flow, options={**method.options, **options})


def sample_euler(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor | ArrayLike,
    extra_args: ExtraArgs = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    s_churn: float = 0.0,
    flow: bool = False,
) -> Tensor:
    """Euler's method in sigma, which is DDIM's. No registered solver churns in steps of order 1."""
    _refuse_churn("sample_euler", s_churn)
    return sample("euler", model, x, sigmas, extra_args, callback, disable, flow=flow)


def sample_euler_ancestral(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor | ArrayLike,
    extra_args: ExtraArgs = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
    seed: int | None = None,
    flow: bool = False,
) -> Tensor:
    """DDIM's step with noise: at eta = 1 DDPM's posterior, also of a flow model."""
    return sample(
        "euler_ancestral", model, x, sigmas, extra_args, callback, disable,
        eta=eta, s_noise=s_noise, noise_sampler=noise_sampler, seed=seed, flow=flow,
    )  # fmt: skip


def sample_heun(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor | ArrayLike,
    extra_args: ExtraArgs = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = float("inf"),
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
    seed: int | None = None,
    flow: bool = False,
) -> Tensor:
    """Heun's method with the churn of Karras et al., algorithm 2; of a flow model without."""
    churn = {"s_churn": s_churn, "s_min": s_tmin, "s_max": s_tmax} if s_churn else {}
    return sample(
        "heun", model, x, sigmas, extra_args, callback, disable,
        s_noise=s_noise, noise_sampler=noise_sampler, seed=seed, flow=flow, **churn,
    )  # fmt: skip


def sample_dpm_2(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor | ArrayLike,
    extra_args: ExtraArgs = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    s_churn: float = 0.0,
    flow: bool = False,
) -> Tensor:
    """DPM-Solver-2, singlestep. No registered solver churns in its steps."""
    _refuse_churn("sample_dpm_2", s_churn)
    return sample("dpm_2", model, x, sigmas, extra_args, callback, disable, flow=flow)


def sample_dpm_fast(
    model: Denoiser,
    x: Tensor,
    sigma_min: float,
    sigma_max: float,
    n: int,
    extra_args: ExtraArgs = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    eta: float = 0.0,
) -> Tensor:
    """DPM-Solver-fast: ``n`` evaluations in steps of order 3, then lower, equal in log sigma; deterministic."""
    low, high, n = real(sigma_min, "sigma_min"), real(sigma_max, "sigma_max"), integer(n, "n", least=1)
    if not 0.0 < low < high < float("inf"):
        raise ValueError(f"sigma_min={low}, sigma_max={high}; give 0 < sigma_min < sigma_max, finite")
    if eta:
        raise ValueError(f"eta={eta}: sample_dpm_fast is deterministic here; take sample_dpmpp_2m_sde for noise")
    orders = fast_orders(3, n)
    sigmas = np.geomspace(high, low, len(orders) + 1)
    return sample("dpm_solver_3s", model, x, sigmas, extra_args, callback, disable, orders=orders)


def sample_lms(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor | ArrayLike,
    extra_args: ExtraArgs = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    order: int = 4,
    flow: bool = False,
) -> Tensor:
    """Adams-Bashforth in sigma with exact integrals, ``order`` 1 to 4 outputs: rhoAB-DEIS."""
    order = _order(order, 4)
    straight = f"flow_ab{order}" if order > 1 else "flow_euler"
    solver = straight if flow else f"deis_rho_ab{order - 1}"
    return sample(solver, model, x, sigmas, extra_args, callback, disable, flow=flow)


def sample_dpmpp_2m(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor | ArrayLike,
    extra_args: ExtraArgs = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    flow: bool = False,
) -> Tensor:
    """DPM-Solver++(2M); the step to 0 alone is of order 1."""
    return sample("dpmpp_2m", model, x, sigmas, extra_args, callback, disable, flow=flow)


def sample_dpmpp_2m_sde(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor | ArrayLike,
    extra_args: ExtraArgs = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
    solver_type: str = "midpoint",
    seed: int | None = None,
    flow: bool = False,
) -> Tensor:
    """SDE-DPM-Solver++(2M) of solver_type "midpoint". Without noise_sampler or seed it draws torch.randn_like."""
    choice(solver_type, "solver_type", ("midpoint",))
    return sample(
        "dpmpp_2m_sde", model, x, sigmas, extra_args, callback, disable,
        eta=eta, s_noise=s_noise, noise_sampler=noise_sampler, seed=seed, flow=flow,
    )  # fmt: skip


def sample_ipndm(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor | ArrayLike,
    extra_args: ExtraArgs = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    max_order: int = 4,
    flow: bool = False,
) -> Tensor:
    """Improved PNDM: ``max_order`` 1 to 4 outputs with the weights of equal steps."""
    solver = f"ipndm{_order(max_order, 4, 'max_order')}"
    return sample(solver, model, x, sigmas, extra_args, callback, disable, flow=flow)


def sample_deis(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor | ArrayLike,
    extra_args: ExtraArgs = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    max_order: int = 3,
    flow: bool = False,
) -> Tensor:
    """DEIS with polynomials in log sigma through ``max_order`` 1 to 4 outputs, as of diffusers' scheduler."""
    solver = f"deis_log_ab{_order(max_order, 4, 'max_order') - 1}"
    return sample(solver, model, x, sigmas, extra_args, callback, disable, flow=flow)


def sample_unipc(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor | ArrayLike,
    extra_args: ExtraArgs = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    order: int = 3,
    variant: str = "bh2",
    flow: bool = False,
) -> Tensor:
    """UniPC of ``order`` 1 to 3 in data prediction, ``variant`` "bh1" or "bh2"."""
    solver = f"unipc{_order(order, 3)}"
    return sample(solver, model, x, sigmas, extra_args, callback, disable, flow=flow, variant=variant)


def _order(value: int, most: int, name: str = "order") -> int:
    return choice(integer(value, name), name, range(1, most + 1))


def _refuse_churn(name: str, s_churn: float) -> None:
    if s_churn:
        raise ValueError(f"s_churn={s_churn}: {name} is deterministic here; sample_heun churns, or leave s_churn out")
