"""One generation on its way through a scheduler's plan: where it is, and the state that it left."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genie_ext import in_function_transform

from ..._eager import eager
from ...models.remark import remark
from ...plan import Plan
from ...run import Program, Stepper
from .built import Built, Wanted, built

__all__ = ["Draw", "Run", "float32_or_more", "mixed", "refuse_transforms"]

Draw = Callable[[], Tensor]


class Run:
    """timesteps: what the network is given at each evaluation, on the pipeline's device. levels: the noise levels there
    and at the end. begin: the first index, where a pipeline has set it. index: of the next step; None before the first.
    """

    def __init__(
        self, wanted: Wanted, made: Built, labels: Sequence[float], levels: Sequence[float], *,
        whole: bool, device: str | torch.device | None,
    ) -> None:  # fmt: skip
        self.wanted, self.built, self.labels = wanted, made, tuple(labels)
        dtype = torch.int64 if whole else torch.float32
        self._given = torch.tensor(self.labels, dtype=torch.float64).to(dtype).to(device)
        self._given_levels = torch.tensor(levels, dtype=torch.float64).float()
        self.levels = self._given_levels.clone()
        self.hand_out(self._given.clone())
        self.of_output = False  # whether a step returns the dtype of the network's output, whatever the sample's is
        self.left: Tensor | None = None  # what the last step returned, and in which thread it ran
        self.thread = 0
        self.lent = False  # whether the thread that it belongs to did not call set_timesteps
        self.expected: int | None = None  # the first index that was set in the thread that did
        self._values: list[float] = self._given.tolist()
        self.begin: int | None = None
        self.index: int | None = None
        self._stepper: Stepper | None = None
        self.kind: object = None  # of its steps, as of change
        self._now = made  # the rows that are running: those of ``built``, or of its rest from where a run began
        self.asked: object = None  # what set_timesteps was given, set where it makes the run
        self._once_each = False  # whether of two evaluations at one time the first is passed over
        self._predicting: Stepper | None = None
        self._programs: dict[tuple[object, ...], tuple[Plan, Program]] = {}

    def hand_out(self, timesteps: Tensor) -> None:
        """The times as a tensor that is the pipeline's to keep and to write into."""
        self.timesteps = timesteps
        step = timesteps.stride(0) if len(timesteps) > 1 else 1  # 0 where one number stands for all
        self._address, self._width = timesteps.data_ptr(), timesteps.element_size() * max(1, step)
        self._count, self._dtype, self._device = len(self.labels), timesteps.dtype, timesteps.device

    def fresh(self) -> Run:
        """The same plan and times, not begun."""
        twin: Run = object.__new__(Run)
        vars(twin).update(vars(self))
        twin.levels = self._given_levels.clone()
        twin.hand_out(self._given.clone())
        twin.begin = twin.index = twin._stepper = twin.left = None
        twin.thread = 0
        twin._now, twin._once_each, twin._predicting, twin.lent = self.built, False, None, False
        twin.expected = None
        return twin

    def take_memory(self, before: Run) -> None:
        """Go on in the memory of a run that has ended, where it is of the same plan; its last sample is let go."""
        before.left = None
        if before.built is self.built:
            self._stepper, before._stepper = before._stepper, None
            self._predicting, before._predicting = before._predicting, None

    def copied(self, *, apart: bool = True) -> Run:
        """As far on its way as this one, on a way of its own. apart: with ``timesteps`` of its own too."""
        twin = self.fresh()
        twin.begin, twin.index, twin._now, twin._once_each = self.begin, self.index, self._now, self._once_each
        twin._stepper = copy.deepcopy(self._stepper)
        if not apart:
            twin.levels = self.levels
            twin.hand_out(self.timesteps)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        return self.copied()

    @property
    def nbytes(self) -> int:
        """Of the memory that its rows write."""
        return 0 if self._stepper is None else self._stepper.nbytes

    # --- where it is

    @property
    def is_on_its_way(self) -> bool:
        """Whether a step was made, and one is left."""
        return self.index is not None and self.index < len(self.labels) and self.left is not None

    @property
    def is_of_this_thread(self) -> bool:
        """Whether no other thread made its last step."""
        return self.thread in (0, get_ident())

    def place(self, timestep: int | float | Tensor) -> int | None:
        """The index of the step from this time; None for a time that is not in the list.

        A tensor that lies in ``timesteps``, as in ``for t in scheduler.timesteps``, is known by its place, so that
        nothing waits for the device; else the number decides, the next step's before others of the same time, and to
        begin with the second of these, which is where a method with stages begins a step. Another tensor of a device is
        the next one's while a run is on its way.
        """
        following = self.index
        if following is None and self.begin is not None:
            return self.begin
        if isinstance(timestep, Tensor):
            refuse_transforms("timestep")
            inside, odd = divmod(timestep.data_ptr() - self._address, self._width)
            if 0 <= inside < self._count and not odd and self._is_one(timestep):
                return inside
            if timestep.device.type != "cpu" and following is not None and following < self._count:
                return following
            timestep = timestep.flatten()[0].item() if timestep.numel() else float("nan")
        values = self._values
        if following is not None and following < self._count and _same_label(values[following], timestep):
            return following
        found = [index for index, value in enumerate(values) if value == timestep]
        found = found or [index for index, value in enumerate(values) if _same_label(value, timestep)]
        return found[min(1, len(found) - 1)] if found else None

    def _is_one(self, timestep: Tensor) -> bool:
        """Of a tensor at the address of an entry of ``timesteps``: whether it is that entry."""
        return timestep.dtype == self._dtype and timestep.numel() == 1 and timestep.device == self._device

    def passed(self, index: int | None) -> None:
        """A step that somebody else made."""
        self.index = None if index is None else index + 1
        self._stepper = None

    # --- a step

    def at(self, index: int, sample: Tensor, output: Tensor) -> Stepper:
        """The rows from ``index`` on; begun anew where the run was elsewhere."""
        stepper = self._stepper
        if stepper is None or index != self.index or not stepper.is_like(sample):
            stepper = self._stepper = self._started(index, sample, output)
            self.index = index
        return stepper

    def step(self, index: int, sample: Tensor, outputs: Sequence[Tensor], draw: Draw, scale: Draw | None) -> Tensor:
        """From the sample at ``index`` to the next. draw: makes a standard normal tensor like the sample.

        scale: computes the per-sample bound of dynamic thresholding, [B].
        """
        stepper = self.at(index, sample, outputs[0])
        if self._once_each and self.built.asked[index : index + 2].count(self.built.asked[index]) == 2:
            self.index = index + 1
            return sample.to(self._result_dtype(sample, outputs[0]))
        if scale is not None:
            _set_bound(stepper.program, stepper.row, scale())
        count = stepper.draws
        draws = [draw() for _ in range(count)] if count else ()
        self._stepper = None  # where the step is interrupted: the run goes on from here with a warm-up of its own
        try:
            made = stepper.step(sample, outputs, draws)
        except Exception:  # a refusal, which leaves the state as it was
            self._stepper = stepper
            raise
        self._stepper, self.index = stepper, index + 1
        if not made.dtype == sample.dtype == outputs[0].dtype:
            made = made.to(self._result_dtype(sample, outputs[0]))
        self.left, self.thread = made, get_ident()
        return made

    def follow(self, output: Tensor, timestep: object, sample: Tensor) -> Tensor | None:
        """The next step, from the sample that the last one returned, at the entry of ``timesteps`` that is next; None,
        with nothing done, where anything is out of the ordinary.
        """
        index, stepper = self.index, self._stepper
        if (
            index is None
            or stepper is None
            or self.wanted.dynamic
            or self._once_each
            or not self._is_at(index, timestep)
        ):
            return None
        self._stepper = None  # as of step
        try:
            made = stepper.follow(sample, output)
        except Exception:
            self._stepper = stepper
            raise
        self._stepper = stepper
        if made is not None:
            self.left, self.index, self.thread = made, index + 1, get_ident()
        return made

    def _is_at(self, index: int, timestep: object) -> bool:
        """Whether this is the entry of ``timesteps`` itself."""
        return (
            type(timestep) is Tensor
            and timestep.data_ptr() == self._address + index * self._width
            and index < self._count
            and timestep.dtype is self._dtype
            and timestep.numel() == 1
        )

    def predicted(self, index: int | None, x0: tuple[float, float], sample: Tensor, output: Tensor) -> Tensor:
        """The data ``x0`` that state and output predict at this evaluation; not clamped."""
        tracked = torch.is_grad_enabled() and (sample.requires_grad or output.requires_grad)
        dtype = torch.promote_types(torch.float32 if self.of_output else sample.dtype, output.dtype)
        if index is None or tracked or not sample.dtype == dtype == float32_or_more(dtype):
            return mixed(x0, sample, output, dtype)
        plan, stepper = self.built.predicting, self._predicting
        if stepper is None or stepper.program.plan is not plan or not stepper.fits(stepper.program, sample):
            stepper = self._predicting = Stepper(Program.of(plan, device=sample.device, dtype=sample.dtype), sample)
        stepper.seek(index)
        return stepper.step(sample, (output,))

    def _started(self, index: int, sample: Tensor, output: Tensor) -> Stepper:
        """Rows from ``index`` on, with a warm-up of their own where that is not the first."""
        self._once_each = False
        begins = self.index is None and self.begin is None and index != self.expected
        if index and self.lent and begins and self._has_history:
            remark(
                f"timestep: number {index} of the list, in a thread that did not call set_timesteps, and with a sample "
                "that no step made: the step begins anew, without the outputs of those before; run a generation in "
                "one thread, hand on what step returned, or call set_begin_index in this thread"
            )
        self._now = self.built if index == 0 else self._rest(index)
        program = self._program(sample, output)
        if self._stepper is None or not self._stepper.fits(program, sample):
            return Stepper(program, sample)
        self._stepper.restart(sample)
        return self._stepper

    def _rest(self, index: int) -> Built:
        """The plan from this evaluation on: of the grid after it, or where that asks at other times, of these."""
        left, times = self.built.asked[index:], self.built.times
        rest = built(self.wanted.on((left[0], *(t for t in times if t < left[0]))))
        if not _same(rest.asked, left) and self.wanted.midway is not None:
            left = tuple(dict.fromkeys(left))
            rest = built(self.wanted.using(self.wanted.midway).on((*left, times[-1])))
            self._once_each = True
        if not _same(rest.asked, left):
            raise ValueError(
                f"begin_index={index}: {self.wanted.solver} cannot begin there with the {len(left)} evaluations that "
                "are left; begin at a step, or take another scheduler"
            )
        return rest

    @property
    def _has_history(self) -> bool:
        return any(row.history for row in self.built.plan.rows)

    def _result_dtype(self, sample: Tensor, output: Tensor) -> torch.dtype:
        """Of what a step returns."""
        alike = self.of_output or sample.dtype == output.dtype
        return output.dtype if alike else torch.promote_types(sample.dtype, output.dtype)

    def _program(self, sample: Tensor, output: Tensor) -> Program:
        dtype = float32_or_more(sample.dtype)
        key = self._now.times, sample.device, dtype, self._result_dtype(sample, output)
        plan, program = self._programs.get(key, (None, None))
        if program is None or plan is not self._now.plan:
            program = Program.of(self._now.plan, device=sample.device, dtype=dtype, model_dtype=key[-1])
            self._programs[key] = self._now.plan, program
        if self.wanted.dynamic:  # each sample has its own bound, written before its row runs
            program = program.with_table(program.table[:, None].repeat(1, len(sample), 1))
        return program

    def once(self, wanted: Wanted, sample: Tensor, output: Tensor, draw: Draw, scale: Draw | None) -> Tensor:
        """A single step of another plan, which leaves this run as it is."""
        single = Run(wanted, made := built(wanted), made.asked, (), whole=False, device=None)
        return single.step(0, sample, (output,), draw, scale)

    @eager
    def change(self, kind: object, change: Callable[[Wanted], Wanted]) -> None:
        """Steps of another kind from now on, which ``kind`` tells apart; of a solver that reads no earlier outputs."""
        wanted = change(self.wanted).on(self.built.times)
        made = built(wanted)
        self._stepper = self._stepper if made is self.built else None
        self.wanted, self.built = wanted, made
        self.kind = kind  # last: another thread may take the run over in between


