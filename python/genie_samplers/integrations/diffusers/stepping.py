"""A step of a scheduler: which run it belongs to, the row, and what is returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from genie_ext import in_function_transform

from ..._eager import eager
from ...schedules import Schedule
from .built import Wanted, built
from .run import Draw, Run, float32_or_more, mixed, refuse_transforms
from .threads import Threads
from .threshold import bound_of

__all__ = ["Generators", "Result", "Stepping"]

Result = SchedulerOutput | DDIMSchedulerOutput | tuple[Tensor]
Generators = torch.Generator | Sequence[torch.Generator] | None

_is_compiling = torch.compiler.is_compiling  # looked up once: a step takes little longer than ten such look-ups


class Stepping:
    """What ``step`` of every scheduler here does."""

    gives_x0: ClassVar[bool] = False  # whether a step's result holds the predicted clean data
    _run: Any
    _schedule: Schedule
    _threads: Threads
    _time_of: Any
    _options: Any

    def _run_of(self, sample: Tensor, timestep: float | Tensor) -> Run:
        """The run that a step from this sample at this time belongs to."""
        run = self._threads.own()
        if run is not None and sample is run.left:
            return run
        refuse_transforms("step")
        run = run or self._run
        if run.index is None and run.begin is not None:  # set on purpose
            return run
        return self._threads.run_of(run, sample, timestep)

    def _step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        *,
        run: Run | None = None,
        generator: Generators = None,
        noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> Result:
        """The row of this time. Draws are those that diffusers' classes make of ``generator``, or ``noise``.

        run: the one that the step belongs to, where the caller has looked.
        """
        if not (_is_compiling() or in_function_transform()):
            run = run or self._threads.own()
            if run is not None and sample is run.left:
                made = run.follow(model_output, timestep, sample)
                if made is not None:
                    return self._result(run, made, sample, model_output) if return_dict else (made,)
        return self._whole_step(model_output, timestep, sample, generator, noise, return_dict)

    @eager
    def _whole_step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: Generators,
        noise: Tensor | None,
        return_dict: bool,
    ) -> Result:
        """As of :meth:`_step`, with a look at everything."""
        refuse_transforms("step")
        for name, given in (("model_output", model_output), ("sample", sample)):
            if not isinstance(given, Tensor):
                raise TypeError(f"{name}: {type(given).__name__}; pass a tensor")
        run = self._run_of(sample, timestep)
        output = model_output
        if output.shape != sample.shape or not output.is_contiguous():
            output = self._without_variance(output, sample)
        index = run.place(timestep)

        def draw() -> Tensor:
            drawn: Any = None if noise is None else noise.expand_as(output)
            if drawn is None:
                given: Any = _one_each(generator, len(output))
                drawn = randn_tensor(output.shape, generator=given, device=output.device, dtype=output.dtype)
            return drawn.to(float32_or_more(sample.dtype))

        if index is None:
            wanted = self._once(timestep)
            x0 = built(wanted).x0[0]
            made = run.once(wanted, sample, output, draw, self._bound(run, x0, sample, output))
            return self._result(run, made, sample, output, x0) if return_dict else (made,)
        bound = self._bound(run, run.built.x0[index], sample, output) if run.wanted.dynamic else None
        made = run.step(index, sample, self._outputs(run, index, sample, output), draw, bound)
        return self._result(run, made, sample, output) if return_dict else (made,)

    def _result(
        self, run: Run, made: Tensor, sample: Tensor, output: Tensor, x0: tuple[float, float] | None = None
    ) -> Result:
        """Of the step that made this. x0: the weights of a step that is not one of the list."""
        if not self.gives_x0:
            return SchedulerOutput(prev_sample=made)
        index = None if x0 is not None or run.index is None else run.index - 1
        weights = x0 or run.built.x0[index or 0]
        return DDIMSchedulerOutput(
            prev_sample=made, pred_original_sample=self._predicted(run, index, weights, sample, output)
        )

    def _outputs(self, run: Run, index: int, sample: Tensor, output: Tensor) -> tuple[Tensor, ...]:
        """What the row reads: the network's output, here."""
        return (output,)

    def _bound(self, run: Run, x0: tuple[float, float], sample: Tensor, output: Tensor) -> Draw | None:
        if not run.wanted.dynamic:
            return None
        ratio, most = self._options["dynamic_thresholding_ratio"], self._options["sample_max_value"]
        return lambda: bound_of(mixed(x0, sample, output, sample.dtype), float(ratio), float(most))

    def _predicted(
        self, run: Run, index: int | None, x0: tuple[float, float], sample: Tensor, output: Tensor
    ) -> Tensor:
        """The clean data that the step went by, clamped where it was."""
        found, clip = run.predicted(index, x0, sample, output), run.wanted.clip
        scale = self._bound(run, x0, sample, output)
        if scale is None:
            return found if clip is None else found.clamp(-clip, clip)
        bound = scale().reshape(-1, *(1,) * (found.ndim - 1)).to(found.dtype)
        return found.clamp(-bound, bound) / bound

    def _once(self, timestep: float | Tensor) -> Wanted:
        """The step from a time that is not in the list to the next of the list below it: of order 1."""
        run = self._run
        t = self._time_of(float(timestep))
        after = [time for time in run.built.times if time < t] or [float(self._schedule.t_zero)]
        if after[0] >= t:
            raise ValueError(f"timestep={timestep}: there is no step from it; timesteps are {run.labels}")
        first_order = run.wanted if run.wanted.solver in ("ddim", "ddpm") else run.wanted.using("ddim")
        return first_order.on((t, after[0]))

    def _without_variance(self, output: Tensor, sample: Tensor) -> Tensor:
        """The prediction alone of a network that predicts its variance too."""
        if output.shape == sample.shape:
            return output.contiguous()
        learned = self._options.get("variance_type") in ("learned", "learned_range")
        if learned and output.ndim == sample.ndim and output.shape[1] == 2 * sample.shape[1]:
            return output[:, : sample.shape[1]]
        raise ValueError(
            f"model_output: shape {tuple(output.shape)} for a sample of {tuple(sample.shape)}; set "
            "variance_type='learned_range' for a network that returns a variance too"
        )


def _one_each(generator: Generators, samples: int) -> Generators:
    """One for all, or a list of one for each sample; ValueError for another number."""
    if isinstance(generator, (list, tuple)) and len(generator) not in (1, samples):
        raise ValueError(
            f"generator: a list of length {len(generator)}, but the batch has {samples} samples; give one generator, "
            "or one for each sample"
        )
    return generator
