"""Helpers for tests of the ops: bit comparison, guarded memory, calls in a few words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._dispatch import resolve
from .ops.fused_step import StepResult, fused_step
from .ops.jvp_distill_loss.contract import JvpDistillLossCall, allocate
from .ops.jvp_distill_loss.weighting import weights_of
from .ops.noise import Noise

__all__ = [
    "BY_DTYPE",
    "PHILOX_ANSWERS",
    "PINNED_NORMALS",
    "LossCase",
    "SentinelView",
    "StepCase",
    "assert_loss_agrees",
    "assert_same_bits",
    "assert_step_agrees",
    "poisoned_empty",
    "run_loss",
    "run_step",
    "same_bits",
]

BY_DTYPE = {  # for pytest.mark.parametrize
    "argvalues": [torch.float32, torch.float64, torch.float16, torch.bfloat16],
    "ids": ["f32", "f64", "f16", "bf16"],
}

# counter, key, words: Philox4x32-10 in Random123's kat_vectors
PHILOX_ANSWERS = {
    "zeros": ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    "ones": ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    "pi": (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
}
PINNED_NORMALS = "89688060584ec3ea93fb714bd95bd786"  # md5 of 2^20: seed 5, draw 3, sample 7, stream 11

_INTEGER_OF_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_SENTINEL = 0xA5
_GUARD = 64  # elements on both sides


def same_bits(a: Tensor, b: Tensor) -> Tensor:
    """Elementwise: the same bits, or both NaN (payloads are not portable)."""
    a, b = a.detach().cpu(), b.detach().cpu()
    if a.dtype != b.dtype or a.shape != b.shape:
        raise AssertionError(f"{a.dtype} {tuple(a.shape)} is not {b.dtype} {tuple(b.shape)}")
    integer = _INTEGER_OF_SIZE[a.element_size()]
    return (a.view(integer) == b.view(integer)) | (torch.isnan(a) & torch.isnan(b))


def assert_same_bits(actual: Tensor, expected: Tensor, name: str = "result") -> None:
    """Raise AssertionError with the first difference."""
    same = same_bits(actual, expected)
    if bool(same.all()):
        return
    where = tuple((~same).nonzero()[0].tolist())
    count = int((~same).sum())
    raise AssertionError(
        f"{name}: {count} of {same.numel()} elements differ, the first at {where}: "
        f"{actual[where].item()!r} is not {expected[where].item()!r}"
    )


def poisoned_empty(*shape: int, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Tensor:
    """Like torch.empty, but NaN: an element that nobody writes is seen."""
    return torch.full(shape, float("nan"), dtype=dtype, device=device)


class SentinelView:
    """``tensor``, poisoned, inside a buffer of sentinel bytes that ``intact()`` looks at.

    start: elements between the guard and the tensor, 1 makes it unaligned. gap: elements between
    samples.
    """

    def __init__(
        self,
        *shape: int,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        start: int = 1,
        gap: int = 0,
    ) -> None:
        empty = torch.empty(shape, dtype=dtype, device="meta")
        stride = empty[0].numel() + gap
        count = start + 2 * _GUARD + shape[0] * stride
        self._place = (shape, (stride, *empty.stride()[1:]), start + _GUARD)
        bytes_ = torch.full((count * empty.element_size(),), _SENTINEL, dtype=torch.uint8)
        self._buffer = bytes_.to(device).view(dtype)
        self.tensor = self._buffer.as_strided(*self._place)
        self.tensor.fill_(float("nan"))

    def intact(self) -> bool:
        integer = _INTEGER_OF_SIZE[self._buffer.element_size()]
        expected = torch.full_like(self._buffer.view(torch.uint8), _SENTINEL).view(integer)
        expected.as_strided(*self._place).copy_(self.tensor.view(integer))
        return torch.equal(expected, self._buffer.view(integer))


@dataclass(frozen=True)
class StepCase:
    """A call of fused_step in a few words: the same tensors each time; ``run_step`` runs it.

    draws: an int is a draw number, a dtype an external draw. start, gap: see SentinelView.
    coefficients: values of named columns (see ``columns``) instead of random ones.
    """

    state: torch.dtype = torch.float32
    outputs: tuple[torch.dtype, ...] = (torch.float32,)
    converted: int = 1
    history: int = 0
    draws: tuple[int | torch.dtype, ...] = ()
    aux: bool = False
    aux_out: bool = False
    store: tuple[bool, ...] | None = None
    x_in: torch.dtype | None = None
    batch: int = 3
    length: int = 127
    start: int = 0
    gap: int = 0
    per_sample: bool = False
    clamped: bool = False
    in_place: bool = False
    coefficients: tuple[tuple[str, float], ...] = ()
    seed: int = 5
    sample_ids: tuple[int, ...] = (7, 8, 2**32 - 1)
    stream: int = 1

    @property
    def compute(self) -> torch.dtype:
        return torch.float64 if self.state == torch.float64 else torch.float32

    def columns(self) -> list[str]:
        """The row's columns: p1, Q1.1, b1, r1, ..., W0.x, W0.aux, W0.y1, W0.h1, C0.d1, ..., e."""
        names: list[str] = []
        for h in range(1, self.converted + 1):
            mixed = [f"Q{h}.{o}" for o in range(1, len(self.outputs) + 1)]
            names += [f"p{h}", *mixed, f"b{h}", f"r{h}"]
        terms = ["W.x", "W.aux"][: 1 + self.aux]
        terms += [f"W.y{h}" for h in range(1, self.converted + 1)]
        terms += [f"W.h{k}" for k in range(1, self.history + 1)]
        terms += [f"C.d{d}" for d in range(1, len(self.draws) + 1)]
        for state in range(1 + self.aux_out):
            names += [term.replace(".", f"{state}.") for term in terms]
        return [*names, "e"]

    def row(self, generator: torch.Generator) -> Tensor:
        """Random coefficients, no clamping unless asked for, then the named ones."""
        names, given = self.columns(), dict(self.coefficients)
        table = _randn(generator, self.batch, len(names))
        for k, name in enumerate(names):
            if name[0] in "br":
                inactive = float("inf") if name[0] == "b" else 1.0
                table[:, k] = table[:, k].abs() if self.clamped else inactive
            if name in given:
                table[:, k] = given[name]
        return (table if self.per_sample else table[0].clone()).to(self.compute)

    def inputs(self, device: str = "cpu") -> dict[str, Any]:
        """What fused_step reads, as its keyword arguments."""
        generator = torch.Generator().manual_seed(20)
        row = self.row(generator)

        def tensor(dtype: torch.dtype) -> Tensor:
            view = SentinelView(self.batch, self.length, dtype=dtype, start=self.start, gap=self.gap, device=device)
            return view.tensor.copy_(_randn(generator, self.batch, self.length))

        ids = torch.tensor(self.sample_ids[: self.batch])
        return {
            "x": tensor(self.state),
            "outputs": [tensor(dtype) for dtype in self.outputs],
            "history": [tensor(self.compute) for _ in range(self.history)],
            "row": row.to(device),
            "converted": self.converted,
            "aux": tensor(self.state) if self.aux else None,
            "draws": [d if isinstance(d, int) else tensor(d) for d in self.draws],
            "noise": Noise(_int64(self.seed).to(device), ids.to(device), self.stream),
        }

    def targets(self, device: str = "cpu") -> dict[str, SentinelView]:
        """What fused_step writes; empty views where it writes in place."""

        def view(dtype: torch.dtype) -> SentinelView:
            return SentinelView(self.batch, self.length, dtype=dtype, start=self.start, gap=self.gap, device=device)

        views = {} if self.in_place else {"out": view(self.state)}
        if self.aux_out and not self.in_place:
            views["aux_out"] = view(self.state)
        for h, wanted in enumerate(self.store or ()):
            if wanted:
                views[f"store[{h}]"] = view(self.compute)
        if self.x_in is not None:
            views["x_in"] = view(self.x_in)
        return views


