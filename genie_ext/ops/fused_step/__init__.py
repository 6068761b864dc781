"""fused_step: one row of a solver's table, from network outputs to the next state and the network's next input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..._autograd import check_differentiable, mark_written, wants_gradients
from ..._checks import check_integer, check_optional_tensor, check_sequence, check_strided, check_tensor
from ..._dispatch import requested, resolve
from ..noise import Noise, check_noise_types
from ..rounding import round_to
from . import reference
from .arguments import destination, draw_numbers_and_tensors, empty_state, network_input, tensors
from .contract import MAX_CONVERTED, FusedStepCall, check, check_count, check_counts, compute_dtype

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

    x: the state [B, ...], float32 or float64 (float16 and bfloat16 are accepted); each sample dense in row-major order,
        the stride between samples free. This holds for every tensor below.
    outputs: up to 8 network outputs, any float dtype.
    history: up to 16 earlier y, newest first, in the compute dtype (float64 if x is float64, else float32).
    row: the coefficients, [n] or per sample [B, n], compute dtype, same device as x.
    converted: how many y_h there are, 0 to 2.
    aux: a second state, like x, or None.
    draws: up to 2; an integer is a draw number (0..2^32-1), generated in the kernel from ``noise``, a tensor is used as
        it is.
    noise: where draw numbers are drawn from; None if there are none.
    out: where x' goes: a tensor (x itself is allowed), or None to allocate.
    aux_out: a tensor (aux itself is allowed), True to allocate, None for no second state.
    store: per converted output a tensor, True to allocate, or None.
    x_in: a tensor, a dtype to allocate, or None.
    nonfinite: int32 [B]; 1 is ORed in for each sample whose x' or aux' holds an inf or NaN.
    backend: 'reference', 'cpu', 'cuda', 'triton', or None for the best one available.

    Raises ValueError or TypeError naming the argument. Only the reference is differentiable: with backend=None it is
    chosen when a tensor requires grad or carries a tangent; the others refuse such tensors.
    """
    check_strided("x", check_tensor("x", x))
    converted = check_integer("converted", converted)
    check_count("converted", converted, MAX_CONVERTED)
    store = (None,) * converted if store is None else check_sequence("store", store)
    call = FusedStepCall(
        x=x,
        outputs=tensors("outputs", outputs),
        history=tensors("history", history),
        row=check_tensor("row", row),
        converted=converted,
        aux=check_optional_tensor("aux", aux),
        draws=draw_numbers_and_tensors(draws),
        noise=None if noise is None else check_noise_types(noise),
        out=empty_state(x, x.dtype) if out is None else check_tensor("out", out, "a torch.Tensor or None"),
        aux_out=destination("aux_out", aux_out, x, x.dtype),
        stored=tuple(destination(f"store[{h}]", s, x, compute_dtype(x)) for h, s in enumerate(store)),
        x_in=network_input(x_in, x),
        nonfinite=check_optional_tensor("nonfinite", nonfinite),
    )
    written = (out, aux_out, *store, x_in, nonfinite)
    if wants_gradients(x, aux, row, *call.outputs, *call.history, *call.draws, *written):
        check_differentiable("fused_step", requested(backend), written)
        check(call)
        return _differentiable_step(call)
    if torch.compiler.is_compiling():
        check_counts(call)
        _step_in_graph(call, backend)  # tensors are checked when the graph runs
    else:
        check(call)
        name, run = resolve("fused_step", x.device, backend)
        run(call)
        if name != "reference":
            mark_written(*written)
    return StepResult(call.out, call.aux_out, tuple(call.stored), call.x_in)


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
