"""Gradient descent on the numbers of a plan, through the network, towards the fine solution."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .._arguments import integer
from ..models import Model
from ..plan import Plan
from ..run import NonFiniteError, PlanState, Program, ask, run_rows
from ..training import RunOptions, TrainingRun
from .learned import LearnedTable
from .targets import Targets

__all__ = ["Descent", "DescentOptions", "Distance", "mean_error", "measured"]

_TINY = 1e-16  # so that the root has a derivative at 0
_PROBED = 6  # batches by which the units are measured

Distance = Callable[[Tensor, Tensor], Tensor]
"""Samples and the fine ones, [b, ...] each, to one number, the mean over samples of what is made small."""


@dataclass(frozen=True)
class DescentOptions(RunOptions):
    """batch_size: latents of a step. check_every: steps between two looks at the held-out latents. patience: checks
    without a better one after which the run ends. chunk_size: latents whose graphs are in memory at once.
    recompute: whether the network's activations are computed again in place of being kept. question: what is
    calibrated, as one text: a checkpoint that answers another one is refused.
    """

    batch_size: int = 8
    check_every: int = 10
    patience: int = 6
    chunk_size: int = 8
    recompute: bool = False
    question: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batch_size", "check_every", "patience", "chunk_size"):
            integer(getattr(self, name), name, least=1)


class Descent(TrainingRun):
    """A run on the parameters of ``table``; see :class:`TrainingRun` for ``folder`` and resuming.

    The average of the parameters is what is checked on the ``held_out`` targets and, at its best, kept (:attr:`best`).
    checks: (step, distance of the calibration latents since the last check, that of the held-out ones).
    """

    options: DescentOptions
    may_change = frozenset({"save_every", "patience", "chunk_size", "recompute"})

    def __init__(
        self,
        folder: Path | None,
        model: Model,
        table: LearnedTable,
        targets: Targets,
        held_out: Targets,
        options: DescentOptions,
        *,
        distance: Distance | None = None,
        show: bool | None = None,
    ) -> None:
        self.model, self.table, self.targets, self.held_out = model, table, targets, held_out
        self.distance = distance or mean_error
        self.checks: list[tuple[int, float, float]] = []
        self.best = {name: value.detach().clone() for name, value in table.state_dict().items()}
        free = [p for p in table.parameters() if p.requires_grad]
        if not free:
            raise ValueError("free: nothing may change; name times, labels or weights")
        super().__init__(folder, options, table, torch.optim.Adam(free, lr=options.learning_rate))
        self.show = show
        if not self.checks:
            self._check(None)
            self._measure_units(self.checks[0][2])
            self.average |= {k: v.clone() for k, v in table.state_dict().items()}  # in these units

    # --- units

    def _measure_units(self, error: float) -> None:
        """A unit of every number is what moves the samples by the start's error, so that steps are of like size in all.

        The mean square response of an element to a number is that of the gradients of the samples' products with random
        signs (Hutchinson's estimate), here over six batches.
        """
        generator = torch.Generator().manual_seed(self.options.seed)
        named = {name: p for name, p in self.table.named_parameters() if p.requires_grad}
        squares = {name: torch.zeros_like(p) for name, p in named.items()}
        template, elements = self.table.template(), 0
        for batch in range(_PROBED):
            ids = self._batch(batch)
            shape = (len(ids), *self.targets.samples.shape[1:])
            signs = 2.0 * torch.randint(0, 2, shape, generator=generator).double() - 1.0
            gradients = [torch.zeros_like(p) for p in named.values()]  # of the batch, whatever its parts
            for first in range(0, len(ids), self.options.chunk_size):
                part = slice(first, first + self.options.chunk_size)
                x = self._samples(template, ids[part])
                found = torch.autograd.grad((x * signs[part].to(x.device)).sum(), list(named.values()))
                gradients = [a + b for a, b in zip(gradients, found, strict=True)]
            for square, gradient in zip(squares.values(), gradients, strict=True):
                square += gradient.square()
            elements += signs.numel()
        unit = float(self.table.get_buffer("weights_unit")[0, 0, 0])  # what all are counted in so far
        self.table.measure_in({name: error * unit / (s / elements).sqrt() for name, s in squares.items()})

    # --- a step

    def take_step(self) -> float:
        options, table = self.options, self.table
        template = table.template()
        ids = self._batch(self.step)
        total = 0.0
        for first in range(0, len(ids), options.chunk_size):
            loss = self._loss(template, ids[first : first + options.chunk_size]) / len(ids)
            loss.backward(inputs=[p for p in table.parameters() if p.requires_grad])  # no network's, nor of features
            total += float(loss.detach())
        self._refuse_nonfinite_gradients()
        self.descend(options.rate(self.step))
        if (self.step + 1) % options.check_every == 0 or self.step + 1 == options.steps:
            self._check(float(np.mean([*self.losses, total][self.checks[-1][0] :])))
        return total

    def _batch(self, step: int) -> list[int]:
        """Every latent once per round, in an order of its own each round."""
        size, count = self.options.batch_size, len(self.targets)
        places = range(step * size, (step + 1) * size)
        orders = {
            r: np.random.default_rng((self.options.seed, r)).permutation(count) for r in {p // count for p in places}
        }
        return [int(orders[p // count][p % count]) for p in places]

    def _loss(self, template: Plan, ids: Sequence[int]) -> Tensor:
        """The distance of these, times their number."""
        fine = self.targets.samples[torch.tensor(ids, device=self.targets.samples.device)]
        loss = measured(self.distance, self._samples(template, ids), fine.double())
        if not loss.requires_grad:
            raise ValueError("distance: its result has no gradient to the samples; compute it by operations of torch")
        return loss * len(ids)

    def _samples(self, template: Plan, ids: Sequence[int]) -> Tensor:
        """Those of the table, [b, ...] in float64, with gradients to its parameters."""
        targets = self.targets
        device = targets.latents.device
        guided = targets.guided(template, ids)
        model = targets.asked(self.model, guided)
        program = Program.of(guided, device=device, dtype=torch.float64, model_dtype=model.dtype or torch.float32)
        program = program.with_table(self.table.table(guided).to(device))
        labels = self.table.labels(model, template).to(device)
        labels = labels.unsqueeze(1).expand(len(labels), len(ids), *labels.shape[1:])
        cond = targets.cond_of(ids)
        latents = targets.latents[torch.tensor(ids, device=device)]
        asked = _Recomputed(model) if self.options.recompute else model
        state = PlanState(program, latents.double(), in_place=False)
        with torch.enable_grad():
            run_rows(state, lambda call, at: ask(asked, call, at, labels[call.row], cond))
        return state.x

    def _refuse_nonfinite_gradients(self) -> None:
        for name, parameter in self.table.named_parameters():
            if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
                raise ValueError(
                    f"gradient: not finite with respect to the {name} in step {self.step}; the network's derivative is "
                    "not finite there (a square root or norm at 0?), or calibrate with a smaller learning_rate"
                )

    # --- what is kept

    def _check(self, recent: float | None) -> None:
        """Of the averaged parameters, run as the ordinary plan that they make."""
        try:
            made = self.held_out.run(self.model, self.averaged().plan())
            with torch.no_grad():
                error = float(measured(self.distance, made.double(), self.held_out.samples.double()))
        except NonFiniteError:
            error = math.inf
        if not self.checks or error < min(held for _, _, held in self.checks):
            self.best = {name: value.clone() for name, value in self.average.items()}
        step = len(self.losses) + bool(self.checks)  # that of the last one is not in the list yet
        self.checks.append((step, error if recent is None else recent, error))

    def averaged(self, values: Mapping[str, Tensor] | None = None) -> LearnedTable:
        """The table with its averaged parameters, or with these."""
        table = LearnedTable(self.table.start, history=self.table.history, free=self.table.free)
        table.load_state_dict(dict(self.average if values is None else values))
        return table

    @property
    def finished(self) -> bool:
        """Whether no check of the last ``patience`` ones was the best."""
        held = [error for _, _, error in self.checks]
        return len(held) > self.options.patience and min(held[-self.options.patience :]) > min(held)

    def shown(self) -> dict[str, str]:
        _, recent, held = self.checks[-1]
        return {"train": f"{recent:.4f}", "held-out": f"{held:.4f}"}

    def further(self) -> dict[str, Tensor]:
        return {
            "checks": torch.tensor(self.checks, dtype=torch.float64),
            **{f"best.{k}": v for k, v in self.best.items()},
        }

    def take_further(self, tensors: Mapping[str, Tensor]) -> None:
        self.checks = [(int(step), recent, held) for step, recent, held in tensors["checks"].tolist()]
        self.best = {name.removeprefix("best."): v for name, v in tensors.items() if name.startswith("best.")}


def measured(distance: Distance, made: Tensor, fine: Tensor) -> Tensor:
    """The distance, one number; ValueError for anything else."""
    found = distance(made, fine)
    if not isinstance(found, Tensor) or found.ndim:
        what = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"distance: returned {what}; need a tensor of one number, such as the mean over samples")
    return found


def mean_error(made: Tensor, fine: Tensor) -> Tensor:
    """The mean over samples of their root mean square errors: of squares, few samples would decide."""
    return ((made - fine).square().flatten(1).mean(1) + _TINY).sqrt().mean()


class _Recomputed(Model):
    """A model whose activations are computed again on the way back."""

    def __init__(self, model: Model) -> None:
        self.model, self.network = model, model.network
        self.outputs, self.schedule, self.label = model.outputs, model.schedule, model.label
        self.reads_history = model.reads_history
        self.conditional = None if model.conditional is None else _Recomputed(model.conditional)

    def __call__(self, x: Tensor, t: Tensor, **cond: object) -> object:
        return checkpoint(lambda *given: self.model(*given, **cond), x, t, use_reentrant=False)

    @property
    def dtype(self) -> torch.dtype | None:
        return self.model.dtype

    def first(self, count: int) -> _Recomputed:
        return _Recomputed(self.model.first(count))
