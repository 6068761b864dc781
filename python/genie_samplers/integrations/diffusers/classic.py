"""Schedulers by the names that pipelines of table schedules know, each a solver of the registry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput  # noqa: F401  for pipelines
from torch import Tensor

from ...schedules import from_diffusers
from .built import Wanted
from .grids import levels_between
from .options import FLOW_SIGMAS, SIGMAS, TABLE, THRESHOLD, constructor
from .scheduler import PlanBasedScheduler, Times
from .stepping import Generators, Result

__all__ = [
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISScheduler",
    "DPMSolverMultistepScheduler",
    "Drawing",
    "IPNDMScheduler",
    "PNDMScheduler",
    "UniPCScheduler",
]

_FEW_STEPS = 15  # below which the multistep classes of diffusers lower the last orders


class _Ancestral(PlanBasedScheduler):
    """DDIM and DDPM: clip_sample, and a last step to alpha-bar 1."""

    habit = "ddim"
    gives_x0 = True

    def _end(self, times: np.ndarray) -> float:
        if self._options.get("set_alpha_to_one", True) or times[-1] <= self._schedule.t_end:
            return float(self._schedule.t_zero)
        return float(self._schedule.t_end)

    def _posterior_variance(self, timestep: int, prev_timestep: int) -> Tensor:
        """Of the step between two times, at eta = 1; before the first time there is no noise."""
        bar = [1.0 if t < 0 else self._table.alphas_cumprod[int(t)] for t in (timestep, prev_timestep)]
        return torch.tensor((1.0 - bar[1]) / (1.0 - bar[0]) * (1.0 - bar[0] / bar[1]))

    def _clipped(self, wanted: Wanted) -> Wanted:
        if self.config["clip_sample"] and not self.config["thresholding"]:
            return replace(wanted, clip=float(self.config["clip_sample_range"]))
        return super()._clipped(wanted)


class DDIMScheduler(_Ancestral):
    """DDIM. The step of a time ends at the next time of the list (diffusers: at t - T // N; #14357, #12633)."""

    diffusers_class = "DDIMScheduler"
    __init__ = constructor(
        TABLE, THRESHOLD, clip_sample=True, set_alpha_to_one=True, clip_sample_range=1.0, timestep_spacing="leading"
    )

    def _solver(self, config: Mapping[str, Any], steps: int) -> tuple[str, Mapping[str, object]]:
        return "ddim", {}

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: Generators = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> Result:
        """eta: noise of DDIM, 1 is DDPM's. use_clipped_model_output: the noise too follows the clamped clean data."""
        kind, run = (float(eta), bool(use_clipped_model_output)), self._run_of(sample, timestep)
        if kind != run.kind:
            run.change(kind, lambda wanted: self._with(wanted, *kind))
        return self._step(
            model_output, timestep, sample, run=run, generator=generator, noise=variance_noise, return_dict=return_dict
        )

    def _with(self, wanted: Wanted, eta: float, clipped: bool) -> Wanted:
        options = {"eta": eta} if eta else {}
        return replace(wanted.using("ddim", options), beside_epsilon=wanted.clip is not None and not clipped)

    def _get_variance(self, timestep: int, prev_timestep: int) -> Tensor:
        return self._posterior_variance(timestep, prev_timestep)


class DDPMScheduler(_Ancestral):
    """Ancestral sampling, DDPM's posterior between any two times. variance_type: "fixed_small", or "fixed_large"."""

    diffusers_class = "DDPMScheduler"
    begins_with_all = True
    __init__ = constructor(
        TABLE, THRESHOLD, variance_type="fixed_small", clip_sample=True, clip_sample_range=1.0,
        timestep_spacing="leading",
    )  # fmt: skip

    def _solver(self, config: Mapping[str, Any], steps: int) -> tuple[str, Mapping[str, object]]:
        kind = config["variance_type"] or "fixed_small"
        large = {"fixed_small": False, "fixed_small_log": False, "fixed_large": True, "fixed_large_log": True}
        if kind not in large:
            raise ValueError(
                f"variance_type={kind!r}: choose one of {', '.join(large)}; a variance that the network predicts per "
                "pixel is no table of numbers: take DDIMScheduler, which ignores it"
            )
        return "ddpm", {"sigma_hat": True} if large[kind] else {}

    def previous_timestep(self, timestep: int) -> Tensor:
        """The time after this one in the list, -1 after the last."""
        return torch.tensor(next((int(t) for t in self._run.labels if t < timestep), -1))

    def _get_variance(self, t: int, predicted_variance: object = None, variance_type: str | None = None) -> Tensor:
        kind = variance_type or self.config["variance_type"]
        before = int(self.previous_timestep(t))
        if kind in ("fixed_large", "fixed_large_log"):
            bar = [1.0 if at < 0 else self._table.alphas_cumprod[int(at)] for at in (t, before)]
            return torch.tensor(1.0 - bar[0] / bar[1])
        return self._posterior_variance(t, before)

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> Result:
        """The row of this time with its draw of noise, none in the last."""
        return self._step(model_output, timestep, sample, generator=generator, return_dict=return_dict)


class _Deterministic(PlanBasedScheduler):
    """Steps without noise."""

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        return_dict: bool = True,
        generator: Generators = None,
    ) -> Result:
        """The row of this time. generator: unused, for pipelines that hand one to any scheduler."""
        return self._step(model_output, timestep, sample, return_dict=return_dict)


