"""What a scheduler of diffusers takes where its configuration is silent."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..schedules import SchedulerConfig, read_scheduler

__all__ = ["READ", "Settings", "settings_of"]

_MULTISTEP: Mapping[str, Any] = {
    "timestep_spacing": "linspace", "solver_order": 2, "lower_order_final": True, "use_flow_sigmas": False,
    "flow_shift": 1.0, "use_dynamic_shifting": False, "time_shift_type": "exponential",
}  # fmt: skip
_SIGMAS: Mapping[str, Any] = {"timestep_spacing": "linspace", "final_sigmas_type": "zero"}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "DDIM": {"timestep_spacing": "leading", "set_alpha_to_one": True},
        "DDPM": {"timestep_spacing": "leading", "variance_type": "fixed_small"},
        "PNDM": {"timestep_spacing": "leading", "set_alpha_to_one": False, "skip_prk_steps": False},
        "EulerDiscrete": {**_SIGMAS, "interpolation_type": "linear"},
        "EulerAncestralDiscrete": _SIGMAS,
        "HeunDiscrete": _SIGMAS,
        "DEISMultistep": _MULTISTEP,
        "DPMSolverMultistep": {
            **_MULTISTEP, "algorithm_type": "dpmsolver++", "solver_type": "midpoint", "final_sigmas_type": "zero",
            "euler_at_final": False, "use_lu_lambdas": False, "lambda_min_clipped": float("-inf"),
        },
        "UniPCMultistep": {
            **_MULTISTEP, "solver_type": "bh2", "predict_x0": True, "final_sigmas_type": "zero",
            "disable_corrector": (), "shift_terminal": None,
        },
        "FlowMatchEulerDiscrete": {
            "shift": 1.0, "use_dynamic_shifting": False, "time_shift_type": "exponential", "shift_terminal": None,
            "stochastic_sampling": False, "invert_sigmas": False, "linear_sigmas": False,
        },
    }
)  # fmt: skip
READ = tuple(_DEFAULTS)
"""The classes that are modelled, without "Scheduler"."""

_COMMON: Mapping[str, Any] = {
    "steps_offset": 0, "prediction_type": "epsilon", "rescale_betas_zero_snr": False, "use_karras_sigmas": False,
    "use_exponential_sigmas": False, "use_beta_sigmas": False, "sigma_min": None, "sigma_max": None,
}  # fmt: skip


_ZERO_SNR = ("DDIM", "DDPM", "DPMSolverMultistep", "UniPCMultistep", "EulerDiscrete", "EulerAncestralDiscrete")
_RESPACED = (
    "EulerDiscrete", "HeunDiscrete", "DEISMultistep", "DPMSolverMultistep", "UniPCMultistep", "FlowMatchEulerDiscrete",
)  # fmt: skip
_UNKNOWN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        name: (
            *(("rescale_betas_zero_snr",) if name not in _ZERO_SNR else ()),
            *(
                tuple(f"use_{kind}_sigmas" for kind in ("karras", "exponential", "beta"))
                if name not in _RESPACED
                else ()
            ),
            *(("sigma_min", "sigma_max") if name != "EulerDiscrete" else ()),
        )
        for name in _DEFAULTS
    }
)
"""Of each class what it has no setting for: in a configuration that was another's it changes nothing."""


class Settings(NamedTuple):
    """name: the class, without "Scheduler". values: all settings, as configured or by default. config: as it was."""

    name: str
    values: Mapping[str, Any]
    config: SchedulerConfig

    def __getitem__(self, key: str) -> Any:  # type: ignore[override]
        return self.values[key]

    @property
    def train_steps(self) -> int:
        return int(self.values["num_train_timesteps"])

    @property
    def flow(self) -> bool:
        return self.config.kind == "flow"

    @property
    def respacing(self) -> str | None:
        """ "karras", "exponential" or "beta", where one is asked for."""
        asked = [kind for kind in ("karras", "exponential", "beta") if self.values[f"use_{kind}_sigmas"]]
        return asked[0] if asked else None


def settings_of(scheduler: object) -> Settings:
    """Of a scheduler, its configuration, or the path of it or of its folder; ValueError for a class not modelled."""
    config = read_scheduler(scheduler)
    if config.class_name not in _DEFAULTS:
        names = ", ".join(f"{name}Scheduler" for name in READ)
        raise ValueError(f"scheduler: {config.class_name}Scheduler is not modelled; {names} are")
    ignored = _UNKNOWN[config.class_name]
    given = {key: value for key, value in config.values.items() if value is not None and key not in ignored}
    values = {**_COMMON, **_DEFAULTS[config.class_name], **given}
    return Settings(config.class_name, values, config._replace(values=given))