def run_step(case: StepCase, backend: str, device: str = "cpu", **changed: Any) -> dict[str, Tensor]:
    """Run a case, some inputs replaced by ``changed``; return what was written, on the CPU."""
    inputs = case.inputs(device) | {name: _on(device, value) for name, value in changed.items()}
    views = case.targets(device)
    given: dict[str, Any] = {name: view.tensor for name, view in views.items()}
    if case.in_place:
        given["out"] = inputs["x"]
        given["aux_out"] = inputs["aux"] if case.aux_out else None
    flags = torch.zeros(case.batch, dtype=torch.int32, device=device)
    result = fused_step(
        **inputs,
        out=given["out"],
        aux_out=given.get("aux_out"),
        store=[given.get(f"store[{h}]") for h in range(case.converted)],
        x_in=given.get("x_in"),
        nonfinite=flags,
        backend=backend,
    )
    for name, view in views.items():
        if not view.intact():
            raise AssertionError(f"{name}: written outside its memory")
    return _written(result) | {"nonfinite": flags.cpu()}


def assert_step_agrees(case: StepCase, backend: str, device: str = "cpu", **changed: Any) -> dict[str, Tensor]:
    """What the backend writes has the bits of what the reference writes; return it."""
    expected = run_step(case, "reference", **changed)
    actual = run_step(case, backend, device, **changed)
    if actual.keys() != expected.keys():
        raise AssertionError(f"{backend} wrote {list(actual)}, the reference {list(expected)}")
    for name, tensor in actual.items():
        assert_same_bits(tensor, expected[name], name)
    return actual