class Drawing(PlanBasedScheduler):
    """Steps that may draw noise."""

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: Generators = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> Result:
        """The row of this time; noise is drawn from ``generator``, or is ``variance_noise``."""
        return self._step(
            model_output, timestep, sample, generator=generator, noise=variance_noise, return_dict=return_dict
        )


_VARIANTS = ("log_ab", "tab", "rho_ab", "rho_rk")
_TABLEAUS = {1: "euler", 2: "heun", 3: "kutta3", 4: "rk4"}


class DEISScheduler(_Deterministic):
    """DEIS. variant: "log_ab", which diffusers calls DEIS, "tab", "rho_ab" or "rho_rk".

    solver_order: outputs that a step combines, 1 (DDIM) to 4; of "rho_rk" the order of the Runge-Kutta method, whose
    evaluations are all in ``timesteps``. final_sigmas_type: "sigma_min", as in diffusers, ends at the first noise level
    of the table, "zero" at no noise; with Karras, exponential, beta and flow sigmas, whose last level is that one, the
    last step ends at no noise in any case (diffusers: at the same level once more, and of flow far from the data).
    """

    diffusers_class = "DEISMultistepScheduler"
    __init__ = constructor(
        TABLE, SIGMAS, FLOW_SIGMAS, THRESHOLD, solver_order=2, variant="log_ab", algorithm_type="deis",
        solver_type="logrho", lower_order_final=True, final_sigmas_type="sigma_min",
    )  # fmt: skip

    def _solver(self, config: Mapping[str, Any], steps: int) -> tuple[str, Mapping[str, object]]:
        order, variant = _order(config, 4), config["variant"]
        if variant not in _VARIANTS:
            raise ValueError(f"variant={variant!r}: choose one of {', '.join(_VARIANTS)}")
        if variant == "rho_rk":
            return f"deis_rho_{_TABLEAUS[order]}", {}
        return f"deis_{variant}{order - 1}", {"lower_order_final": True} if _final(config, steps) else {}


class IPNDMScheduler(_Deterministic):
    """iPNDM as in the DEIS paper, on the model's own schedule (diffusers: on a sine of its own).

    solver_order: 1 to 4.
    """

    diffusers_class = "DEISMultistepScheduler"
    __init__ = constructor(TABLE, SIGMAS, FLOW_SIGMAS, solver_order=4)

    def _solver(self, config: Mapping[str, Any], steps: int) -> tuple[str, Mapping[str, object]]:
        return f"ipndm{_order(config, 4)}", {}


class PNDMScheduler(_Deterministic):
    """PNDM: pseudo Runge-Kutta steps, or with ``skip_prk_steps`` a pseudo improved-Euler step, then four outputs."""

    diffusers_class = "PNDMScheduler"
    habit = "ddim"
    __init__ = constructor(TABLE, skip_prk_steps=False, set_alpha_to_one=False, timestep_spacing="leading")

    _end = _Ancestral._end

    def _solver(self, config: Mapping[str, Any], steps: int) -> tuple[str, Mapping[str, object]]:
        return "plms" if config["skip_prk_steps"] else "f_pndm", {}

    def _wanted(self, asked: Times) -> Wanted:
        """Begun midway, where there is no time for their warm-up: four outputs as soon as there are four."""
        return replace(super()._wanted(asked), midway="ipndm4" if self.config["skip_prk_steps"] else "deis_log_ab2")

    @property
    def prk_timesteps(self) -> np.ndarray:
        """The evaluations of the Runge-Kutta steps."""
        return self._of_steps()[0]

    @property
    def plms_timesteps(self) -> np.ndarray:
        """The evaluations after them."""
        return self._of_steps()[1]

    def _of_steps(self) -> tuple[np.ndarray, np.ndarray]:
        asked = self.timesteps.cpu().numpy()
        warmup = 0 if self.config["skip_prk_steps"] else min(12, 4 * (len(self._run.built.times) - 1))
        return asked[:warmup], asked[warmup:]

    def step_prk(
        self, model_output: Tensor, timestep: float | Tensor, sample: Tensor, return_dict: bool = True
    ) -> Result:
        """:meth:`step`, by the name of diffusers' class."""
        return self.step(model_output, timestep, sample, return_dict)

    def step_plms(
        self, model_output: Tensor, timestep: float | Tensor, sample: Tensor, return_dict: bool = True
    ) -> Result:
        """:meth:`step`, by the name of diffusers' class."""
        return self.step(model_output, timestep, sample, return_dict)


