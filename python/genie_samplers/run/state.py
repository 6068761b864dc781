"""One batch on its way through a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from genie_ext import Noise, PreparedRows, StepRows, fused_step, prepare_rows, times_written, wants_gradients

from ..models.outputs import OutputReader
from ..plan import Apply, Call, HistoryEntry, RowLayout
from .beginning import apart, check_beginning, check_like
from .first_state import FirstState
from .noise import checked_ids, signed_seed
from .operators import Readable, RowsWithOperators, applied, gained_row, table_of_gains
from .program import Program
from .start import AS_GIVEN, Start

__all__ = ["PlanState"]

_GRADIENTS = (
    "require grad or carry a tangent, which rows written in place would end; make the PlanState with in_place=False, "
    "use torch.no_grad(), or pass .detach()"
)


class PlanState:
    """A batch of states and what the rows to come need of it: no network, no loop.

        while (call := state.call) is not None:
            state.advance(network(state.model_input, call.time) if call.calls else ())

    x: the state at the plan's first time, [b, ...] of the program's dtype and on its device, or what ``start`` makes it
    from; it is copied. noise: where draws come from; None: they are given to :meth:`advance`. in_place: False makes new
    tensors in every row, through the reference backend where autograd follows: gradients reach x, outputs, draws and
    the program's table. first_row, aux, values: to begin in a later row, with the second state and the converted
    outputs of earlier rows that it and later ones read. reader: of the outputs, shared by the batches of a run.
    ValueError or TypeError naming the argument. A copy goes its own way.

    ``x`` is the state now, ``row`` the next row, ``nonfinite`` int32 [1 + rows, b], not zero where start or row left an
    inf or NaN (None with in_place=False). To change the state between rows, use :meth:`replace`.
    """

    def __init__(
        self,
        program: Program,
        x: Tensor,
        noise: Noise | None = None,
        *,
        start: Start = AS_GIVEN,
        in_place: bool = True,
        first_row: int = 0,
        aux: Tensor | None = None,
        values: Mapping[HistoryEntry, Tensor] | None = None,
        reader: OutputReader | None = None,
    ) -> None:
        values = values or {}
        check_beginning(program, x, noise, first_row, aux, values)
        if in_place and wants_gradients(x, program.table, aux, *values.values()):
            raise ValueError(f"x, aux, values or table: {_GRADIENTS}")
        self.program, self.noise, self.in_place = program, noise, in_place
        self._first_row, self._first = first_row, FirstState(program, start, first_row)
        self.reader = reader or OutputReader()
        self._rows: PreparedRows | None = None
        self._slots: list[Tensor | None] = [None] * program.plan.slots
        self.nonfinite: Tensor | None = None
        self.aux: Tensor | None = None
        self._as_left: tuple[Tensor, int] | None = None  # x and how often it was written; None while a row runs
        if in_place:
            self._allocate(x)
        self._restart(x, aux, values)

    def restart(
        self,
        x: Tensor,
        *,
        seed: int | None = None,
        sample_ids: Sequence[int] | None = None,
        aux: Tensor | None = None,
        values: Mapping[HistoryEntry, Tensor] | None = None,
    ) -> None:
        """From the first row again, in the same memory, with what the constructor is given.

        seed, sample_ids: other ones, written into the tensors of the state's noise. Without them nothing is uploaded:
        a CUDA graph may hold it, and the rows after it.
        """
        values = values or {}
        check_beginning(self.program, x, self.noise, self._first_row, aux, values)
        if x.shape != self.x.shape:
            raise ValueError(f"x: shape {tuple(x.shape)}; this state has {tuple(self.x.shape)}, make a new one")
        if self.in_place and wants_gradients(x, aux, *values.values()):
            raise ValueError(f"x, aux or values: {_GRADIENTS}")
        if seed is not None or sample_ids is not None:
            self._draw_from(seed, sample_ids)
        if x is not self.x:
            x = apart(x.contiguous(), (self.x, self.x_in, self.nonfinite))
        # copies: they may be in the memory of this state
        aux = None if aux is None else aux.clone()
        self._restart(x, aux, {entry: value.clone() for entry, value in values.items()})

    def _draw_from(self, seed: int | None, sample_ids: Sequence[int] | None) -> None:
        if self.noise is None:
            raise ValueError("seed, sample_ids: the state has no noise; give it noise= when it is made")
        if seed is not None:
            self.noise.seed.fill_(signed_seed(seed))
        if sample_ids is not None:
            self.noise.sample_ids.copy_(torch.tensor(checked_ids(sample_ids, len(self.x)), dtype=torch.int64))

    def _restart(self, x: Tensor, aux: Tensor | None, values: Mapping[HistoryEntry, Tensor]) -> None:
        self._as_left = None
        self.row = self._first_row
        self._begin(x)
        if aux is not None:
            self.aux = _put(aux, self.aux if self.in_place else None)
        for entry, value in values.items():
            self._keep(entry, value)
        self._as_left = (self.x, times_written(self.x))

    # --- what the network is asked

    @property
    def call(self) -> Call | None:
        """What the next row asks; None when the last has run."""
        return self.program.plan.calls[self.row] if self.row < len(self.program.plan.rows) else None

    @property
    def model_input(self) -> Tensor:
        """What the network is given, [b, ...] in the program's model_dtype; read-only, and the next row writes it."""
        return self.x if self.x_in is None else self.x_in

    @property
    def history(self) -> list[Tensor]:
        """The earlier converted outputs that the next row reads, newest first, in the compute dtype; read-only."""
        return [self._slot(s) for row in self.program.layout[self.row : self.row + 1] for s in row.history]

    def read(self, outputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Of the network's outputs, ``call.names`` or all of the plan's, those that the next row reads.

        Each checked to be like the state; copied where the row will overwrite it, or where a sample is not dense.
        """
        if self.row == len(self.program.plan.rows):
            raise ValueError(f"PlanState: all {self.row} rows have run; make a new one, or restart it")
        call = self.program.plan.calls[self.row]
        return self.reader.read(call.read(outputs), call.names, self.row, self.x, self.x_in)

    def predicted_x0(self, outputs: Tensor | Sequence[Tensor]) -> Tensor:
        """The clean data that the next row's outputs predict, [b, ...] in the compute dtype, or float64 as they are."""
        return self.program.predicted_x0(self.row, self.x, self.read(outputs))

    # --- what happens to the state

    def advance(self, outputs: Tensor | Sequence[Tensor] = (), draws: Sequence[Tensor] = ()) -> None:
        """Run one row. outputs: as of :meth:`read`; none in a row that asks no network.

        draws: standard normals [b, ...], one for each that the row draws, where the state has no ``noise``. ValueError
        or TypeError naming row and output or draw; the state is then as it was. ValueError where somebody else wrote
        into the state, or an earlier row was interrupted.
        """
        left, x = self._as_left, self.x
        if left is None or left[0] is not x or left[1] != times_written(x):
            self._refuse_touched()
        read = self.read(outputs)
        layout = self.program.layout[self.row]
        if self.noise is not None or layout.draws or len(draws):
            draws = self._checked_draws(layout, draws)
        if self.in_place:
            if torch.is_grad_enabled() and wants_gradients(*read, *draws):
                raise ValueError(f"model: outputs or draws of row {self.row}: {_GRADIENTS}")
            if self._rows is None:
                self._rows = self._prepare()
        self._as_left = None  # an interrupt, which is no Exception, may leave a row half done
        try:
            if self._rows is None:
                self._step(layout, read, draws)
            elif draws:
                self._rows(self.row, read, draws)
            else:
                self._rows.run_checked(self.row, read)
        except Exception:
            self._as_left = left
            raise
        self.row += 1
        self._as_left = self.x, times_written(self.x)

    def replace(self, x: Tensor, *, within_step: bool = False) -> None:
        """Another state, [b, ...]; elements that are the same keep their bits, also on their way into the network.

        ValueError after a stage whose step goes on from the second state, which would undo the change, unless that is
        what ``within_step`` allows.
        """
        if not isinstance(x, Tensor):
            raise TypeError(f"replace: {type(x).__name__}; pass a tensor {tuple(self.x.shape)}")
        if x.shape != self.x.shape:
            raise ValueError(f"replace: shape {tuple(x.shape)}; the state has {tuple(self.x.shape)}")
        if x.is_complex():
            raise TypeError(f"replace: dtype {x.dtype}; pass a real tensor, for example .real")
        if self.in_place and wants_gradients(x):
            raise ValueError(f"replace: {_GRADIENTS}")
        if not (self.between_steps or within_step):
            raise ValueError(
                f"replace: after row {self.row - 1}, a stage whose step goes on from aux; replace the state only where "
                "between_steps is true"
            )
        self._refuse_touched()
        new = x.to(self.x).contiguous()  # a view of the state itself is read before anything is written
        self._as_left = None
        if self.x_in is not None and self.row < len(self.program.plan.rows):
            scaled = new.to(self.program.compute_dtype) * self.program.plan.input_scales[self.row]
            x_in = scaled.to(self.x_in)
            if not wants_gradients(new):
                # what was kept stays as the row left it, scaled before the state was rounded
                x_in = torch.where(new == self.x, self.x_in, x_in)
            self.x_in = self.x_in.copy_(x_in) if self.in_place else x_in
        self.x = _put(new, self.x if self.in_place else None)
        if self.nonfinite is not None:
            self.nonfinite[self.row] |= ~new.isfinite().flatten(1).all(1)
        self._as_left = (self.x, times_written(self.x))

    @property
    def between_steps(self) -> bool:
        """Whether the next row starts a step of the solver, or none is left: only then the state may be replaced."""
        return self.row == len(self.program.plan.rows) or not self.program.layout[self.row].reads_aux

    @property
    def nbytes(self) -> int:
        """Of the memory that its rows write."""
        own = (self.x, self.x_in, self.aux, self.nonfinite, *self._slots)
        further = self._rows.nbytes if isinstance(self._rows, RowsWithOperators) else 0
        return sum(tensor.nbytes for tensor in own if tensor is not None) + self._first.nbytes + further

    def value(self, entry: HistoryEntry) -> Tensor:
        """A converted output that some row to come still reads, [b, ...] in the compute dtype."""
        reads = (entry in row.reads for row in self.program.plan.rows[self.row :])
        slot = self.program.layout[entry.row].store[entry.h] if entry.row < self.row and any(reads) else None
        if slot is None:
            raise ValueError(f"value: {entry} was not made yet, or no row from {self.row} on reads it")
        return self._slot(slot)

    def __copy__(self) -> PlanState:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> PlanState:
        twin: PlanState = object.__new__(type(self))
        vars(twin).update(vars(self))
        twin._rows, twin._first = None, self._first.anew()
        with torch.inference_mode(False):  # as in _allocate
            for name in ("x", "x_in", "aux", "nonfinite"):
                value = getattr(self, name)
                setattr(twin, name, None if value is None else value.clone())
            if self.noise is not None:  # restart writes into it
                seed, sample_ids = (tensor.clone() for tensor in self.noise[:2])
                twin.noise = Noise(seed, sample_ids, self.noise.stream)
            twin._slots = [None if slot is None else slot.clone() for slot in self._slots]
        twin._as_left = None if self._as_left is None else (twin.x, times_written(twin.x))
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_rows": None}  # addresses, made again where it is read

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._as_left = None if self._as_left is None else (self.x, times_written(self.x))

    # --- memory

    def _allocate(self, x: Tensor) -> None:
        program, batch = self.program, len(x)
        with torch.inference_mode(False):  # an inference tensor does not notice that a network wrote into it
            self.x = torch.empty(x.shape, dtype=program.dtype, device=program.device)
            self.x_in = torch.empty_like(self.x, dtype=program.model_dtype) if program.feeds else None
            if any(row.writes_aux for row in program.layout):
                self.aux = torch.empty_like(self.x)
            self._slots = [torch.empty_like(self.x, dtype=program.compute_dtype) for _ in self._slots]
            self.nonfinite = torch.empty((1 + len(program.layout), batch), dtype=torch.int32, device=program.device)

    def _begin(self, x: Tensor) -> None:
        """The state, and the network's input, at the first row."""
        if self.nonfinite is None:  # out of place
            began = self._first.make(x, self.noise)
            self.x, self.x_in = began.out, began.x_in
            return
        self.nonfinite.zero_()
        self._first.fill(x, self.noise, self.x, self.x_in, self.nonfinite[0])

    def _keep(self, entry: HistoryEntry, value: Tensor) -> None:
        slot = self.program.layout[entry.row].store[entry.h]
        if slot is not None:  # read by some row
            self._slots[slot] = _put(value, self._slots[slot] if self.in_place else None)

    def _slot(self, slot: int) -> Tensor:
        value = self._slots[slot]
        if value is None:
            raise RuntimeError(f"row {self.row}: slot {slot} is empty")
        return value

    # --- a row

    def _refuse_touched(self) -> None:
        """ValueError unless x is as the last row, or replace, left it."""
        left = self._as_left
        if left is None:
            raise ValueError(
                f"PlanState: row {self.row} was interrupted and may be half done; restart the state, or make a new one"
            )
        if left[0] is not self.x or left[1] != times_written(self.x):
            raise ValueError(
                f"x: written to or assigned before row {self.row}; change the state by replace(x), and let the network "
                "work on a copy of what it is given"
            )

    def _checked_draws(self, layout: RowLayout, draws: Sequence[Tensor]) -> Sequence[Tensor]:
        """The external draws of this row, dense."""
        if isinstance(draws, Tensor):
            raise TypeError(f"draws: a tensor {tuple(draws.shape)} in row {self.row}; pass a list of tensors")
        if self.noise is not None:
            if draws:
                raise ValueError(f"draws: {len(draws)} given in row {self.row}, but the state draws from its own noise")
            return ()
        if len(draws) != len(layout.draws):
            raise ValueError(f"draws: {len(draws)} given in row {self.row}, which draws {len(layout.draws)}")
        for draw in draws:
            check_like(f"draws: in row {self.row}", draw, self.x)
        return [draw.contiguous() for draw in draws]

    def _prepare(self) -> PreparedRows:
        program, plan = self.program, self.program.plan
        slots = [slot for slot in self._slots if slot is not None]
        flags = None if self.nonfinite is None else self.nonfinite[1:]
        table = table_of_gains(program, len(self.x)) if plan.reductions else program.table
        rows = StepRows(plan.packed_layout, table, self.x, self.aux, self.x_in, slots, self.noise, flags)
        prepared = prepare_rows(rows, backend=program.backend)
        if plan.is_table or flags is None:
            return prepared
        return RowsWithOperators(prepared, Readable(program, self.x, self.aux, slots, self.noise), table, flags)

    def _step(self, layout: RowLayout, outputs: tuple[Tensor, ...], draws: Sequence[Tensor]) -> None:
        """The row out of place."""
        program, row = self.program, self.program.plan.rows[self.row]
        coefficients = program.coefficients[self.row]
        if not program.plan.is_table:
            readable = Readable(program, self.x, self.aux, self._slots, self.noise)
            if isinstance(row, Apply):
                if (slot := layout.store[0]) is not None:
                    out = torch.empty_like(self.x, dtype=program.compute_dtype, requires_grad=False)
                    self._slots[slot] = applied(readable, self.row, row, draws, out)
                return
            coefficients = gained_row(readable, self.row, coefficients, outputs, draws)
        made = fused_step(
            self.x, outputs, [self._slot(s) for s in layout.history],
            row=coefficients, converted=layout.converted,
            aux=self.aux if layout.reads_aux else None,
            draws=layout.draws if self.noise is not None else draws, noise=self.noise if layout.draws else None,
            aux_out=layout.writes_aux, store=[s is not None for s in layout.store],
            x_in=self.program.model_dtype if self.x_in is not None else None, backend=self.program.backend,
        )  # fmt: skip
        self.x, self.x_in = made.out, made.x_in
        if layout.writes_aux:
            self.aux = made.aux
        for slot, y in zip(layout.store, made.stored, strict=True):
            if slot is not None:
                self._slots[slot] = y


def _put(value: Tensor, own: Tensor | None) -> Tensor:
    """A copy of ``value``, in the memory of ``own`` where there is one."""
    return value.clone(memory_format=torch.contiguous_format) if own is None else own.copy_(value)