def _same(times: Sequence[float], others: Sequence[float]) -> bool:
    """But for rounding."""
    return len(times) == len(others) and np.allclose(times, others, rtol=1e-9, atol=1e-9)


def refuse_transforms(name: str) -> None:
    """ValueError inside grad, vmap and their like."""
    if in_function_transform():
        raise ValueError(
            f"{name}: inside a transform of torch.func (grad, vjp, jvp, vmap), but a scheduler keeps what is "
            "made there, which ends with the transform; call it outside, or let torch.autograd follow the steps"
        )


def float32_or_more(dtype: torch.dtype) -> torch.dtype:
    """In which a state is kept: pipelines of half precision lose digits between steps otherwise."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def mixed(weights: tuple[float, float], sample: Tensor, output: Tensor, dtype: torch.dtype) -> Tensor:
    """The predicted clean data, of this dtype."""
    wide = float32_or_more(dtype)
    return (weights[0] * sample.to(wide) + weights[1] * output.to(wide)).to(dtype)


def _same_label(value: float, timestep: float) -> bool:
    """But for rounding to an integer, up or down, or to bfloat16."""
    return abs(value - timestep) <= max(0.5, abs(value) * 2.0**-8) or int(value) == timestep


def _set_bound(program: Program, row: int, bound: Tensor) -> None:
    """y = clamp(x0, -bound, bound) / bound, in the columns of the clamped output of this row."""
    layout = program.layout[row]
    width = layout.outputs + 3
    for h in range(layout.converted):
        at = h * width + width - 2
        if program.plan.rows[row].converted[h].bound != float("inf"):
            program.table[row, :, at] = bound
            program.table[row, :, at + 1] = 1.0 / bound
