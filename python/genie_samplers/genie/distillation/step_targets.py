"""Step-scale targets: what the network's own fine trajectories say that the steps of some plans lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ...models import WrappedModel
from ...plan import Plan
from ..heads.correction import CorrectionConfig
from ..heads.step_rows import step_rows
from .data import Data
from .lacks import Lack, lacks
from .targets import Targets
from .trajectories import fine_trajectories, widest

__all__ = ["StepTargets"]


@dataclass(frozen=True)
class _Pool:
    """lacks: of every row of every plan, on the trajectories that it belongs to. chance: of drawing each, their sum 1.

    weight: of each in the loss, so that its mean over draws is the mean over plans of the share left unexplained.
    """

    lacks: Sequence[Lack]
    cond: Sequence[Mapping[str, Tensor]]
    chance: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class StepTargets:
    """The corrections that would let steps of some plans end on the network's own fine trajectory.

    plans: groups of plans of derivative="correction" with one step per evaluation, those of a group on the same grid or
    on every k-th time of it, the finest first. A pool holds ``trajectories`` solutions from noise for every group, by
    tAB-DEIS-3 in ``parts`` steps for each of the finest plan's. A chunk is ``size`` steps drawn from a pool, by the
    square root of their share in the plan's error: the squared change that the missing correction makes of the last
    state, were the data normal and the direction their widest. The weights make the loss the share of that error which
    is left unexplained. Chunk n is of lane n modulo ``lanes``; a lane makes a new pool every ``draws`` of its chunks.
    """

    model: WrappedModel
    head: CorrectionConfig
    data: Data
    plans: Sequence[Sequence[Plan]]
    size: int
    seed: int
    trajectories: int = 48
    draws: int = 500
    lanes: int = 1
    parts: int = 3
    _pools: dict[int, tuple[int, _Pool]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for finest, *coarser in self.plans:
            for plan in (finest, *coarser):
                self._check(plan)
                _stride(finest, plan)

    def _check(self, plan: Plan) -> None:
        if plan.outputs != (*self.model.outputs, *self.head.outputs) or plan.recipe is None:
            raise ValueError(f"plan: reads {plan.outputs}; give a genie solver's with derivative='correction'")
        if plan.recipe.grid[-1] == plan.schedule.t_zero:
            raise ValueError("plan: ends at gamma = 0; give one that ends before, its last step has no correction")
        step_rows(plan, self.head.memory)  # or why the head is not for this plan
        if all(step.outputs < len(plan.outputs) for step in plan.instructions):
            raise ValueError("plan: no step reads a correction; give more evaluations or a larger derivative_below")

    @cached_property
    def widest(self) -> float:
        """The largest standard deviation of the data along a direction."""
        return widest(self.data.images)

    @torch.no_grad()
    def chunk(self, number: int) -> Targets:
        turn, lane = divmod(number, self.lanes)
        pool = self._pool(turn // self.draws, lane)
        rng = np.random.default_rng([self.seed, number])
        strata = (np.arange(self.size) + rng.random(self.size)) / self.size
        rows = np.searchsorted(np.cumsum(pool.chance)[:-1], strata)
        samples = rng.integers(0, self.trajectories, self.size)
        drawn = [(pool.lacks[row], pool.cond[row], int(sample)) for row, sample in zip(rows, samples, strict=True)]
        x, epsilon, told, target, *past = (
            torch.stack(values)
            for values in zip(*(self._shown(lack, sample) for lack, _, sample in drawn), strict=True)
        )
        cond = {name: torch.stack([known[name][sample] for _, known, sample in drawn]) for name in self.data.cond}
        labels = torch.tensor([lack.label for lack, _, _ in drawn], dtype=x.dtype, device=x.device)
        with self.head.captured(self.model.network) as features:
            self.model(x, labels, **cond)
        weight = torch.from_numpy(pool.weight[rows]).to(x.device)
        return Targets((x, epsilon, past, features.last, told), target, torch.exp(told[:, 0].double()), weight)

    def _shown(self, lack: Lack, sample: int) -> tuple[Tensor, ...]:
        """x, epsilon, what the head is told, its target, and the memory."""
        past = lack.past(sample, self.head.memory)
        return lack.x[sample], lack.epsilons[0][sample], lack.told, lack.correction(sample), *past

    def _pool(self, index: int, lane: int) -> _Pool:
        """The pool of this number of a lane, which is kept until the next one is asked for."""
        kept = self._pools.get(lane)
        if kept is None or kept[0] != index:
            self._pools.pop(lane, None)  # before the next one takes memory
            self._pools[lane] = kept = (index, self._make_pool(index * self.lanes + lane))
        return kept[1]

    def _make_pool(self, number: int) -> _Pool:
        found: list[Lack] = []
        cond: list[Mapping[str, Tensor]] = []
        shares: list[np.ndarray] = []
        for place, group in enumerate(self.plans):
            fine = fine_trajectories(
                self.model, group[0], self.data, self.trajectories, self.parts, self.seed,
                first=(number * len(self.plans) + place) * self.trajectories,
            )  # fmt: skip
            for plan in group:
                steps = lacks(plan, fine.every(_stride(group[0], plan)), self.head.memory, self.widest)
                errors = np.array([lack.error for lack in steps])
                shares.append(errors / errors.sum())
                found += steps
                cond += [fine.cond] * len(steps)
        share = np.concatenate(shares) / len(shares)
        chance = np.sqrt(share) / np.sqrt(share).sum()
        errors = np.array([lack.error for lack in found])
        effects = np.array([lack.effect for lack in found])
        return _Pool(found, cond, chance, effects * share / errors / chance)


def _stride(finest: Plan, plan: Plan) -> int:
    """k where the plan's grid is every k-th time of the finest one's."""
    fine, coarse = (p.recipe.grid if p.recipe else () for p in (finest, plan))
    stride = (len(fine) - 1) // (len(coarse) - 1)
    if fine[::stride] != coarse:
        raise ValueError(
            "plans: a group holds a plan whose times are not every k-th of the first one's; make it a group"
        )
    return stride
