"""Arguments of ``sample``, checked and brought to the device before the loop."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genie_ext import Noise, wants_gradients

from .._arguments import integer
from ..models.batches import map_batches, map_tensors, pick
from ..models.contract import Model
from ..models.outputs import FLOATS
from ..plan import Plan
from .loop import checked_labels, uploaded_labels
from .noise import STREAM_PLAN, checked_ids, signed_seed

__all__ = ["Chunk", "Inputs", "gather_inputs", "signed_seed"]


@dataclass(frozen=True)
class Chunk:
    """The samples of one pass through the plan, the last ones repeated up to the batch size."""

    index: Tensor | None  # int64 [b], positions in the run; None: all samples
    sample_ids: tuple[int, ...]
    x: Tensor | None  # [b, ...] what the run starts from, where that is given
    cond: Mapping[str, object]


@dataclass(frozen=True)
class Inputs:
    shape: tuple[int, ...]  # [B, ...] of all samples
    batch_size: int
    device: torch.device
    dtype: torch.dtype
    model_dtype: torch.dtype
    all_ids: tuple[int, ...]
    given_seed: int
    row_labels: NDArray[np.float32]  # [rows] or [rows, m]
    cond: Mapping[str, object]  # one entry per sample
    shared: Mapping[str, object]
    x: Tensor | None  # [B, ...] the state or image given

    @property
    def count(self) -> int:
        return self.shape[0]

    @cached_property
    def ids(self) -> Tensor:
        """int64 [B], on the device."""
        return torch.from_numpy(np.array(self.all_ids, np.int64)).to(self.device)

    @cached_property
    def seed(self) -> Tensor:
        """int64 [1], on the device."""
        return torch.from_numpy(np.array([signed_seed(self.given_seed)], np.int64)).to(self.device)

    @cached_property
    def labels(self) -> Sequence[Tensor]:
        """Of each row, float32 [batch_size] or [batch_size, m]."""
        return uploaded_labels(self.row_labels, self.batch_size, self.device)

    def noise(self, chosen: Chunk) -> Noise:
        """Of these samples, in memory of its own."""
        ids = self.ids.clone() if chosen.index is None else self.ids.index_select(0, chosen.index)
        return Noise(self.seed.clone(), ids, STREAM_PLAN)

    def select(self, start: int) -> Chunk:
        """The samples ``start``, ``start + 1``, ..., and what all share."""
        if self.batch_size == self.count:
            return Chunk(None, self.all_ids, self.x, {**self.cond, **self.shared})
        whole = start + self.batch_size <= self.count
        positions = [min(i, self.count - 1) for i in range(start, start + self.batch_size)]
        index = torch.arange(start, start + self.batch_size, device=self.device).clamp(max=self.count - 1)

        def take(value: Any) -> Any:
            """A view, or a copy where the last sample is repeated."""
            if whole:
                return value[start : start + self.batch_size]
            # an index that was made on the device needs no upload
            return value.index_select(0, index) if isinstance(value, Tensor) else pick(value, positions)

        cond = {name: map_batches(value, take) for name, value in self.cond.items()}
        x = None if self.x is None else take(self.x)
        return Chunk(index, tuple(self.all_ids[i] for i in positions), x, {**cond, **self.shared})


def gather_inputs(
    model: Model,
    plan: Plan,
    *,
    shape: Sequence[int] | None,
    seed: int,
    cond: Mapping[str, object] | None,
    shared: Mapping[str, object] | None,
    x: Tensor | None,
    name: str,
    sample_ids: Sequence[int] | None,
    batch_size: int | None,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> Inputs:
    """Check the arguments of :func:`genie_samplers.sample` and upload what the loop reads.

    x: what the run starts from, an argument called ``name``, or None to start in noise.
    """
    _refuse_gradients(name, x)
    state = _resolve_dtype(dtype, x)
    full_shape = _resolve_shape(plan, shape, x, name)
    count = full_shape[0]
    where = _resolve_device(model, x, device)
    ids = checked_ids(sample_ids, count)
    signed_seed(seed)
    size = _resolve_batch_size(batch_size, count)
    _check_guidance(plan, count)
    return Inputs(
        shape=full_shape,
        batch_size=size,
        device=where,
        dtype=state,
        model_dtype=model.dtype or state,
        all_ids=ids,
        given_seed=seed,
        row_labels=checked_labels(model, plan),
        cond=_resolve_cond(cond, count, where),
        shared=_resolve_shared(shared, cond, where),
        x=None if x is None else x.to(where, state),
    )


def _refuse_gradients(name: str, x: Tensor | None) -> None:
    """The loop writes its states into buffers, where gradients and tangents would end without a word."""
    if isinstance(x, Tensor) and (wants_gradients(x) or (x.requires_grad and torch.is_grad_enabled())):
        raise ValueError(
            f"{name}: requires grad, carries a tangent or is inside a torch.func transform, but sampling does not "
            "differentiate; pass .detach(), call it under torch.no_grad(), or drive a PlanState(..., in_place=False)"
        )


def _resolve_shape(plan: Plan, shape: Sequence[int] | None, x: Tensor | None, name: str) -> tuple[int, ...]:
    if shape is not None and not isinstance(shape, Sequence):
        raise TypeError(f"shape={shape!r}; need (B, ...)")
    if x is None and plan.rising:
        raise ValueError("state: missing; this plan encodes (its times rise), so pass state= to start from")
    if x is not None:
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: {type(x).__name__}; need a float tensor [B, ...]")
        if shape is not None and tuple(shape) != tuple(x.shape):
            raise ValueError(f"shape={tuple(shape)}, but {name} has {tuple(x.shape)}; pass one of them")
        if x.dtype not in FLOATS:
            raise TypeError(f"{name}: dtype {x.dtype}; need a float tensor")
        shape = x.shape
    if shape is None:
        raise ValueError("shape: missing; pass shape=(B, ...), or state= to start from")
    sizes = tuple(integer(n, "shape") for n in shape)
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"shape={sizes}; need (B, ...) with B >= 1 and every size a positive integer")
    return sizes


def _resolve_dtype(dtype: torch.dtype | None, x: Tensor | None) -> torch.dtype:
    if dtype is None:  # as precise as the start
        double = isinstance(x, Tensor) and x.dtype == torch.float64
        return torch.float64 if double else torch.float32
    if dtype not in FLOATS:
        raise TypeError(f"dtype={dtype}; choose {', '.join(str(d) for d in FLOATS)}")
    return dtype


def _resolve_device(model: Model, x: Tensor | None, device: torch.device | str | None) -> torch.device:
    wanted = next((d for d in (device, model.device, None if x is None else x.device) if d is not None), "cpu")
    try:
        chosen = torch.device(wanted)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={wanted!r}: {str(error).splitlines()[0]}; use 'cpu', 'cuda' or 'cuda:0'") from error
    if chosen.type == "meta":
        raise ValueError(f"device={wanted!r}: meta tensors hold no values; use 'cpu' or 'cuda'")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={wanted!r}: torch sees no CUDA GPU; use device='cpu'")
    if chosen.type == "cuda" and chosen.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return chosen


def _resolve_cond(cond: Mapping[str, object] | None, count: int, device: torch.device) -> dict[str, object]:
    """Every batch checked to have one entry per sample, and tensors on the device."""
    resolved: dict[str, object] = {}
    for name, value in _named("cond", cond).items():

        def on_device(batch: Any, name: str = name) -> Any:
            if len(batch) != count:
                shown = tuple(batch.shape) if hasattr(batch, "shape") else reprlib.repr(batch)
                raise ValueError(
                    f"cond[{name!r}]: {shown} for {count} samples; give one entry per sample of the whole run, "
                    "[B, ...], or pass what all samples share in shared="
                )
            return batch.to(device) if isinstance(batch, Tensor) else batch

        try:
            resolved[name] = map_batches(value, on_device)
        except TypeError as error:
            raise TypeError(f"cond[{name!r}]: {error}; pass what all samples share in shared=") from None
    return resolved


def _resolve_shared(
    shared: Mapping[str, object] | None, cond: Mapping[str, object] | None, device: torch.device
) -> dict[str, object]:
    named = _named("shared", shared)
    if twice := sorted(named.keys() & (cond or {}).keys()):
        raise ValueError(f"shared: {twice} are in cond too; give each in one of them")
    return {name: map_tensors(value, lambda tensor: tensor.to(device)) for name, value in named.items()}


def _named(argument: str, values: Mapping[str, object] | None) -> Mapping[str, object]:
    if values is None:
        return {}
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise TypeError(f"{argument}: {type(values).__name__}; need a mapping from argument names to values")
    if taken := {"x", "t", "history"} & values.keys():
        raise ValueError(f"{argument}: {sorted(taken)} are the model's own arguments; use other names")
    return values


def _resolve_batch_size(batch_size: int | None, count: int) -> int:
    if batch_size is None:
        return count
    return integer(batch_size, "batch_size", least=1)


def _check_guidance(plan: Plan, count: int) -> None:
    if plan.guidance is not None and len(plan.guidance) not in (1, count):
        raise ValueError(f"plan: {len(plan.guidance)} guidance scales for {count} samples; give one, or one per sample")
