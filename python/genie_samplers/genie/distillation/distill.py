"""Distillation of a head: corrections or derivatives, learned from targets that the frozen network makes itself."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from genie_ext import jvp_distill_loss
from genie_ext.ops.jvp_distill_loss import WEIGHTINGS

from ..._arguments import choice, integer
from ...grids import GRIDS
from ...models import WrappedModel
from ...plan import Plan
from ...solvers import genie_hermite
from ...training import RunOptions, TrainingRun, own_generator
from ..extended import check_label
from ..heads.correction import CorrectionConfig
from ..heads.files import Head, new_head
from ..heads.head import HeadConfig
from .data import Data
from .step_targets import StepTargets
from .targets import PointwiseTargets, Source, Targets

__all__ = ["DistillOptions", "Distiller", "fitting_config", "targets_of"]

_MOST_VALUES = 4
_LEAST_MEMORY = 2  # what plans of genie_hermite read
_FEWEST_STEPS = 5  # of the coarser plans that share the trajectories of a finer one


@dataclass(frozen=True)
class DistillOptions(RunOptions):
    """What decides a step, kept in the checkpoint.

    target: "step", the corrections that the steps of genie_hermite need, through every number of ``values``, at every
    one of ``nfes`` and its divisors from 5 on, on every one of ``grids``; "pointwise", the derivative where gamma <=
    gamma_max, with the ``weighting`` of ``genie_ext.jvp_distill_loss``. batch_size: samples of a step, made in chunks
    of chunk_size; those of corrections are drawn from a pool of fine trajectories, ``trajectories`` for every nfe and
    grid, that every process makes anew every pool_steps steps. After forced_steps they are those of solvers that
    the head itself has led. width: channels of the head. about: the network, in words. ValueError or TypeError for
    numbers that make no run.
    """

    steps: int = 2000
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    decay_fraction: float = 0.5
    ema_decay: float = 0.995
    batch_size: int = 64
    chunk_size: int = 16
    target: str = "step"
    values: tuple[int, ...] = (1, 2, 3)
    nfes: tuple[int, ...] = (15, 20, 24)
    grids: tuple[str, ...] = ("karras", "uniform_t")
    trajectories: int = 64
    pool_steps: int = 500
    forced_steps: int = 1000
    weighting: str = "one_plus_gamma2"
    gamma_max: float | None = None
    width: int | None = None
    about: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self.forced_steps, "forced_steps", least=0)
        for name in ("batch_size", "chunk_size", "trajectories", "pool_steps"):
            integer(getattr(self, name), name, least=1)
        choice(self.target, "target", ("step", "pointwise"))
        choice(self.weighting, "weighting", WEIGHTINGS)
        for name in ("values", "nfes", "grids"):
            if not isinstance(getattr(self, name), tuple) or not getattr(self, name):
                raise ValueError(f"{name}={getattr(self, name)!r}: give a tuple of one or more")
        for values, nfe, grid in itertools.product(self.values, self.nfes, self.grids):
            choice(integer(values, "values"), "values", range(1, _MOST_VALUES + 1))
            integer(nfe, "nfes", least=1)
            choice(grid, "grids", GRIDS)
        if self.target == "step" and self.gamma_max is not None:
            raise ValueError(f"gamma_max={self.gamma_max}: has no part in target='step'; leave it out")
        if self.batch_size % self.chunk_size:
            raise ValueError(f"batch_size={self.batch_size}: give a multiple of chunk_size={self.chunk_size}")

    @property
    def chunks(self) -> int:
        """Of one step."""
        return self.batch_size // self.chunk_size


class Distiller(TrainingRun):
    """A run that trains a head for ``model`` on ``data``; see :class:`TrainingRun` for ``folder`` and resuming.

    Under torchrun every process works on its share of a step's chunks. The gradient of each chunk is made on its own
    and the gradients are added in the order of the chunks, so any number of processes takes the same steps to the bit.
    ValueError or TypeError for a network that is no float32 module in evaluation mode with a head's layers, for data of
    other channels and for chunks that the processes cannot share.
    """

    options: DistillOptions

    def __init__(self, folder: Path, model: WrappedModel, data: Data, options: DistillOptions) -> None:
        config = fitting_config(model, data, options)
        self.rank, self.processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        if options.chunks % self.processes:
            raise ValueError(
                f"batch_size={options.batch_size} in chunks of {options.chunk_size} for {self.processes} processes; "
                "every process takes as many chunks: give a smaller chunk_size or a larger batch_size"
            )
        self.source = targets_of(model, config, data, options, options.seed)
        with own_generator(options.seed):
            head = new_head(config)
        head = head.to(model.device or "cpu")
        optimizer = torch.optim.Adam(head.parameters(), lr=options.learning_rate)
        super().__init__(folder, options, head, optimizer, writes=self.rank == 0)

    def take_step(self) -> float:
        mine = range(self.rank, self.options.chunks, self.processes)
        made = [self._chunk(self.step * self.options.chunks + place) for place in mine]
        total = self._all_chunks(torch.stack(made)).sum(0) / self.options.chunks
        sizes = [p.numel() for p in self.network.parameters()]
        for parameter, gradient in zip(self.network.parameters(), total[1:].split(sizes), strict=True):
            parameter.grad = gradient.reshape(parameter.shape)
        self.descend(self.options.rate(self.step))
        return float(total[0])

    def averaged(self) -> Head:
        """The head with its averaged weights, as it is exported."""
        head: Head = copy.deepcopy(self.network)  # type: ignore[assignment]
        head.load_state_dict(self.average)
        return head.eval().requires_grad_(False)

    def _chunk(self, number: int) -> Tensor:
        """The loss of a chunk, per sample, and its gradient, as one flat tensor."""
        parameters = list(self.network.parameters())
        loss = self._loss(self.source.chunk(number, self.network))
        gradients = torch.autograd.grad(loss, parameters)
        return torch.cat([loss.detach().reshape(1), *(g.reshape(-1) for g in gradients)])

    def _loss(self, at: Targets) -> Tensor:
        maps = self.network(*at.inputs)
        weighting = self.options.weighting if at.weight is None else at.weight
        return jvp_distill_loss(maps, at.target.contiguous(), at.gamma, weighting=weighting)

    def _all_chunks(self, mine: Tensor) -> Tensor:
        """The rows of every process in the order of the chunks."""
        if self.processes == 1:
            return mine
        gathered = [torch.empty_like(mine) for _ in range(self.processes)]
        dist.all_gather(gathered, mine)
        return torch.stack(gathered, dim=1).flatten(0, 1)


def targets_of(
    model: WrappedModel, config: HeadConfig | CorrectionConfig, data: Data, options: DistillOptions, seed: int
) -> Source:
    """The targets that the options ask for, drawn by ``seed``."""
    schedule = model.schedule
    if isinstance(config, CorrectionConfig):
        plans = [_plans(model, nfe, grid, options.values) for nfe in options.nfes for grid in options.grids]
        return StepTargets(
            model, config, data, plans, options.chunk_size, seed,
            trajectories=options.trajectories, pool_chunks=options.pool_steps * options.chunks,
            forced_chunks=options.forced_steps * options.chunks,
        )  # fmt: skip
    t_max, t_end = schedule.finite_ends
    t_max = t_max if options.gamma_max is None else float(schedule.time_of_gamma(options.gamma_max))
    if not t_max > t_end:
        least = float(schedule.gamma(t_end))
        raise ValueError(f"gamma_max={options.gamma_max}: give more than {least:.3g}, where sampling ends")
    return PointwiseTargets(model, config, data, options.chunk_size, t_end, t_max, seed)


def _plans(model: WrappedModel, nfe: int, grid: str, values: Sequence[int]) -> list[Plan]:
    """Those on this grid, and those on every k-th of its times that still have enough steps."""
    times = GRIDS[grid](model.schedule, nfe, t_end=model.schedule.finite_ends[1])  # the step to gamma = 0 has none
    strides = [k for k in range(1, max(1, nfe // _FEWEST_STEPS) + 1) if nfe % k == 0]
    return [
        genie_hermite(
            model.schedule, times[::k], values=count, derivatives=1, derivative="correction",
            prediction=model.outputs[0],
        )
        for k, count in itertools.product(strides, values)
    ]  # fmt: skip


def fitting_config(model: WrappedModel, data: Data, options: DistillOptions) -> HeadConfig | CorrectionConfig:
    """The head for this network and data; ValueError or TypeError that says why there is none."""
    network = model.network
    if not isinstance(network, nn.Module):
        raise TypeError(f"model: wraps a {type(network).__name__}; give models.wrap(network, ...) of a torch.nn.Module")
    if network.training:
        raise ValueError("model: its network is in training mode, where dropout is noise; call network.eval()")
    if model.dtype != torch.float32:
        raise ValueError(f"model: its weights are {model.dtype}; load it in float32, the head may serve others then")
    check_label(model)
    if options.target == "step":
        memory = max(_LEAST_MEMORY, max(options.values) - 1)
        config = CorrectionConfig.of(network, width=options.width, memory=memory)
    else:
        config = HeadConfig.of(network, width=options.width)
    if data.images.shape[1] != config.channels:
        raise ValueError(f"data: images {tuple(data.images.shape)}; the network has {config.channels} channels")
    return config
