"""Distillation of a head: the derivative of epsilon, learned from targets that the frozen network makes itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from genie_ext import jvp_distill_loss

from .._arguments import choice, integer, real
from .._training import RunOptions, TrainingRun
from ..models import WrappedModel
from ..registry import make_plan
from .data import Data
from .head import GenieHead, HeadConfig
from .targets import PointwiseTargets, Source, StepTargets, Targets

__all__ = ["DistillOptions", "Distiller", "fitting_config", "targets_of"]


@dataclass(frozen=True)
class DistillOptions(RunOptions):
    """What decides a step, kept in the checkpoint.

    batch_size: samples of a step, or trajectories (target="step"), made in chunks of chunk_size. target: "pointwise",
    the derivative where gamma <= gamma_max, with the ``weighting`` of ``genie_ext.jvp_distill_loss``; "step", the
    correction that the steps of the plan of solver, nfe and grid need, weighted by what it does to the state. width:
    channels of the head. about: the network, in words. ValueError or TypeError for numbers that make no run.
    """

    steps: int = 2000
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    decay_fraction: float = 0.5
    ema_decay: float = 0.995
    batch_size: int = 64
    chunk_size: int = 16
    weighting: str = "one_plus_gamma2"
    target: str = "pointwise"
    solver: str = "genie_hermite3"
    nfe: int = 10
    grid: str | None = None
    gamma_max: float | None = None
    width: int | None = None
    about: str = ""

    def __post_init__(self) -> None:
        for name in ("steps", "seed"):
            integer(getattr(self, name), name, least=0)
        for name in ("batch_size", "chunk_size", "warmup_steps", "nfe", "save_every"):
            integer(getattr(self, name), name, least=1)
        choice(self.target, "target", ("pointwise", "step"))
        if not 0.0 < real(self.learning_rate, "learning_rate") < math.inf:
            raise ValueError(f"learning_rate={self.learning_rate}: give a finite number > 0")
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
        predicts = "derivative" if options.target == "pointwise" else "correction"
        config = fitting_config(model, data, width=options.width, predicts=predicts)
        self.rank, self.processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        if options.chunks % self.processes:
            raise ValueError(
                f"batch_size={options.batch_size} in chunks of {options.chunk_size} for {self.processes} processes; "
                "every process takes as many chunks: give a smaller chunk_size or a larger batch_size"
            )
        self.source = targets_of(model, config, data, options, options.seed)
        torch.manual_seed(options.seed)
        head = GenieHead(config).to(model.device or "cpu")
        optimizer = torch.optim.Adam(head.parameters(), lr=options.learning_rate)
        super().__init__(folder, options, head, optimizer, writes=self.rank == 0)

    def take_step(self) -> float:
        mine = range(self.rank, self.options.chunks, self.processes)
        rows = [self._chunk(self.step * self.options.chunks + place) for place in mine]
        total = self._all_chunks(torch.stack(rows)).sum(0) / self.options.chunks
        sizes = [p.numel() for p in self.network.parameters()]
        for parameter, gradient in zip(self.network.parameters(), total[1:].split(sizes), strict=True):
            parameter.grad = gradient.reshape(parameter.shape)
        self.descend(self.options.rate(self.step))
        return float(total[0])

    def averaged(self) -> GenieHead:
        """The head with its averaged weights, as it is exported."""
        head = GenieHead(self.network.config).to(self.device)  # type: ignore[arg-type]
        head.load_state_dict(self.average)
        return head.eval().requires_grad_(False)

    def _chunk(self, number: int) -> Tensor:
        """The loss of a chunk, per sample, and its gradient, as one flat tensor."""
        parameters = list(self.network.parameters())
        loss = torch.stack([self._loss(at) for at in self.source.chunk(number)]).mean()
        gradients = torch.autograd.grad(loss, parameters)
        return torch.cat([loss.detach().reshape(1), *(g.reshape(-1) for g in gradients)])

    def _loss(self, at: Targets) -> Tensor:
        maps = at.maps(self.network)
        weighting = self.options.weighting if at.weight is None else at.weight
        return jvp_distill_loss(maps, at.target.contiguous(), at.gamma, weighting=weighting)

    def _all_chunks(self, mine: Tensor) -> Tensor:
        """The rows of every process in the order of the chunks."""
        if self.processes == 1:
            return mine
        gathered = [torch.empty_like(mine) for _ in range(self.processes)]
        dist.all_gather(gathered, mine)
        return torch.stack(gathered, dim=1).flatten(0, 1)


def targets_of(model: WrappedModel, config: HeadConfig, data: Data, options: DistillOptions, seed: int) -> Source:
    """The targets that the options ask for, drawn by ``seed``."""
    schedule = model.schedule
    if options.target == "pointwise":
        t_max = schedule.t_max if options.gamma_max is None else float(schedule.time_of_gamma(options.gamma_max))
        if not t_max > schedule.t_end:
            least = float(schedule.gamma(schedule.t_end))
            raise ValueError(f"gamma_max={options.gamma_max}: give more than {least:.3g}, where sampling ends")
        return PointwiseTargets(model, config, data, options.chunk_size, schedule.t_end, t_max, seed)
    plan = make_plan(
        options.solver, schedule, options.nfe, grid=options.grid, prediction=model.outputs[0],
        options={"derivative": "correction"},
    )  # fmt: skip
    return StepTargets(model, config, data, plan, options.chunk_size, seed)


def fitting_config(
    model: WrappedModel, data: Data, *, width: int | None = None, predicts: str = "derivative"
) -> HeadConfig:
    """The head for this network and data; ValueError or TypeError that says why there is none."""
    network = model.network
    if not isinstance(network, nn.Module):
        raise TypeError(f"model: wraps a {type(network).__name__}; give models.wrap(network, ...) of a torch.nn.Module")
    if network.training:
        raise ValueError("model: its network is in training mode, where dropout is noise; call network.eval()")
    if model.dtype != torch.float32:
        raise ValueError(f"model: its weights are {model.dtype}; load it in float32, the head may serve others then")
    config = HeadConfig.of(network, width=width, predicts=predicts)
    if data.images.shape[1] != config.channels:
        raise ValueError(f"data: images {tuple(data.images.shape)}; the network has {config.channels} channels")
    return config
