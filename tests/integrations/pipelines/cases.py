"""Which scheduler of ours is which of diffusers', and by which configuration the two are one method."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

diffusers: Any = pytest.importorskip("diffusers", reason="the schedulers to compare with are its own")
ours: Any = importlib.import_module("genie_samplers.integrations.diffusers")

__all__ = ["FLOW_MULTISTEP", "OTHERS", "SAME", "SAME_TIMES", "Pair", "ours"]

_NONE: Mapping[str, Any] = MappingProxyType({})


class Pair(NamedTuple):
    """options: of both. own: of ours alone. generator: whether its step takes one, which DDPMPipeline passes."""

    theirs: Any
    ours: Any
    options: Mapping[str, Any] = _NONE
    own: Mapping[str, Any] = _NONE
    generator: bool = False

    def made(self, config: Mapping[str, Any]) -> tuple[Any, Any]:
        """Theirs and ours of this configuration."""
        return self.theirs.from_config(config, **self.options), self.ours.from_config(
            config, **self.options, **self.own
        )


_DPM = diffusers.DPMSolverMultistepScheduler, ours.DPMSolverMultistepScheduler
_EULER = diffusers.EulerDiscreteScheduler, ours.EulerScheduler
_PNDM = diffusers.PNDMScheduler, ours.PNDMScheduler
SAME: dict[str, Pair] = {
    "DDIM": Pair(diffusers.DDIMScheduler, ours.DDIMScheduler, generator=True),
    "DDPM": Pair(diffusers.DDPMScheduler, ours.DDPMScheduler, generator=True),
    "PNDM": Pair(*_PNDM, {"steps_offset": 1}),
    "PNDM without Runge-Kutta": Pair(*_PNDM, {"steps_offset": 1, "skip_prk_steps": True}),
    "DEIS": Pair(diffusers.DEISMultistepScheduler, ours.DEISScheduler, {"final_sigmas_type": "sigma_min"}),
    "DPM++ 1": Pair(*_DPM, {"solver_order": 1}, generator=True),
    "DPM++ 2M": Pair(*_DPM, generator=True),
    "DPM++ 2M heun": Pair(*_DPM, {"solver_type": "heun"}, generator=True),
    "DPM++ 3M": Pair(*_DPM, {"solver_order": 3}, generator=True),
    "DPM++ 2M SDE": Pair(*_DPM, {"algorithm_type": "sde-dpmsolver++"}, generator=True),
    "UniPC 2": Pair(diffusers.UniPCMultistepScheduler, ours.UniPCScheduler),
    "UniPC 3": Pair(diffusers.UniPCMultistepScheduler, ours.UniPCScheduler, {"solver_order": 3}),
    "Euler": Pair(*_EULER, generator=True),
    "Euler trailing": Pair(*_EULER, {"timestep_spacing": "trailing"}, generator=True),
    "Heun": Pair(diffusers.HeunDiscreteScheduler, ours.HeunScheduler),
}
"""The same method at the same times."""

OTHERS: dict[str, Any] = {
    "IPNDM": lambda config: ours.IPNDMScheduler.from_config(config),
    "DEIS tab": lambda config: ours.DEISScheduler.from_config(config, variant="tab", solver_order=3),
    "DEIS rho_rk": lambda config: ours.DEISScheduler.from_config(config, variant="rho_rk", solver_order=2),
    "DPM++ 2M Karras": lambda config: ours.DPMSolverMultistepScheduler.from_config(config, use_karras_sigmas=True),
    "DEIS Karras": lambda config: ours.DEISScheduler.from_config(config, use_karras_sigmas=True),
    "DPM-Solver": lambda config: ours.DPMSolverMultistepScheduler.from_config(config, algorithm_type="dpmsolver"),
    "plan auto": lambda config: ours.PlanScheduler.from_config(config),
    "plan unipc3": lambda config: ours.PlanScheduler.from_config(config, solver="unipc3", grid="karras"),
    "plan gddim": lambda config: ours.PlanScheduler.from_config(config, solver="gddim", grid="config"),
}
"""Methods that diffusers has not, or has at rounded times."""

FLOW_MULTISTEP = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}


def _exact(kind: Any) -> Any:
    """A class of diffusers that asks the network at the times of its noise levels themselves, not truncated."""

    class Exact(kind):
        def set_timesteps(self, num_inference_steps: Any = None, device: Any = None, sigmas: Any = None) -> None:
            super().set_timesteps(num_inference_steps, device, **({} if sigmas is None else {"sigmas": sigmas}))
            self.timesteps = self.sigmas[:-1] * self.config.num_train_timesteps

    Exact.__name__ = kind.__name__
    return Exact


_FLOW_DPM = _exact(diffusers.DPMSolverMultistepScheduler), ours.DPMSolverMultistepScheduler
SAME_TIMES: dict[str, Pair] = {
    "DPM++ 2M": Pair(*_FLOW_DPM, FLOW_MULTISTEP),
    "DPM++ 3M": Pair(*_FLOW_DPM, {**FLOW_MULTISTEP, "solver_order": 3}),
    "DPM++ 2M SDE": Pair(*_FLOW_DPM, {**FLOW_MULTISTEP, "algorithm_type": "sde-dpmsolver++"}),
    "UniPC": Pair(_exact(diffusers.UniPCMultistepScheduler), ours.UniPCScheduler, FLOW_MULTISTEP),
}
"""The same method on flow once theirs asks at the times themselves; UniPC besides from a start below 1."""
