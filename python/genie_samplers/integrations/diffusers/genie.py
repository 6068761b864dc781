"""GENIE in a pipeline: the head runs in the scheduler's step, on what hooks keep of the network's last pass."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput  # noqa: F401  for pipelines
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...genie import Features, Head, HeadedModel, keep_features, with_head
from ...models import wrap
from .options import SIGMAS, TABLE, constructor
from .plan import PlanScheduler
from .run import Run

__all__ = ["GENIEScheduler"]


class GENIEScheduler(PlanScheduler):
    """GENIE with a distilled head, for pipelines without guidance of their own (Dockhorn et al., arXiv 2210.05475).

        scheduler = GENIEScheduler.from_config(pipe.scheduler.config).attach(pipe.unet, "folder of the head")
        pipe.scheduler = scheduler

    solver: "genie_hermite" or "genie_ttm2"; solver_options: as of these. Which derivative is read follows from the
    head: corrections, or the derivative itself. A pipeline that runs its network on conditional and unconditional
    samples together mixes their outputs before the scheduler sees them, but not their features: it is refused.
    """

    __init__ = constructor(TABLE, SIGMAS, solver="genie_hermite", solver_options=None, grid="auto", plan=None)

    def _configure(self) -> None:
        self._headed: HeadedModel | None = getattr(self, "_headed", None)  # kept where a configuration is changed
        self._hooks: Sequence[RemovableHandle] = ()
        self._passes = threading.local()
        super()._configure()

    def attach(self, network: nn.Module, head: Head | Path | str) -> GENIEScheduler:
        """Keep the features of this network's passes for its head, an instance or its folder; returns the scheduler.

        ValueError where the head was distilled from another network, schedule or prediction.
        """
        model = wrap(network, self._schedule, prediction=self._prediction)
        self._headed = with_head(model, head)
        for hook in self._hooks:
            hook.remove()
        self._hooks = keep_features(network, self._headed.head.config, self._keep)
        return self

    def _keep(self, features: Features) -> None:
        self._passes.features = features

    def _solver(self, config: Mapping[str, Any], steps: int) -> tuple[str, Mapping[str, object]]:
        solver, options = super()._solver(config, steps)
        if not solver.startswith("genie"):
            raise ValueError(
                f"solver={solver!r}: choose genie_hermite, genie_hermite3 or genie_ttm2; PlanScheduler has others"
            )
        derivative = {} if self._headed is None else {"derivative": self._headed.head.config.derivative}
        return solver, {**derivative, **options}

    @property
    def _moving(self) -> object:
        return id(self._headed)

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        """As of every scheduler here; ValueError before :meth:`attach`."""
        if self._headed is None:
            raise ValueError("GENIEScheduler: has no head; call .attach(pipe.unet, head) first")
        super().set_timesteps(*args, **kwargs)

    def _outputs(self, run: Run, index: int, sample: Tensor, output: Tensor) -> tuple[Tensor, ...]:
        stepper = run.at(index, sample, output)
        headed, plan, row = self._headed, stepper.program.plan, stepper.row
        if headed is None or plan.calls[row].outputs < 2:
            return (output,)
        features: Features | None = getattr(self._passes, "features", None)
        if features is None or len(features.last) != len(sample):
            seen = "none" if features is None else f"{len(features.last)} samples"
            raise ValueError(
                f"model_output: the head saw the features of {seen}, the step has {len(sample)} samples; run the "
                "attached network without guidance (guidance_scale=1), once per step and in the same thread"
            )
        label = torch.tensor(np.asarray(headed.labels(plan))[row], dtype=torch.float32, device=sample.device)
        with torch.no_grad():
            inputs = headed.head_inputs(sample, label.expand(len(sample), -1), output, features, stepper.history)
            maps = headed.head(*inputs).to(output.dtype).chunk(3, dim=1)
        return (output, *(m.contiguous() for m in maps))

    def __deepcopy__(self, memo: dict[int, Any]) -> GENIEScheduler:
        twin: Any = super().__deepcopy__(memo)
        twin._headed, twin._passes = self._headed, self._passes  # of the same network
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Without the network: attach it again."""
        return {**super().__getstate__(), "_headed": None, "_hooks": (), "_passes": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._passes = threading.local()
