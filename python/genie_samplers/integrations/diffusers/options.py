"""What the schedulers can be configured with, and the constructor that diffusers makes a configuration of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from diffusers.configuration_utils import register_to_config

__all__ = ["DYNAMIC_SHIFT", "FLOW_SIGMAS", "SIGMAS", "TABLE", "THRESHOLD", "constructor"]

Options = Mapping[str, object]

TABLE: Options = MappingProxyType(
    {
        "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear",
        "trained_betas": None, "prediction_type": "epsilon", "timestep_spacing": "linspace", "steps_offset": 0,
        "rescale_betas_zero_snr": False, "variance_type": None,
    }
)  # fmt: skip
"""The table of betas, what the network predicts, and which of its times are taken."""

SIGMAS: Options = MappingProxyType(
    {
        "use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False, "use_lu_lambdas": False,
        "final_sigmas_type": "zero", "sigma_min": None, "sigma_max": None,
    }
)  # fmt: skip
"""Noise levels in place of times of the table, between the ends given or its own, and where the last step ends."""

DYNAMIC_SHIFT: Options = MappingProxyType(
    {
        "use_dynamic_shifting": False, "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256,
        "max_image_seq_len": 4096, "time_shift_type": "exponential", "shift_terminal": None,
    }
)  # fmt: skip
"""A shift of flow times that depends on the image."""

FLOW_SIGMAS: Options = MappingProxyType({"use_flow_sigmas": False, "flow_shift": 1.0, **DYNAMIC_SHIFT})
"""A flow network behind a class of table schedules."""

THRESHOLD: Options = MappingProxyType(
    {"thresholding": False, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0}
)
"""Dynamic thresholding of the predicted clean data (Saharia et al., arXiv 2205.11487)."""


def constructor(*groups: Options, **options: object) -> Callable[..., None]:
    """The ``__init__`` of a scheduler with these options and their defaults.

    Calling it registers the configuration, as every class of diffusers does, and then runs ``self._configure()``.
    """
    defaults: dict[str, object] = {}
    for group in (*groups, options):
        defaults.update(group)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind, default=default) for name, default in defaults.items()]
    signature = inspect.Signature([inspect.Parameter("self", kind), *parameters])

    def __init__(self: Any, *args: object, **kwargs: object) -> None:
        signature.bind(self, *args, **kwargs)  # TypeError for an option that the class does not have
        self._configure()

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return register_to_config(__init__)
