"""What a network returned, read as the plan's outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from .remark import remark

__all__ = [
    "DERIVATIVE_SOURCES",
    "FLOATS",
    "OutputReader",
    "output_tensors",
    "reads_derivative",
    "single_tensor",
]

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
DERIVATIVE_SOURCES = (
    "a plan of a genie solver reads the derivative of epsilon: give the network a distilled head (genie-samplers "
    "distill, genie.with_head), take derivative='exact' and genie.exact(model), or a solver that needs none "
    "(deis_tab, deis_log_ab, ipndm)"
)
_DERIVATIVES = {"gamma_d_epsilon", "gamma2_d2_epsilon", "k1", "k2", "k3", "c1", "c2", "c3"}
_READ = "return a tensor or a tuple of tensors (genie_samplers.models.wrap(network, ..., call=...) adapts any network)"


def reads_derivative(names: Collection[str]) -> bool:
    """Whether a derivative of epsilon is among these outputs."""
    return not _DERIVATIVES.isdisjoint(names)


def output_tensors(returned: Any) -> Sequence[Any]:
    """What a model returned as a sequence: a tuple or list as it is, anything else as its one tensor."""
    if isinstance(returned, Tensor):
        return (returned,)
    return returned if isinstance(returned, tuple | list) else (single_tensor(returned),)


def single_tensor(output: object) -> Tensor:
    """The one prediction in what a network returned.

    A tensor, the first of a tuple or list, ``.sample``, or the only tensor of a mapping or dataclass. TypeError that
    says what came instead.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(sample := getattr(output, "sample", None), Tensor):
        return sample
    if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
        return output[0]
    named = _named_values(output)
    found = [value for value in named.values() if isinstance(value, Tensor)]
    if isinstance(named.get("sample"), Tensor):
        return named["sample"]  # type: ignore[return-value]
    if len(found) == 1:
        return found[0]
    what = f"a {type(output).__name__} with {sorted(map(str, named))}" if named else f"a {type(output).__name__}"
    raise TypeError(
        f"network: returned {what} in place of one prediction; pick it with models.wrap(network, ..., call=lambda "
        "network, x, t, **cond: network(x, t, **cond)[...])"
    )


def _named_values(output: object) -> Mapping[object, object]:
    if isinstance(output, Mapping):
        return output
    if is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    return {}


class OutputReader:
    """Reads what the network returns in the rows of one run: dense tensors like the state.

    A tensor in another memory format is copied, reported once per output; one in the memory of the state or of the
    network's input, which the row overwrites, is copied, too, as is one that is misaligned or has the negative bit.
    """

    def __init__(self) -> None:
        self.reported: set[str] = set()

    def read(
        self, outputs: object, names: Sequence[str], row: int, x: Tensor, x_in: Tensor | None
    ) -> tuple[Tensor, ...]:
        """The tensors ``names``, in order; TypeError or ValueError naming row, output and what was expected."""
        if isinstance(outputs, Tensor) and len(names) == 1:
            return (self._checked(outputs, names[0], row, x, x_in),)
        given = self._sequence(outputs, row)
        if len(given) != len(names):
            fix = f"; {DERIVATIVE_SOURCES}" if reads_derivative(names[len(given) :]) else ""
            if len(given) == 2 * len(names):
                fix = "; a guided pair (guidance.classifier_free) is for a guided plan, plan.guided(scale)"
            raise ValueError(
                f"model: returned {len(given)} outputs in row {row}; the plan reads {len(names)}: {tuple(names)}{fix}"
            )
        return tuple([self._checked(o, name, row, x, x_in) for o, name in zip(given, names, strict=True)])

    def _sequence(self, outputs: object, row: int) -> Sequence[object]:
        try:
            return output_tensors(outputs)
        except TypeError:
            raise TypeError(f"model: returned {type(outputs).__name__} in row {row}; {_READ}") from None

    def _checked(self, output: object, name: str, row: int, x: Tensor, x_in: Tensor | None) -> Tensor:
        if not isinstance(output, Tensor):
            raise TypeError(f"model: output {name!r} in row {row} is {type(output).__name__}; return a tensor")
        try:
            return self._dense(output, name, row, x, x_in)
        except RuntimeError as error:  # of a nested or sparse tensor, or one inside vmap
            reason = str(error).partition("\n")[0]
            raise TypeError(
                f"model: output {name!r} in row {row} is no array in memory ({reason}); return a dense tensor"
            ) from error

    def _dense(self, output: Tensor, name: str, row: int, x: Tensor, x_in: Tensor | None) -> Tensor:
        if output.shape != x.shape:
            _refuse_shape(output, name, row, x)
        if output.dtype not in FLOATS:
            raise TypeError(f"model: output {name!r} in row {row} has dtype {output.dtype}; return a float tensor")
        if output.device != x.device:
            raise ValueError(f"model: output {name!r} in row {row} is on {output.device}; the state is on {x.device}")
        if not output.is_contiguous() and not _dense_samples(output):
            self._report_copy(output, name)
            return output.contiguous()
        address = output.data_ptr()
        if (
            address % output.element_size()
            or output.is_neg()
            or _lies_in(address, x)
            or (x_in is not None and _lies_in(address, x_in))
        ):
            return output.clone()
        return output

    def _report_copy(self, output: Tensor, name: str) -> None:
        if name in self.reported:
            return
        self.reported.add(name)
        remark(
            f"model: output {name!r} is not row-major within a sample (strides {output.stride()}); it is copied in "
            "every row, a network in contiguous memory format saves that"
        )


def _dense_samples(output: Tensor) -> bool:
    return output.stride(0) >= output[0].numel() and output[0].is_contiguous()


def _lies_in(address: int, own: Tensor) -> bool:
    begin = own.data_ptr()
    return begin <= address < begin + own.nbytes


def _refuse_shape(output: Tensor, name: str, row: int, x: Tensor) -> None:
    fix = ""
    if output.ndim > 1 and x.ndim > 1 and output.shape[1] == 2 * x.shape[1]:
        fix = (
            "; it has twice the channels, the second half being a learned variance: drop that with models.wrap("
            "network, ..., call=lambda network, x, t, **cond: network(x, t, **cond).chunk(2, dim=1)[0])"
        )
    raise ValueError(
        f"model: output {name!r} in row {row} has shape {tuple(output.shape)}; the state has {tuple(x.shape)}{fix}"
    )
