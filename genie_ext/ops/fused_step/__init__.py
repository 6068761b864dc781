"""fused_step: one row of a solver's table, from network outputs to the next state and the network's next input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..._autograd import check_differentiable, mark_written, wants_gradients
from ..._dispatch import requested, resolve
from ..noise import Noise
from ..rounding import round_to
from . import reference
from .contract import FusedStepCall, check, compute_dtype

__all__ = ["StepResult", "fused_step"]


class StepResult(NamedTuple):
    """out, aux: the next states. stored: y_h where asked for. x_in: the next network input where asked for."""

    out: Tensor
    aux: Tensor | None
    stored: tuple[Tensor | None, ...]
    x_in: Tensor | None


def fused_step(
    x: Tensor,
    outputs: Sequence[Tensor] = (),
    history: Sequence[Tensor] = (),
    *,
    row: Tensor,
    converted: int,
    aux: Tensor | None = None,
    draws: Sequence[int | Tensor] = (),
    noise: Noise | None = None,
    out: Tensor | None = None,
    aux_out: Tensor | bool | None = None,
    store: Sequence[Tensor | bool | None] | None = None,
    x_in: Tensor | torch.dtype | None = None,
    nonfinite: Tensor | None = None,
    backend: str | None = None,
) -> StepResult:
    """Convert the network's outputs, combine them with state, history and noise, and feed the network.

        y_h  = r_h * clamp(p_h*x + sum_o Q[h,o]*o_o, -b_h, +b_h)                 h = 1..converted
        x'   = W_0 . [x, aux, y_1..y_H, history newest first] + C_0 . [d_1, d_2]
        aux' = W_1 . [x, aux, y_1..y_H, history newest first] + C_1 . [d_1, d_2]
        x_in = e * x'

    Every product and sum is rounded once, in this order; terms with coefficient zero are left out; the same bits on
    every backend. The columns of ``row`` are laid out in :mod:`genie_ext.ops.fused_step.contract`.

    x, aux: [B, ...], float32 or float64 (float16 and bfloat16 are accepted); each sample dense in row-major order, the
        stride between samples free. This holds for every tensor below.
    outputs: up to 8 network outputs, any float dtype. history: up to 16 earlier y, newest first, in the compute dtype
        (float64 if x is float64, else float32).
    row: the coefficients, [n] or per sample [B, n], compute dtype, same device as x.
    draws: up to 2; an integer is a draw number (0..2^32-1) generated in the kernel from ``noise``, a tensor is used as
    is. out: where x' goes: a tensor (x itself is allowed), or None to allocate. aux_out: a tensor (aux itself is
        allowed), True to allocate, None for no second state. store: per converted output a tensor, True to allocate, or
        None. x_in: a tensor, a dtype to allocate, or None.
    nonfinite: int32 [B]; 1 is ORed in for each sample whose x' or aux' holds an inf or NaN.
    backend: 'reference', 'cpu', 'cuda', 'triton', or None for the best one available.

    Raises ValueError or TypeError naming the argument. Only the reference is differentiable: with backend=None it is
    chosen when a tensor requires grad or carries a tangent; the others refuse such tensors.
    """
    c = compute_dtype(x)
    store = (None,) * converted if store is None else store
    call = FusedStepCall(
        x=x,
        outputs=tuple(outputs),
        history=tuple(history),
        row=row,
        converted=converted,
        aux=aux,
        draws=tuple(draws),
        noise=noise,
        out=torch.empty_like(x, memory_format=torch.contiguous_format) if out is None else out,
        aux_out=_destination(aux_out, x, x.dtype),
        stored=tuple(_destination(s, x, c) for s in store),
        x_in=_destination(x_in, x, x_in if isinstance(x_in, torch.dtype) else x.dtype),
        nonfinite=nonfinite,
    )
    written = (out, aux_out, *store, x_in, nonfinite)
    if wants_gradients(x, aux, row, *outputs, *history, *draws, *written):
        check_differentiable("fused_step", requested(backend), written)
        check(call)
        return _differentiable_step(call)
    if torch.compiler.is_compiling():
        _step_in_graph(call, backend)  # checked when the graph runs
    else:
        check(call)
        name, run = resolve("fused_step", x.device, backend)
        run(call)
        if name != "reference":
            mark_written(*written)
    return StepResult(call.out, call.aux_out, tuple(call.stored), call.x_in)


def _destination(wanted: Tensor | torch.dtype | bool | None, x: Tensor, dtype: torch.dtype) -> Tensor | None:
    """The tensor to write: the one given, a new one where asked for, or None."""
    if isinstance(wanted, Tensor):
        return wanted
    if wanted is None or wanted is False:
        return None
    return torch.empty_like(x, dtype=dtype, memory_format=torch.contiguous_format)


def _step_in_graph(call: FusedStepCall, backend: str | None) -> None:
    """The call as a node of a torch.compile graph; the op is registered in genie_ext/_schema.py."""
    stored = (*call.stored, None, None)
    torch.ops.genie_ext.fused_step(
        x=call.x,
        outputs=call.outputs,
        history=call.history,
        row=call.row,
        converted=call.converted,
        aux=call.aux,
        draw_numbers=[-1 if isinstance(d, Tensor) else d for d in call.draws],
        external_draws=[d for d in call.draws if isinstance(d, Tensor)],
        seed=None if call.noise is None else call.noise.seed,
        sample_ids=None if call.noise is None else call.noise.sample_ids,
        stream=0 if call.noise is None else call.noise.stream,
        out=call.out,
        aux_out=call.aux_out,
        stored_1=stored[0],
        stored_2=stored[1],
        x_in=call.x_in,
        nonfinite=call.nonfinite,
        backend=backend,
    )


def _differentiable_step(call: FusedStepCall) -> StepResult:
    x_next, aux_next, converted, x_in = reference.compute(call)
    return StepResult(
        round_to(x_next, call.x.dtype),
        None if aux_next is None else round_to(aux_next, call.x.dtype),
        tuple(y if wanted is not None else None for y, wanted in zip(converted, call.stored, strict=False)),
        None if call.x_in is None else round_to(x_in, call.x_in.dtype),
    )
