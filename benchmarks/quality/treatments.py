"""The noises that ``python -m benchmarks.quality.noise`` compares: plans, and the operators that they run with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import genie_samplers as gs
from genie_samplers import tdas
from genie_samplers.demo.data import LabelledImages
from genie_samplers.plan import Plan, filtered

from .problem import classes
from .store import cached, digest

__all__ = ["SHAPE", "Images", "Made", "Study", "Treatment", "full_length", "of_ddpm", "of_langevin"]

_BATCH, SHAPE = 40, (1, 28, 28)
_SEED, _OTHER_SEED = 0, 5
_CALIBRATING = 200  # samples
_SHRINKAGE = 0.12

Images = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Treatment:
    """A plan whose noise is changed. operators: those that it names."""

    noise: str
    model: gs.models.Model
    plan: Plan
    operators: Mapping[str, tdas.FilterOperator] = field(default_factory=dict)

    def samples(self, count: int, seed: int = _SEED) -> Images:
        """[count, 1, 28, 28], of all classes in turn."""
        return gs.sample(
            self.model, self.plan, shape=(count, *SHAPE), seed=seed, cond={"class_labels": classes(range(count))},
            batch_size=_BATCH, operators=self.operators, progress=False,
        ).numpy()  # fmt: skip

    def key(self) -> str:
        """Another wherever the samples are others."""
        return _key(self.plan, *(_numbers(operator.filters) for operator in self.operators.values()))


@dataclass(frozen=True)
class Study:
    """full: steps of the samples that filters are calibrated against. temperatures: that are tried."""

    images: LabelledImages
    full: int
    cache: Path
    temperatures: Sequence[float]

    def spectrum(self) -> Array:
        """Within classes, of the training images."""
        return tdas.power_spectrum(self.images.images, labels=self.images.labels)

    def calibrating(self, of: Treatment) -> Images:
        """The samples that filters are calibrated on."""
        path = self.cache / f"calibrating-{_key(of.plan)}.npy"
        return cached(path, lambda: of.samples(_CALIBRATING, _OTHER_SEED)).astype(np.float32)

    def filter(self, full: Treatment, accelerated: Treatment) -> tdas.FilterSpec:
        return tdas.calibrate(self.calibrating(full), self.calibrating(accelerated)).spec

    def samples(self, of: Treatment, count: int) -> Images:
        path = self.cache / "noise" / f"{of.key()}-{count}.npy"
        return cached(path, lambda: of.samples(count)).astype(np.float32)


Made = Mapping[str, Callable[[], Treatment]]
"""By name; called where it is wanted, as calibrating takes samples."""


def of_ddpm(nfe: int, study: Study) -> Made:
    """Ancestral sampling, uniform t."""
    model = gs.demo.embedded()
    plan = _ancestral(nfe)
    coloured = filtered(plan, "filter", start=False, by_draw=True)
    calibrating: dict[str, Any] = {
        "shape": (_CALIBRATING, *SHAPE), "seed": _OTHER_SEED, "batch_size": _BATCH,
        "cond": {"class_labels": classes(range(_CALIBRATING))},
    }  # fmt: skip

    def tempered(factor: float) -> Treatment:
        return Treatment(f"temperature {factor}", model, gs.solvers.tempered(plan, factor))

    def with_filter() -> Treatment:
        spec = study.filter(full_length("ddpm", study.full), Treatment("accelerated", model, plan))
        return Treatment("tdas", model, filtered(plan, "filter"), tdas.operators(spec))

    def published() -> tdas.NoiseGains:
        measure = partial(tdas.measured_progress, model, plan, **calibrating)
        return tdas.gains_from_progress(cached(study.cache / f"progress-{_key(plan)}.npy", measure))

    def closed() -> tdas.NoiseGains:
        return tdas.gains_from_spectrum(plan, study.spectrum())

    def fitted() -> tdas.NoiseGains:
        measure = partial(tdas.fitted_gains, model, plan, study.spectrum(), labels=classes(range(_CALIBRATING)))
        bank = cached(study.cache / f"fitted-{_key(plan)}.npy", lambda: measure(**calibrating).bank)
        return tdas.NoiseGains("dct", bank.astype(np.float64))

    def with_gains(noise: str, make: Callable[[], tdas.NoiseGains]) -> Treatment:
        return Treatment(noise, model, coloured, tdas.operators(make()))

    gains: dict[str, Callable[[], tdas.NoiseGains]] = {
        "gains from progress": published,
        "gains from the spectrum": closed,
        f"gains from the spectrum, shrunk to {_SHRINKAGE}": lambda: closed().shrunk(_SHRINKAGE),
        "gains fitted to the network": fitted,
    }
    return {
        "white": lambda: Treatment("white", model, plan),
        **{f"temperature {factor}": partial(tempered, factor) for factor in study.temperatures},
        "tdas": with_filter,
        **{name: partial(with_gains, name, make) for name, make in gains.items()},
    }


def of_langevin(steps: int, study: Study) -> Made:
    """Reverse diffusion and one Langevin correction in each step, sigma from 50 to 0.01."""
    model = gs.demo.embedded(schedule=gs.schedules.ve())

    def made(name: str, mode: str | None = None, spec: tdas.FilterSpec | None = None) -> Treatment:
        plan = _corrected(model, steps, mode)
        return Treatment(name, model, plan, {} if spec is None else tdas.operators(spec, adjoint=mode == "pds"))

    def calibrated(mode: str) -> Treatment:
        spec = study.filter(full_length("predictor_corrector", study.full), made("accelerated"))
        return made(mode, mode, spec)

    def tempered(factor: float) -> Treatment:
        return made(f"temperature {factor}", "tdas", tdas.FilterSpec("dct", np.full(SHAPE[1:], factor)))

    return {
        "white": partial(made, "white"),
        **{f"temperature {factor}": partial(tempered, factor) for factor in study.temperatures},
        "tdas": partial(calibrated, "tdas"),
        "pds": partial(calibrated, "pds"),
    }


def full_length(solver: str, steps: int) -> Treatment:
    """White noise in many steps, against which the frequency ratio is taken."""
    if solver == "ddpm":
        return Treatment("full", gs.demo.embedded(), _ancestral(steps))
    model = gs.demo.embedded(schedule=gs.schedules.ve())
    return Treatment("full", model, _corrected(model, steps, None))


def _ancestral(nfe: int) -> Plan:
    return gs.make_plan("ddpm", gs.demo.embedded().schedule, nfe, grid="uniform_t")


def _corrected(model: gs.models.Model, steps: int, mode: str | None) -> Plan:
    return gs.make_plan("predictor_corrector", model.schedule, 2 * steps, grid="log_snr", options={"filter": mode})


def _numbers(filters: tdas.FilterSpec | tdas.NoiseGains) -> bytes:
    arrays = (
        [filters.bank]
        if isinstance(filters, tdas.NoiseGains)
        else [filters.frequency, *([] if filters.space is None else [filters.space])]
    )
    return filters.transform.encode() + b"".join(array.tobytes() for array in arrays)


def _key(plan: Plan, *others: bytes) -> str:
    weights = (value.cpu().numpy().tobytes() for value in gs.demo.embedded().network.state_dict().values())  # type: ignore[union-attr]
    return digest(plan.to_json().encode(), *others, *weights)
