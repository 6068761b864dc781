"""What a calibration aims at: latents of a network, and where its probability flow takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from .._arguments import real
from ..files import open_tensors, write_tensors
from ..models import Model
from ..models.batches import map_batches, map_tensors, pick
from ..models.fingerprint import question_fingerprint
from ..models.fit import fitted
from ..plan import Combination, Plan, Row
from ..run import AnyModel, sample
from ..uses.compare import fine_plan, rmse

__all__ = ["Guidance", "Targets", "guided_by", "starting_states"]

Guidance = float | tuple[float, float] | None
"""One scale, or a range from which every latent has its own."""

_FIX = "remove the file, and the solutions are made anew"
_CHECKED = 16  # latents whose solution is checked
_BATCH = 32
_PROBED = 4  # latents by which a network is known beside its weights


@dataclass(frozen=True, eq=False)
class Targets:
    """latents, samples: [n, ...], the states at the plan's first time and the fine solution from them; cond as for
    ``sample``. scales: the guidance of each, or None. convergence: root mean square difference of the fine solution
    from one of two thirds of its steps, of the first 16. question: what they answer, as one text.
    """

    latents: Tensor
    samples: Tensor
    convergence: float
    scales: tuple[float, ...] | None = None
    cond: Mapping[str, object] = field(default_factory=dict)
    shared: Mapping[str, object] = field(default_factory=dict)
    question: str = ""

    @classmethod
    def record(
        cls,
        model: AnyModel,
        plan: Plan,
        *,
        count: int,
        shape: Sequence[int],
        seed: int,
        cond: Mapping[str, object] | None = None,
        shared: Mapping[str, object] | None = None,
        guidance: Guidance = None,
        steps: int = 60,
        progress: bool | None = None,
        cache: Path | None = None,
        known_as: str | None = None,
    ) -> Targets:
        """Solve from ``count`` latents of ``seed``, over the same way as ``plan``, by ``fine_plan`` of so many steps.

        cache: a safetensors file, read where it answers the same question of the network ``known_as`` (its
        fingerprint), else written. Raises what ``sample`` raises.
        """
        cond, shared = dict(cond or {}), dict(shared or {})
        scales = guided_by(guidance, count, seed)
        ends = plan.recipe and (plan.recipe.grid[0], plan.recipe.grid[-1])
        begun = plan if scales is None else plan.guided(1.0)
        latents = starting_states(model, begun, (count, *shape), seed, cond, shared)
        there = {
            name: map_tensors(values, lambda tensor: tensor.to(latents.device))
            for name, values in (("cond", cond), ("shared", shared))
        }
        targets = cls(latents, latents, 0.0, scales, **there)
        # labels, an unconditional half, a function around the weights: what no fingerprint of the weights sees
        shown = targets.run(model, plan, min(count, _PROBED)).double().square().mean().sqrt()
        question = question_fingerprint(
            known_as, plan.schedule, plan.outputs[0], ends, count, list(shape), seed, cond, shared, scales, steps,
            f"{float(shown):.5e}",
        )  # fmt: skip
        targets = replace(targets, question=question)
        if cache is not None and known_as is not None and (kept := _read(cache, question)) is not None:
            samples, convergence = kept
            return replace(targets, samples=samples.to(latents.device), convergence=convergence)
        denoise = plan.recipe is not None and plan.recipe.grid[-1] == plan.schedule.t_zero
        prediction = plan.outputs[0]
        fine, coarser = (
            targets.run(
                model,
                _between(plan, fine_plan(plan.schedule, n, prediction=prediction, denoise=denoise)),
                last,
                progress=progress,
            )
            for n, last in ((steps, count), (max(1, 2 * steps // 3), min(count, _CHECKED)))
        )
        convergence = rmse(coarser, fine[: len(coarser)])
        if cache is not None and known_as is not None:
            found = {"latents": latents.cpu(), "samples": fine.cpu()}
            write_tensors(cache, found, {"targets": {"question": question, "convergence": convergence}})
        return replace(targets, samples=fine, convergence=convergence)

    def __len__(self) -> int:
        return len(self.latents)

    def guided(self, plan: Plan, ids: Sequence[int]) -> Plan:
        """The plan with the guidance of these."""
        if self.scales is None:
            return plan
        scales = [self.scales[i] for i in ids]
        return plan.guided(scales if len(set(scales)) > 1 else scales[0])

    def asked(self, model: Model, plan: Plan) -> Model:
        """The model as ``sample`` asks it: without outputs that the plan does not read, and told what is shared."""
        return fitted(model, plan).sharing(self.shared.keys())

    def cond_of(self, ids: Sequence[int]) -> dict[str, object]:
        return {**map_batches(self.cond, lambda batch: pick(batch, ids)), **self.shared}

    def run(self, model: AnyModel, plan: Plan, last: int | None = None, *, progress: bool | None = False) -> Tensor:
        """The plan's samples of the first ``last``, of all by default, [n, ...]."""
        ids = range(len(self) if last is None else last)
        return sample(
            model, self.guided(plan, ids), state=self.latents[: len(ids)],
            cond=map_batches(self.cond, lambda batch: pick(batch, ids)), shared=self.shared,
            batch_size=min(len(ids), _BATCH), progress=progress,
        )  # fmt: skip

    def rmse(self, model: AnyModel, plan: Plan) -> float:
        """Of the plan's samples from the fine ones, over all."""
        return rmse(self.run(model, plan), self.samples)


def guided_by(guidance: Guidance, count: int, seed: int) -> tuple[float, ...] | None:
    """The scale of each latent: the one given, or drawn evenly from the range by ``seed``."""
    if guidance is None:
        return None
    if isinstance(guidance, tuple):
        low, high = (float(v) for v in guidance)
        if not (np.isfinite([low, high]).all() and low < high):
            raise ValueError(f"guidance={guidance}: give a scale, or a range (low, high) with low < high")
        return tuple((low + (high - low) * np.random.default_rng(seed).random(count)).tolist())
    return (real(guidance, "guidance"),) * count


def starting_states(
    model: AnyModel,
    plan: Plan,
    shape: Sequence[int],
    seed: int,
    cond: Mapping[str, object],
    shared: Mapping[str, object],
) -> Tensor:
    """The states [B, ...] in which ``sample(model, plan, shape=shape, seed=seed)`` starts."""
    nothing = Row(plan.times[0], Combination(x=1.0), calls=0)
    return sample(
        model, replace(plan, rows=(nothing,)), shape=shape, seed=seed, cond=cond, shared=shared, progress=False
    )


def _between(plan: Plan, fine: Plan) -> Plan:
    """The fine plan, where it covers the same way as the plan; ValueError else."""
    assert plan.recipe is not None and fine.recipe is not None  # both are made by solvers
    ends = [(recipe.grid[0], recipe.grid[-1]) for recipe in (plan.recipe, fine.recipe)]
    if ends[0] != ends[1]:
        raise ValueError(f"start: its times go from {ends[0][0]} to {ends[0][1]}; calibrate over {ends[1]}")
    return fine


def _read(cache: Path, question: str) -> tuple[Tensor, float] | None:
    if not cache.exists():
        return None
    with open_tensors(cache, _FIX) as file:
        kept = file.object("targets")
        if kept.get("question") != question:
            return None
        samples = file.read(["samples"])["samples"]
    return samples, float(str(kept["convergence"]))
