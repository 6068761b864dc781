"""Step-scale targets: the defects of the steps of some plans on the network's own fine trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from ..._arguments import integer
from ...models import WrappedModel
from ...plan import Plan
from ..heads.correction import CorrectionConfig
from ..heads.features import step_features
from .data import Data
from .step_defects import StepDefect, led_steps, step_defects
from .targets import Targets
from .trajectories import Trajectories, fine_trajectories, widest

__all__ = ["StepTargets"]

_DRAWS = 1  # of the generators that belong to a seed; trajectories have another


@dataclass(frozen=True)
class _Solved:
    """A plan and trajectories at its times; errors are squares summed over elements, on average over trajectories.

    errors: of the last state, by each step alone. carried: of the last state, by the steps up to each, summed over
    these.
    """

    plan: Plan
    fine: Trajectories
    defects: Sequence[StepDefect]
    errors: np.ndarray
    carried: float

    @staticmethod
    def of(plan: Plan, fine: Trajectories, defects: Sequence[StepDefect]) -> _Solved:
        errors, carried, deviation = [], 0.0, torch.zeros_like(fine.states[0], dtype=torch.float64)
        for defect in defects:
            change = defect.gain * defect.correction().double()
            deviation += change
            errors.append(float(change.square().sum()) / len(change))
            carried += float(deviation.square().sum()) / len(change)
        return _Solved(plan, fine, defects, np.array(errors), carried)


@dataclass(frozen=True)
class _Pool:
    """The steps of all plans. chance: of drawing each, their sum 1.

    weight: of each in the loss, so that its mean over draws is the mean over plans of the share left unexplained.
    """

    solved: Sequence[_Solved]
    steps: Sequence[tuple[StepDefect, Mapping[str, Tensor]]]
    chance: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class StepTargets:
    """The corrections that would let steps of some plans end on the network's own fine trajectory.

    plans: groups of plans of derivative="correction" with one step per evaluation, those of a group on the same grid or
    on every k-th time of it, the finest first. A pool holds ``trajectories`` fine solutions from noise for every group,
    made ``size`` at a time. A chunk is ``size`` steps drawn from a pool, by the square root of their share in the
    plan's error: the squared change that the missing correction makes of the last state, were the data normal and the
    direction their widest. The weights make the loss the share of that error which is left unexplained. A new pool is
    made every ``pool_chunks`` chunks. From chunk ``forced_chunks`` on the steps are those of a plan that the head has
    led so far (:func:`led_steps`).
    """

    model: WrappedModel
    head: CorrectionConfig
    data: Data
    plans: Sequence[Sequence[Plan]]
    size: int
    seed: int
    trajectories: int = 64
    pool_chunks: int = 2000
    forced_chunks: int = 4000
    _pool: dict[int, _Pool] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("size", "trajectories", "pool_chunks"):
            integer(getattr(self, name), name, least=1)
        if not self.plans or not all(self.plans):
            raise ValueError(f"plans={self.plans!r}: give one or more groups of one or more plans")
        for finest, *coarser in self.plans:
            for plan in (finest, *coarser):
                self._check(plan)
                _stride(finest, plan)

    def _check(self, plan: Plan) -> None:
        if plan.outputs != (*self.model.outputs, *self.head.outputs) or plan.recipe is None:
            raise ValueError(f"plan: reads {plan.outputs}; give a genie solver's with derivative='correction'")
        if plan.schedule != self.model.schedule or plan.guidance is not None:
            raise ValueError("plan: guided, or of another schedule than the model's; give an unguided plan of that")
        if plan.recipe.grid[-1] == plan.schedule.t_zero:
            raise ValueError("plan: ends at gamma = 0; give one that ends before, its last step has no correction")
        step_features(plan, self.head.memory)  # or why the head is not for this plan
        if all(row.outputs < len(plan.outputs) for row in plan.rows):
            raise ValueError("plan: no row reads a correction; give more evaluations or a larger derivative_below")

    @cached_property
    def widest(self) -> float:
        """The largest standard deviation of the data along a direction."""
        return widest(self.data.images)

    @torch.no_grad()
    def chunk(self, number: int, head: nn.Module) -> Targets:
        pool, rng = self._pool_of(number // self.pool_chunks), np.random.default_rng([self.seed, _DRAWS, number])
        return self._drawn(pool, rng) if number < self.forced_chunks else self._led(pool, rng, head)

    def _drawn(self, pool: _Pool, rng: np.random.Generator) -> Targets:
        """Steps from the fine trajectories."""
        strata = (np.arange(self.size) + rng.random(self.size)) / self.size
        places = np.searchsorted(np.cumsum(pool.chance)[:-1], strata)
        samples = rng.integers(0, self.trajectories, self.size)
        drawn = [(*pool.steps[place], int(sample)) for place, sample in zip(places, samples, strict=True)]
        x, scaled, epsilon, features, target, *history = (
            torch.stack(values)
            for values in zip(*(self._shown(defect, sample) for defect, _, sample in drawn), strict=True)
        )
        cond = {name: torch.stack([given[name][sample] for _, given, sample in drawn]) for name in self.data.cond}
        labels = torch.tensor([defect.label for defect, _, _ in drawn], dtype=x.dtype, device=x.device)
        with self.head.captured(self.model.network) as captured:
            self.model(x, labels, **cond)
        weight = torch.from_numpy(pool.weight[places]).to(x.device)
        return Targets(
            (scaled, epsilon, history, captured.last, features), target, torch.exp(features[:, 0].double()), weight
        )

    def _led(self, pool: _Pool, rng: np.random.Generator, head: nn.Module) -> Targets:
        """Steps of a plan that the head itself has led, as many as there are of some trajectories."""
        solved = pool.solved[int(rng.integers(len(pool.solved)))]
        count = min(self.trajectories, -(-self.size // len(solved.defects)))
        samples = torch.from_numpy(rng.choice(self.trajectories, count, replace=False))
        led = led_steps(self.model, head, solved.plan, solved.fine, samples)  # type: ignore[arg-type]
        columns = zip(*((s.x, s.epsilon, s.last, s.features, s.target, *s.history) for s in led), strict=True)
        x, epsilon, last, features, target, *history = (torch.cat(values) for values in columns)
        effects = np.array([defect.gain for defect in solved.defects]) ** 2 * len(led) / solved.carried
        weight = torch.from_numpy(np.repeat(effects, count)).to(x.device)
        return Targets((x, epsilon, history, last, features), target, torch.exp(features[:, 0].double()), weight)

    def _shown(self, defect: StepDefect, sample: int) -> tuple[Tensor, ...]:
        """x, the head's x, epsilon, the features of the step, its target, and the history."""
        x, history = defect.x[sample], defect.history(sample, self.head.memory)
        return x, defect.scale * x, defect.epsilons[0][sample], defect.features, defect.correction(sample), *history

    def _pool_of(self, index: int) -> _Pool:
        """The pool of this number, which is kept until another one is asked for."""
        if index not in self._pool:
            self._pool.clear()  # before the next one takes memory
            self._pool[index] = self._make_pool(index)
        return self._pool[index]

    def _make_pool(self, number: int) -> _Pool:
        solved: list[_Solved] = []
        for place, group in enumerate(self.plans):
            fine = fine_trajectories(
                self.model, group[0], self.data, self.trajectories, self.seed, batch_size=self.size,
                first=(number * len(self.plans) + place) * self.trajectories,
            )  # fmt: skip
            for plan in group:
                mine = fine.every(_stride(group[0], plan))
                solved.append(_Solved.of(plan, mine, step_defects(plan, mine, self.head.memory, self.widest)))
        steps = [(defect, each.fine.cond) for each in solved for defect in each.defects]
        if not all(each.errors.sum() > 0.0 for each in solved):
            raise ValueError("model: some plans end on its trajectories without corrections; there is nothing to learn")
        share = np.concatenate([each.errors / each.errors.sum() for each in solved])
        chance = np.sqrt(share) / np.sqrt(share).sum()
        effects = [defect.gain**2 / each.errors.sum() for each in solved for defect in each.defects]
        return _Pool(solved, steps, chance, np.array(effects) / len(solved) / chance)


def _stride(finest: Plan, plan: Plan) -> int:
    """k where the plan's grid is every k-th time of the finest one's."""
    fine, coarse = (p.recipe.grid if p.recipe else () for p in (finest, plan))
    stride = (len(fine) - 1) // (len(coarse) - 1)
    if stride < 1 or fine[::stride] != coarse:
        raise ValueError(
            "plans: a group holds a plan whose times are not every k-th of the first one's; make it a group"
        )
    return stride
