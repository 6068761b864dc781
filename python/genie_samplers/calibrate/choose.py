"""The best plan for a network, measured: candidates of the best scores against the network's own fine solution."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from .._arguments import integer
from ..models import Model, as_model
from ..models.batches import map_batches, pick
from ..plan import Plan
from ..run import AnyModel, NonFiniteError, sample
from ..schedules import Schedule, check_schedule
from ..solvers.choosing import AUTO, FURTHER, Candidate, Choice, Options, fitting_grids, ranked
from ..solvers.fitting import fitted
from ..solvers.registry import find
from ..uses.compare import fine_plan, rmse

__all__ = ["Chosen", "Measured", "choose"]

_SCREENED, _KEPT_ON = 2, 12  # latents that every candidate is run from, and how many go on to all latents
_FINE, _COARSER = 120, 80  # steps of the two solutions whose difference is the check of the finer
_DERIVATIVES = {"gamma_d_epsilon": "exact", "c1": "correction"}
_KEPT: MutableMapping[object, dict[str, Chosen]] = WeakKeyDictionary()  # by the model itself: a wrap has its own label
_MOST_KEPT = 64


class Measured(NamedTuple):
    """A candidate and its root mean square error from the network's fine solution; inf where it ran away."""

    choice: Choice
    rmse: float


@dataclass(frozen=True)
class Chosen:
    """plan: the best. cells: what was measured, the best first. auto: the error of what the score alone chooses.

    convergence: root mean square difference of the fine solution from one of two thirds of its steps; errors of this
    size are not told apart.
    """

    plan: Plan
    cells: tuple[Measured, ...]
    auto: float
    convergence: float

    def __str__(self) -> str:
        best, gain = self.cells[0], self.auto / self.cells[0].rmse if self.cells[0].rmse else 1.0
        return (
            f"{best.choice}: RMSE {best.rmse:.4g}, {gain:.2f} times better than the score's choice ({self.auto:.4g}); "
            f"{len(self.cells)} measured, fine solution within {self.convergence:.1g}"
        )


def choose(
    model: AnyModel,
    schedule: Schedule,
    nfe: int,
    *,
    shape: Sequence[int],
    count: int = 8,
    seed: int = 1,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    prediction: str | None = None,
    denoise: bool = False,
    progress: bool = False,
) -> Chosen:
    """The plan at ``nfe`` evaluations with the least error on ``count`` latents of this network.

    Every candidate of ``make_plan("auto")`` is run from two of the latents, and the best dozen, with the score's own
    choice, from all; what wins there is taken. Of a model that returns exact derivatives or a head's corrections, too,
    GENIE's solvers with memory are among them. It costs about 90 ``nfe`` evaluations of two samples, and 13 ``nfe`` +
    200 of ``count``, once: the same question of the same model object is answered from memory as long as the weights
    of its network are the same.

    shape: of one sample, (C, H, W). cond, shared: as for ``sample``, of ``count`` samples. prediction: the model's own
    by default, else epsilon. seed: of the latents; measure on other ones. progress: whether ``sample`` shows its bars.
    Raises ValueError or TypeError naming the argument, and NonFiniteError where the fine solution is not finite.
    """
    check_schedule(schedule)
    net, size = as_model(model), (integer(count, "count", least=1), *shape)
    prediction = prediction or net.prediction or "epsilon"
    nfe = integer(nfe, "nfe", least=1)
    key = _fingerprint(net, schedule, nfe, size, seed, cond, shared, prediction, denoise)
    kept = {} if key is None else _KEPT.setdefault(model, {})
    if key in kept:
        return kept[key]

    def run(plan: Plan, latents: int) -> Tensor:
        first = map_batches(dict(cond or {}), lambda batch: pick(batch, range(latents)))
        return sample(model, plan, shape=(latents, *size[1:]), seed=seed, cond=first, shared=shared, progress=progress)

    def error(plan: Plan, latents: int) -> float:
        try:
            return rmse(run(plan, latents), fine[:latents])
        except NonFiniteError:
            return float("inf")

    fine, coarser = (
        run(fine_plan(schedule, steps, prediction=prediction, denoise=denoise), size[0]) for steps in (_FINE, _COARSER)
    )
    plans = _plans(net, schedule, nfe, prediction, denoise=denoise)
    screened = sorted(plans, key=lambda each: error(each[1], min(_SCREENED, size[0])))[:_KEPT_ON]
    measured = {choice: (error(plan, size[0]), plan) for choice, plan in dict([plans[0], *screened]).items()}
    cells = tuple(sorted((Measured(choice, found[0]) for choice, found in measured.items()), key=lambda c: c.rmse))
    note = f"measured: {cells[0].choice}, RMSE {cells[0].rmse:.3g}"
    plan = replace(measured[cells[0].choice][1], note=note)
    chosen = Chosen(plan, cells, measured[plans[0][0]][0], rmse(fine, coarser))
    if key is not None:
        while len(kept) >= _MOST_KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = chosen
    return chosen


def _plans(model: Model, schedule: Schedule, nfe: int, prediction: str, *, denoise: bool) -> list[tuple[Choice, Plan]]:
    """The candidates, what "auto" chooses by the score alone first."""
    own, further = (
        tuple(Candidate(name, Options({**find(name).options, **free})) for name, free in group)
        for group in (AUTO, FURTHER)
    )
    wide = fitting_grids(schedule, denoise=denoise, wide=True)
    auto = ranked(own, schedule, nfe, fitting_grids(schedule, denoise=denoise), denoise)[:1]
    choices = dict.fromkeys((*auto, *ranked((*own, *further, *_with_derivatives(model)), schedule, nfe, wide, denoise)))
    options = {"prediction": prediction}
    return [
        (c, fitted(find(c.solver), schedule, nfe, c.grid, {**c.options, **options}, denoise=denoise)) for c in choices
    ]


def _with_derivatives(model: Model) -> list[Candidate]:
    """GENIE's solvers with memory, where the model has what they read."""
    kinds = [kind for name, kind in _DERIVATIVES.items() if name in (model.outputs or ())]
    return [
        Candidate("genie_hermite", Options({"derivatives": 1, "values": values, "derivative": kind}))
        for kind in kinds
        for values in (2, 3)
    ]


def _fingerprint(model: Model, *question: object) -> str | None:
    """Of the network's weights and the question; None where there are no weights to look at."""
    network = model.network
    if not isinstance(network, nn.Module):
        return None
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    for part in question:
        digest.update(_text(part).encode())
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _text(part: object) -> str:
    """In words that differ where the values do."""
    if isinstance(part, Mapping):
        return str({key: _text(value) for key, value in part.items()})
    if isinstance(part, list | tuple):
        return str([_text(value) for value in part])
    if isinstance(part, Tensor):
        return f"{part.dtype} {tuple(part.shape)} {hashlib.sha256(_bytes(part)).hexdigest()}"
    return str(np.asarray(part).tolist()) if isinstance(part, np.ndarray) else repr(part)