class DPMSolverMultistepScheduler(Drawing):
    """DPM-Solver++(1M, 2M, 3M) and SDE-DPM-Solver++(2M)."""

    diffusers_class = "DPMSolverMultistepScheduler"
    __init__ = constructor(
        TABLE, SIGMAS, FLOW_SIGMAS, THRESHOLD, solver_order=2, algorithm_type="dpmsolver++", solver_type="midpoint",
        lower_order_final=True, euler_at_final=False, lambda_min_clipped=-math.inf,
    )  # fmt: skip

    def _solver(self, config: Mapping[str, Any], steps: int) -> tuple[str, Mapping[str, object]]:
        order, kind = _order(config, 3), config["algorithm_type"]
        if kind in ("dpmsolver++", "deis"):
            variant = "published" if config["solver_type"] != "heun" or order == 3 else "exact"
            return f"dpmpp_{order}m", {"variant": variant, "lower_order_final": _final(config, steps)}
        if kind == "dpmsolver":  # the same polynomials, in the predicted noise, with their exact integrals
            return f"deis_log_ab{order - 1}", {"lower_order_final": True} if _final(config, steps) else {}
        if kind == "sde-dpmsolver++" and order == 2 and config["solver_type"] == "heun":
            raise ValueError("solver_type='heun' with algorithm_type='sde-dpmsolver++': take 'midpoint', the published")
        if kind == "sde-dpmsolver++" and order < 3:
            return ("ddpm", {}) if order == 1 else ("dpmpp_2m_sde", {"lower_order_final": _final(config, steps)})
        raise ValueError(
            f"algorithm_type={kind!r} with solver_order={order}: choose 'dpmsolver++', 'dpmsolver', or "
            "'sde-dpmsolver++' of order 1 or 2"
        )


class UniPCScheduler(_Deterministic):
    """UniPC of order 1 to 3 on the predicted clean data, predictor and corrector in one row per evaluation."""

    diffusers_class = "UniPCMultistepScheduler"
    flow_spacing = "unipc"
    __init__ = constructor(
        TABLE, SIGMAS, FLOW_SIGMAS, THRESHOLD, solver_order=2, predict_x0=True, solver_type="bh2",
        lower_order_final=True, disable_corrector=[],
    )  # fmt: skip

    def _flow_times(
        self,
        steps: int | None,
        timesteps: Sequence[float] | None,
        sigmas: Sequence[float] | None,
        mu: float | None,
    ) -> Times:
        if steps is None or not self.config["use_karras_sigmas"]:
            return super()._flow_times(steps, timesteps, sigmas, mu)
        ends = [self.config["sigma_max"], self.config["sigma_min"]]
        if None in ends:  # those of the table of betas, as if there were no flow (Cosmos gives its own)
            table = from_diffusers({**self.config, "use_flow_sigmas": False, "_class_name": self.diffusers_class})
            ends = [
                float(table.gamma(t)) if end is None else end for end, t in zip(ends, (table.t_max, 0.0), strict=True)
            ]
        gamma = levels_between(float(ends[0]), float(ends[1]), steps, "karras")
        return Times((*(gamma / (1.0 + gamma)).tolist(), 0.0))

    def _solver(self, config: Mapping[str, Any], steps: int) -> tuple[str, Mapping[str, object]]:
        if not config["predict_x0"] or config["disable_corrector"]:
            given = f"predict_x0={config['predict_x0']}, disable_corrector={config['disable_corrector']}"
            raise ValueError(f"{given}: UniPC is of the predicted clean data with its corrector; leave both out")
        variant = config["solver_type"] if config["solver_type"] in ("bh1", "bh2") else "bh2"
        final = bool(config["lower_order_final"])
        return f"unipc{_order(config, 3)}", {"variant": variant, "lower_order_final": final}


def _order(config: Mapping[str, Any], most: int) -> int:
    order = config["solver_order"]
    if isinstance(order, bool) or not isinstance(order, int) or not 1 <= order <= most:
        raise ValueError(f"solver_order={order!r}: choose 1 to {most}")
    return order


def _final(config: Mapping[str, Any], steps: int) -> bool:
    """Whether the last orders fall, by the rule of diffusers' classes."""
    return bool((config["lower_order_final"] and steps < _FEW_STEPS) or config.get("euler_at_final"))
