"""The first state of a batch, and the network's input there, made by one row from what is given and from noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from genie_ext import FusedStepCall, Noise, Prepared, StepResult, fused_step, normal_fill, prepare, uniform_fill

from .operators import run_operator
from .program import Program
from .start import Start

__all__ = ["FirstState"]


class FirstState:
    """The start row of a program: signal * x + noise * z, z as the start says."""

    def __init__(self, program: Program, start: Start, first_row: int) -> None:
        self.program, self.start = program, start
        self._row = _start_row(program, start, first_row)
        self._prepared: Prepared | None = None
        self._made: Tensor | None = None  # noise that is no plain draw

    @property
    def nbytes(self) -> int:
        """Of the noise that it has made."""
        return 0 if self._made is None else self._made.nbytes

    def anew(self) -> FirstState:
        """The same without prepared calls, for other memory."""
        twin: FirstState = object.__new__(type(self))
        vars(twin).update(self.__getstate__())
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_prepared": None, "_made": None}  # addresses, made again where it is read

    def make(self, x: Tensor, noise: Noise | None) -> StepResult:
        """Out of place; differentiable in x."""
        self._made = None  # what was made before may still be read backwards
        draws, source = self._draws(x, noise)
        return fused_step(
            x.contiguous(), row=self._row, converted=0, draws=draws, noise=source,
            x_in=self.program.model_dtype if self.program.feeds else None, backend=self.program.backend,
        )  # fmt: skip

    def fill(self, given: Tensor, noise: Noise | None, x: Tensor, x_in: Tensor | None, nonfinite: Tensor) -> None:
        """From ``given`` into the state's own memory, always the same; nonfinite: int32 [b]."""
        draws, source = self._draws(x, noise)
        if self._prepared is None:
            call = FusedStepCall(
                x=x, outputs=(), history=(), row=self._row, converted=0, aux=None, draws=draws, noise=source, out=x,
                aux_out=None, stored=(), x_in=x_in, nonfinite=nonfinite,
            )  # fmt: skip
            self._prepared = prepare("fused_step", call, backend=self.program.backend)
        self._prepared(x=given.contiguous())

    def _draws(self, x: Tensor, noise: Noise | None) -> tuple[tuple[int | Tensor, ...], Noise | None]:
        """What the row draws, and from where."""
        start = self.start
        if start.noise == 0.0:
            return (), None
        if noise is None:
            raise ValueError(f"start: draws noise of scale {start.noise}; pass noise=genie_ext.Noise(...)")
        source = noise._replace(stream=start.stream)
        if start.operator is None and start.distribution == "normal":
            return (0,), source
        if self._made is None:
            with torch.inference_mode(False):  # a later run may be outside the mode
                self._made = torch.empty_like(x, dtype=self.program.compute_dtype, requires_grad=False)
        return (self._noise(start, self._made, source),), None

    def _noise(self, start: Start, out: Tensor, source: Noise) -> Tensor:
        plain = out if start.operator is None else torch.empty_like(out)
        if start.distribution == "uniform":
            uniform_fill(plain, noise=source)
        else:
            normal_fill(plain, noise=source, backend=self.program.backend)
        if start.operator is not None:
            run_operator(self.program, start.operator, 0, "on the initial noise", plain, out)
        return out


def _start_row(program: Program, start: Start, first_row: int) -> Tensor:
    """Its weights of x and noise, and the scale of the network's input."""
    columns = (start.signal, *((start.noise,) if start.noise else ()), program.plan.input_scales[first_row])
    double = program.compute_dtype == torch.float64
    return torch.from_numpy(np.array(columns, np.float64 if double else np.float32)).to(program.device)
