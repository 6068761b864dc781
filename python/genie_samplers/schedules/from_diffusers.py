"""The schedule that a scheduler of diffusers describes, read from its configuration without importing diffusers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from .._arguments import boolean, integer, real, reals, shown
from .alphas_cumprod import from_alphas_cumprod
from .base import Array, Schedule
from .betas import from_betas, linear_betas, scaled_linear_betas, squaredcos_betas
from .rare_betas import exponential_betas, laplace_betas, sigmoid_betas
from .rectified_flow import Flow
from .shift_of_size import mu_of_length, shift_of_mu
from .variance_exploding import EDM

__all__ = ["SchedulerConfig", "from_diffusers", "read_scheduler"]

_FILE = "scheduler_config.json"
_LAST_OF_EULER = 2.0**-24  # alpha-bar that these classes put in place of a last 0, so that their sigma is finite
_NO_ZERO = frozenset({"DPMSolverMultistep", "EulerAncestralDiscrete", "EulerDiscrete", "UniPCMultistep"})

_DDPM = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
_LATENT = {"beta_schedule": "linear", "beta_start": 8.5e-4, "beta_end": 0.012}
_LATENT_SCALED = {**_LATENT, "beta_schedule": "scaled_linear"}
_COGVIDEOX = {**_LATENT_SCALED, "snr_shift_scale": 3.0}
_TABLES: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("DDIM", "DDIMInverse", "DDIMParallel", "DDPM", "DDPMParallel", "DEISMultistep", "DPMSolverMultistep",
             "DPMSolverMultistepInverse", "DPMSolverSinglestep", "EulerAncestralDiscrete", "EulerDiscrete",
             "LMSDiscrete", "PNDM", "RePaint", "SASolver", "UniPCMultistep"), _DDPM,
        ),
        **dict.fromkeys(("DPMSolverSDE", "HeunDiscrete", "KDPM2AncestralDiscrete", "KDPM2Discrete"), _LATENT),
        **dict.fromkeys(("LCM", "TCD"), _LATENT_SCALED),
        **dict.fromkeys(("CogVideoXDDIM", "CogVideoXDPM"), _COGVIDEOX),
        "UnCLIP": {"beta_schedule": "squaredcos_cap_v2"},
    }
)  # fmt: skip
_FLOWS = frozenset({"FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete", "FlowMatchLCM", "LTXEulerAncestralRF"})
_EDMS = frozenset({"EDMDPMSolverMultistep", "EDMEuler"})
_KNOWN = (*sorted(_TABLES), *sorted(_FLOWS), *sorted(_EDMS))
_LENGTHS = (("base_image_seq_len", 256), ("max_image_seq_len", 4096))
_SHIFTS = (("base_shift", 0.5), ("max_shift", 1.15))
_BETAS: Mapping[str, Callable[[int, float, float], Array]] = MappingProxyType(
    {
        "linear": lambda steps, start, end: linear_betas(steps, beta_start=start, beta_end=end),
        "scaled_linear": lambda steps, start, end: scaled_linear_betas(steps, beta_start=start, beta_end=end),
        "squaredcos_cap_v2": lambda steps, start, end: squaredcos_betas(steps),
        "sigmoid": lambda steps, start, end: sigmoid_betas(steps, beta_start=start, beta_end=end),
        "laplace": lambda steps, start, end: laplace_betas(steps),
        "exp": lambda steps, start, end: exponential_betas(steps),
    }
)


class SchedulerConfig(NamedTuple):
    """class_name: without "Scheduler". kind: "table", "flow" or "edm". values: as configured, or by default."""

    class_name: str
    kind: str
    values: Mapping[str, Any]


def from_diffusers(scheduler: object, *, tokens: int | None = None, mu: float | None = None) -> Schedule:
    """The schedule of a scheduler of diffusers: ``from_diffusers(pipe.scheduler)``.

    scheduler: the scheduler itself (anything with ``config``), what its scheduler_config.json holds as a mapping, or
    the path of that file or of its folder. The classic classes give the table of alpha-bar that they compute, to which
    the time is the index; where betas are rescaled to zero terminal SNR it ends at 0, or at 2^-24 for the classes that
    put that in its place. FlowMatch classes and ``use_flow_sigmas`` give ``flow`` with their shift and the label t
    num_train_timesteps; with ``use_dynamic_shifting`` the shift follows from the ``tokens`` of the image, by the four
    numbers of the configuration, or from ``mu`` itself; without either it is 1, with a warning. EDM classes give
    ``edm`` between their sigma_min and sigma_max, for a network behind ``models.edm``. What the network predicts:
    ``predictions.from_diffusers``. ValueError that names what is read for another class, beta_schedule or option.
    """
    config = read_scheduler(scheduler)
    given = {name: value for name, value in (("tokens", tokens), ("mu", mu)) if value is not None}
    if given and not (config.kind == "flow" and config.values.get("use_dynamic_shifting", False)):
        name, value = next(iter(given.items()))
        what = f"{config.class_name}Scheduler without use_dynamic_shifting or flow"
        raise ValueError(f"{name}={value!r}: {what} shifts nothing by the size of the image; leave it out")
    if len(given) == 2:
        raise ValueError(f"tokens={tokens!r} beside mu={mu!r}: give one of them")
    match config.kind:
        case "flow":
            return _flow(config.values, _mu_of(config.values, tokens) if mu is None else real(mu, "mu"))
        case "edm":
            return EDM(real(config.values["sigma_min"], "sigma_min"), real(config.values["sigma_max"], "sigma_max"))
        case _:
            return _table(config)


def read_scheduler(scheduler: object) -> SchedulerConfig:
    """The configuration of a scheduler in any of the forms that :func:`from_diffusers` takes, checked as there."""
    if isinstance(scheduler, SchedulerConfig):
        return scheduler
    values, names = _values_and_names(scheduler)
    known = [name for name in names if name in _KNOWN]
    if not known:
        what = names[0] + "Scheduler" if names else "no _class_name"
        fix = f"{', '.join(name + 'Scheduler' for name in _KNOWN)} are read"
        raise ValueError(f"scheduler: {what}; {fix}")
    name = known[0]
    if name in _EDMS:
        return SchedulerConfig(name, "edm", {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, **values})
    if name in _FLOWS:
        flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": False}
        return SchedulerConfig(name, "flow", {"num_train_timesteps": 1000, **values, **flow})
    if values.get("use_flow_sigmas", False):
        return SchedulerConfig(name, "flow", {"num_train_timesteps": 1000, **values})
    return SchedulerConfig(name, "table", {"num_train_timesteps": 1000, **_TABLES[name], **values})


def _values_and_names(scheduler: object) -> tuple[Mapping[str, Any], list[str]]:
    """What is configured, and the names of the class and of those that it derives from, without "Scheduler"."""
    if isinstance(scheduler, str | Path):
        scheduler = _read_json(Path(scheduler))
    if isinstance(scheduler, Mapping):
        name = scheduler.get("_class_name")
        return scheduler, [name.removesuffix("Scheduler")] if isinstance(name, str) else []
    config = getattr(scheduler, "config", None)
    if not isinstance(config, Mapping):
        fix = "give a scheduler of diffusers, the mapping of its scheduler_config.json, or its path"
        raise TypeError(f"scheduler={shown(scheduler)}: {fix}")
    named = [kind.__name__ for kind in type(scheduler).__mro__] + [str(config.get("_class_name", ""))]
    named.append(str(getattr(scheduler, "diffusers_class", "")))  # of the schedulers of integrations.diffusers
    return config, [name.removesuffix("Scheduler") for name in named]


def _read_json(path: Path) -> Mapping[str, Any]:
    inside = [path / _FILE, path / "scheduler" / _FILE]
    file = next((place for place in inside if place.is_file()), path)
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"scheduler={str(path)!r}: no {_FILE} can be read there ({error})") from error
    if not isinstance(config, Mapping):
        raise ValueError(f"{file}: holds a {type(config).__name__}; give the {_FILE} that save_pretrained wrote")
    return config


def _flow(values: Mapping[str, Any], mu: float | None) -> Flow:
    if values.get("invert_sigmas", False):
        fix = "take schedules.flow() and models.flow_matching(network), whose time rises from noise to data"
        raise ValueError(f"invert_sigmas=True: the network's time runs the other way; {fix}")
    shift = real(values.get("flow_shift" if values.get("use_flow_sigmas") else "shift", 1.0), "shift")
    if values.get("use_dynamic_shifting", False):
        shift = 1.0 if mu is None else shift_of_mu(mu, time_shift_type=values.get("time_shift_type", "exponential"))
    steps = integer(values["num_train_timesteps"], "num_train_timesteps", least=1)
    return Flow(shift=shift, label_scale=float(steps))


def _mu_of(values: Mapping[str, Any], tokens: int | None) -> float | None:
    if tokens is not None:
        lengths = (integer(values.get(name, default), name) for name, default in _LENGTHS)
        shifts = (real(values.get(name, default), name) for name, default in _SHIFTS)
        (base, most), (low, high) = lengths, shifts
        return mu_of_length(tokens, base_length=base, max_length=most, base_shift=low, max_shift=high)
    if values.get("use_dynamic_shifting", False):
        fix = "give tokens=, or mu=; the shift is 1 without"
        warnings.warn(f"scheduler: use_dynamic_shifting makes the shift follow from the image; {fix}", stacklevel=3)
    return None


def _table(config: SchedulerConfig) -> Schedule:
    values = config.values
    if values.get("timestep_type", "discrete") == "continuous" and values.get("prediction_type") == "v_prediction":
        fix = "its network takes log(sigma) / 4 on sigmas beyond its table"
        raise ValueError(f"timestep_type='continuous' of {config.class_name}Scheduler: only 'discrete' is read; {fix}")
    rescaled = boolean(values.get("rescale_betas_zero_snr", False), "rescale_betas_zero_snr")
    betas = _betas(values)
    if (scale := real(values.get("snr_shift_scale", 1.0), "snr_shift_scale")) != 1.0:
        betas = _shifted(betas, scale)
    schedule = from_betas(betas, zero_terminal_snr=rescaled)
    if not rescaled:
        return schedule
    bar = np.array(schedule.alphas_cumprod)
    bar[-1] = _LAST_OF_EULER if config.class_name in _NO_ZERO and bar[-2] > _LAST_OF_EULER else 0.0
    return from_alphas_cumprod(bar)


def _betas(values: Mapping[str, Any]) -> Array:
    if values.get("trained_betas") is not None:
        return reals(values["trained_betas"], "trained_betas")
    name = values["beta_schedule"]
    if not isinstance(name, str) or name not in _BETAS:
        raise ValueError(f"beta_schedule={shown(name)}: {', '.join(_BETAS)} and trained_betas are read")
    steps = integer(values["num_train_timesteps"], "num_train_timesteps", least=2)
    ends = (real(values.get(end, 0.0), end) for end in ("beta_start", "beta_end"))
    return _BETAS[name](steps, *ends)


def _shifted(betas: Array, scale: float) -> Array:
    """Betas whose signal-to-noise ratio alpha-bar / (1 - alpha-bar) is that of ``betas`` over ``scale`` (CogVideoX)."""
    bar = np.exp(np.cumsum(np.log1p(-betas)))
    shifted = bar / (scale + (1.0 - scale) * bar)
    return 1.0 - shifted / np.concatenate(([1.0], shifted[:-1]))
