"""The best plan for a network, measured: candidates of the best scores against the network's own fine solution."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor

from .._arguments import integer
from ..models import Model, as_model
from ..models.batches import map_batches, pick
from ..models.fingerprint import network_fingerprint, question_fingerprint
from ..plan import Plan
from ..run import AnyModel, NonFiniteError, sample
from ..schedules import Schedule, check_schedule
from ..solvers.choosing import AUTO, FURTHER, Candidate, Choice, Options, fitting_grids, ranked
from ..solvers.fitting import fitted
from ..solvers.registry import find
from ..uses.compare import fine_plan, rmse

__all__ = ["Chosen", "Measured", "choose"]

_ROUNDS = ((4, 24), (8, 12))  # latents from which candidates are run, and how many of them go on; then all latents
_FINE, _COARSER = 120, 80  # steps of the two solutions whose difference is the check of the finer
_DERIVATIVES = {"gamma_d_epsilon": "exact", "c1": "correction"}
_KEPT: MutableMapping[object, dict[str, Any]] = WeakKeyDictionary()  # by the model itself: a wrap has its own label
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
    count: int = 24,
    seed: int = 1,
    cond: Mapping[str, object] | None = None,
    shared: Mapping[str, object] | None = None,
    prediction: str | None = None,
    denoise: bool = False,
    progress: bool = False,
) -> Chosen:
    """The plan at ``nfe`` evaluations with the least error on ``count`` latents of this network.

    Every candidate of ``make_plan("auto")``, and some more, is run from four of the latents, the best two dozen from
    eight, the best dozen and the score's own choice from all; what wins there is taken. (Fewer latents choose badly:
    some have ten times the error of others.) Of a model that returns exact derivatives or a head's corrections, too,
    GENIE's solvers with memory are among them. With 24 latents it costs 650 ``nfe`` evaluations of one sample, and once
    for all ``nfe`` 3500. The same question is answered from memory while the weights of the network are the same.

    shape: of one sample, (C, H, W). cond, shared: as for ``sample``, of ``count`` samples. prediction: the model's own
    by default, else epsilon. seed: of the latents; measure on other ones. progress: whether ``sample`` shows its bars.
    Raises ValueError or TypeError naming the argument, and NonFiniteError where the fine solution is not finite.
    """
    check_schedule(schedule)
    net, size = as_model(model), (integer(count, "count", least=1), *shape)
    prediction = prediction or net.prediction or "epsilon"
    nfe = integer(nfe, "nfe", least=1)
    given = dict(cond or {})

    def run(plan: Plan, first: int, last: int) -> Tensor:
        ids = range(first, last)
        part = map_batches(given, lambda batch: pick(batch, ids))
        return sample(
            model, plan, shape=(len(ids), *size[1:]), seed=seed, sample_ids=list(ids), cond=part, shared=shared,
            progress=progress,
        )  # fmt: skip

    def solve() -> _Fine:
        fine, coarser = (
            run(fine_plan(schedule, steps, prediction=prediction, denoise=denoise), 0, latents)
            for steps, latents in ((_FINE, size[0]), (_COARSER, min(_ROUNDS[1][0], size[0])))
        )
        return _Fine(fine, rmse(coarser, fine[: len(coarser)]))

    def measure() -> Chosen:
        fine, convergence = _remembered(kept, question, solve)
        errors = _Errors(run, fine)
        plans = dict(_plans(net, schedule, nfe, prediction, denoise=denoise))
        auto, *_ = left = list(plans)
        for latents, going_on in _ROUNDS:
            left = sorted(left, key=lambda choice: errors.of(plans[choice], min(latents, size[0])))[:going_on]
        cells = [Measured(choice, errors.of(plans[choice], size[0])) for choice in dict.fromkeys((auto, *left))]
        best, *others = sorted(cells, key=lambda cell: cell.rmse)
        plan = replace(plans[best.choice], note=f"measured: {best.choice}, RMSE {best.rmse:.3g}")
        return Chosen(plan, (best, *others), cells[0].rmse, convergence)

    weights = network_fingerprint(net)
    rest = question_fingerprint(schedule, size, seed, cond, shared, prediction, denoise)
    question = None if weights is None else f"{weights} {rest}"
    kept = {} if question is None else _KEPT.setdefault(model, {})
    return _remembered(kept, None if question is None else f"{question} {nfe}", measure)


class _Fine(NamedTuple):
    """The fine solution [count, ...], and how far it is from a coarser one."""

    samples: Tensor
    convergence: float


class _Errors:
    """Squared errors of plans latent by latent, each made once. run: of a plan, a range of latents."""

    def __init__(self, run: Callable[[Plan, int, int], Tensor], fine: Tensor) -> None:
        self._run, self._fine, self._known = run, fine, dict[int, list[float]]()

    def of(self, plan: Plan, latents: int) -> float:
        """Root mean square over the first latents; inf where one runs away."""
        known = self._known.setdefault(id(plan), [])
        if len(known) < latents:
            known += self._squares(plan, len(known), latents)
        return math.sqrt(sum(known[:latents]) / latents)

    def _squares(self, plan: Plan, first: int, last: int) -> list[float]:
        try:
            x = self._run(plan, first, last)
        except NonFiniteError:
            return [math.inf] * (last - first)
        return (x - self._fine[first:last]).double().square().flatten(1).mean(1).tolist()


_T = TypeVar("_T")


def _remembered(kept: dict[str, Any], key: str | None, make: Callable[[], _T]) -> _T:
    """What was made for this key; the oldest of too many is forgotten."""
    if key is None or key not in kept:
        made = make()
        if key is None:
            return made
        while len(kept) >= _MOST_KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = made
    return kept[key]


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