@dataclass(frozen=True)
class LossCase:
    """A call of jvp_distill_loss: the same tensors each time; ``run_loss`` runs it.

    shape: of the target. start, gap: see SentinelView. scale: multiplies maps and target.
    """

    maps: torch.dtype = torch.float32
    target: torch.dtype = torch.float32
    shape: tuple[int, ...] = (3, 1, 127)
    start: int = 0
    gap: int = 0
    weighting: str = "min_snr"
    differentiate: bool = True
    scale: float = 1.0

    def inputs(self, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
        """maps, target, gamma."""
        generator = torch.Generator().manual_seed(20)
        batch, channels, *rest = self.shape

        def tensor(dtype: torch.dtype, *shape: int) -> Tensor:
            view = SentinelView(*shape, dtype=dtype, start=self.start, gap=self.gap, device=device)
            return view.tensor.copy_(_randn(generator, *shape) * self.scale)

        maps, target = tensor(self.maps, batch, 3 * channels, *rest), tensor(self.target, *self.shape)
        return maps, target, _randn(generator, batch).exp().to(device)

    def call(self, device: str = "cpu", **changed: Tensor) -> tuple[JvpDistillLossCall, list[SentinelView]]:
        """What a backend receives, inputs replaced by ``changed``, and the guarded memory it may write to."""
        given = dict(zip(("maps", "target", "gamma"), self.inputs(device), strict=True))
        given |= {name: _on(device, value) for name, value in changed.items()}
        maps, target, gamma = given.values()
        weights = weights_of(gamma, self.weighting)
        call = allocate(maps, target, gamma, weights, mean=True, differentiate=self.differentiate)
        sizes = (len(maps), 1, call.scratch.numel())
        views = [SentinelView(size, dtype=call.losses.dtype, device=device) for size in sizes]
        call.losses, call.total, call.scratch = views[0].tensor, views[1].tensor[0], views[2].tensor
        if self.differentiate:
            views.append(SentinelView(*maps.shape, dtype=maps.dtype, device=device, start=self.start, gap=self.gap))
            call.gradient = views[-1].tensor
        return call, views


def run_loss(case: LossCase, backend: str, device: str = "cpu", **changed: Tensor) -> dict[str, Tensor]:
    """Run a case, some inputs replaced by ``changed``; return what was written, on the CPU."""
    call, views = case.call(device, **changed)
    _, run = resolve("jvp_distill_loss", call.maps.device, backend)
    run(call)
    if not all(view.intact() for view in views):
        raise AssertionError("jvp_distill_loss: written outside its memory")
    named = {"losses": call.losses, "total": call.total.reshape(1), "gradient": call.gradient}
    return {name: tensor.cpu() for name, tensor in named.items() if tensor is not None}


def assert_loss_agrees(case: LossCase, backend: str, device: str = "cpu", **changed: Tensor) -> dict[str, Tensor]:
    """What the backend writes has the bits of what the reference writes; return it."""
    expected = run_loss(case, "reference", "cpu", **changed)
    actual = run_loss(case, backend, device, **changed)
    for name, tensor in actual.items():
        assert_same_bits(tensor, expected[name], name)
    return actual


def _on(device: str, value: Any) -> Any:
    """A copy on the device, since the call may write to it."""
    if isinstance(value, Tensor):
        return value.to(device, copy=True)
    return [_on(device, v) for v in value] if isinstance(value, list) else value


def _int64(bits: int) -> Tensor:
    """The int64 tensor [1] with the bits of an unsigned 64-bit number."""
    return torch.tensor([bits - 2**64 if bits >= 2**63 else bits])


def _written(result: StepResult) -> dict[str, Tensor]:
    named = {"out": result.out, "aux": result.aux, "x_in": result.x_in}
    named |= {f"stored[{h}]": stored for h, stored in enumerate(result.stored)}
    return {name: tensor.cpu() for name, tensor in named.items() if tensor is not None}


def _randn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
