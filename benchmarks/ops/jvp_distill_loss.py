"""jvp_distill_loss, forward and backward as a training loop calls it, against a copy of the same total bytes and the
same loss as a person writes it, eager and compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from genie_ext import jvp_distill_loss

from ..case import Benchmark, Case, Competitor, Settings, shape_text

__all__ = ["BENCHMARK"]

_THREADS = (1, 2)
_DTYPES = (torch.float32, torch.bfloat16)
_EPSILON = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}  # half a unit in the last place of 1

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def _cases(settings: Settings) -> Iterator[Case]:
    threads = _THREADS if settings.device == "cpu" else (None,)
    for dtype in _DTYPES:
        for shape in settings.shapes:
            for n in threads:
                yield _case(shape, dtype, n, settings)


def _case(shape: tuple[int, ...], dtype: torch.dtype, threads: int | None, settings: Settings) -> Case:
    batch, channels, *rest = shape
    maps = torch.randn(batch, 3 * channels, *rest, device=settings.device).to(dtype).requires_grad_()
    target = torch.randn(shape, device=settings.device).to(dtype)
    gamma = torch.logspace(-1, 1, batch, device=settings.device)
    losses: dict[str, Loss] = {"jvp_distill_loss": jvp_distill_loss, "eager": _formula}
    absent = {}
    if settings.compiled:
        try:
            losses["torch.compile"] = _compile(maps, target, gamma)
        except Exception as error:  # any reason that this machine cannot compile, reported as it is
            absent["torch.compile"] = f"{type(error).__name__}: {error}".strip()[:300]
    passes = {name: partial(_forward_and_backward, loss, maps, target, gamma) for name, loss in losses.items()}
    size = 2 * maps.nbytes + target.nbytes
    source, copied = torch.ones(2, size // 8, device=settings.device)
    competitors = [Competitor(name, run) for name, run in passes.items()]
    competitors.insert(1, Competitor("copy", partial(copied.copy_, source)))
    return Case(
        f"{shape_text(shape)} {str(dtype)[6:]}",
        competitors,
        partial(_disagreement, passes, maps, target, gamma),
        bytes=size,
        threads=threads,
        absent=absent,
    )


def _formula(maps: Tensor, target: Tensor, gamma: Tensor) -> Tensor:
    k1, k2, k3 = maps.float().chunk(3, 1)
    squared = (gamma * gamma).view(-1, *(1,) * (maps.ndim - 1))
    r = squared / (1 + squared) * k2 + k3 / (1 + squared) - k1 - target.float()
    return r.square().flatten(1).sum(1).mean()


def _compile(maps: Tensor, target: Tensor, gamma: Tensor) -> Loss:
    """Compiled for these shapes and called once; nothing of earlier cases counts as recompiling."""
    torch._dynamo.reset()
    compiled = torch.compile(_formula, dynamic=False, fullgraph=True)
    _forward_and_backward(compiled, maps, target, gamma)
    return compiled


@torch.enable_grad()
def _forward_and_backward(loss: Loss, maps: Tensor, target: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    value = loss(maps, target, gamma)
    (gradient,) = torch.autograd.grad(value, maps)
    return value, gradient


def _disagreement(
    passes: dict[str, partial[tuple[Tensor, Tensor]]], maps: Tensor, target: Tensor, gamma: Tensor
) -> str | None:
    """Compare every competitor with float64, to the roundings of float32 and of the gradient's dtype."""
    exact = maps.detach().double().requires_grad_()
    value, gradient = _forward_and_backward(_formula_64, exact, target.double(), gamma.double())
    terms = torch.stack([part.abs() for part in maps.detach().double().chunk(3, 1)]).sum(0) + target.double().abs()
    # r is off by at most 8 roundings of its terms, its multiple in the gradient by as many and the last one
    slack = torch.cat([16.0 * 2.0**-24 * 2.0 / len(maps) * terms] * 3, 1) + _EPSILON[maps.dtype] * gradient.abs()
    for name, run in passes.items():
        loss, slope = run()
        if abs(float(loss) / float(value) - 1.0) > 1e-4:
            return f"{name}: loss {float(loss):.9g} is not {float(value):.9g}"
        error = (slope.double() - gradient).abs()
        if not bool((error <= slack).all()):
            return f"{name}: gradient is off by up to {float(error.max()):.3g}"
    return None


def _formula_64(maps: Tensor, target: Tensor, gamma: Tensor) -> Tensor:
    k1, k2, k3 = maps.chunk(3, 1)
    squared = (gamma * gamma).view(-1, *(1,) * (maps.ndim - 1))
    r = (squared * k2 + k3) / (1 + squared) - k1 - target
    return r.square().sum() / len(maps)


BENCHMARK = Benchmark(
    "jvp_distill_loss",
    unit="call",
    summary="forward and backward, against a copy of the same total bytes, eager torch and torch.compile",
    cases=_cases,
)
