"""What the schedulers of diffusers make of Gaussian data, in float64: their formulas on one number per mode.

Every state is a multiple of the latent, or a deviation where noise is drawn, so that a run is a few hundred products.
The network is exact for the time that it is told, which need not be the time of the state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..numerics import epsilon_weights
from ..schedules import EDM, Schedule
from ..solvers.exact_data import Answer, Marginal, prediction_of
from .settings import Settings
from .steps import Steps

__all__ = ["emulated"]

Array = NDArray[np.float64]
_PREDICTIONS = {"epsilon": "epsilon", "sample": "x0", "v_prediction": "v", "flow_prediction": "flow"}
_FEW = 15  # steps below which lower_order_final acts
_AB = {1: (1.0,), 2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)}


@dataclass(frozen=True)
class _Scene:
    """A scheduler at work: levels of the state, and an exact network for data of these variances."""

    settings: Settings
    schedule: Schedule
    steps: Steps
    variances: Array

    def level(self, sigma: float) -> Marginal:
        """alpha and sigma of a state of this noise level."""
        if self.settings.flow:
            return Marginal(1.0 - sigma, sigma)
        if math.isinf(sigma):
            return Marginal(0.0, 1.0)
        return Marginal(1.0 / math.hypot(1.0, sigma), sigma / math.hypot(1.0, sigma))

    def told(self, n: int) -> Marginal:
        """Where the network believes to be."""
        time = float(self.steps.asked[n])
        if self.settings.flow:
            return self.level(min(time / self.settings.train_steps, 1.0))
        return Marginal.at(self.schedule, min(max(time, 0.0), self.schedule.t_max))

    def output(self, n: int, x: Array) -> Array:
        """Of the network at evaluation n."""
        told = self.told(n)
        share = x / (told.alpha**2 * self.variances + told.sigma**2)
        return prediction_of(self.prediction, told, Answer(told.sigma * share, told.alpha * self.variances * share))

    def read(self, out: Array, x: Array, at: Marginal) -> Answer:
        """epsilon and x_0 that the scheduler reads from an output for a state at the level ``at``."""
        alpha, sigma = np.float64(at.alpha), np.float64(at.sigma)
        if self.prediction == "epsilon":
            return Answer(out, (x - sigma * out) / alpha)
        if self.prediction == "x0":
            return Answer((x - alpha * out) / sigma, out)
        if self.prediction == "v":
            return Answer(alpha * out + sigma * x, alpha * x - sigma * out)
        x0 = x - sigma * out
        return Answer(x0 + out, x0)

    def answer(self, n: int, x: Array, at: Marginal) -> Answer:
        return self.read(self.output(n, x), x, at)

    @property
    def prediction(self) -> str:
        return _PREDICTIONS[self.settings["prediction_type"]]


def emulated(settings: Settings, schedule: Schedule, steps: Steps, variances: Array) -> Array | None:
    """The deviation of the result for each variance, signed where no noise is drawn; None for what is not modelled."""
    run = _method(settings)
    if run is None:
        return None
    scene = _Scene(settings, schedule, steps, variances)
    with np.errstate(all="ignore"):
        return run(scene, np.ones_like(variances))


def _method(settings: Settings) -> Callable[[_Scene, Array], Array] | None:
    name = settings.name
    if name == "DPMSolverMultistep" and settings["algorithm_type"] not in ("dpmsolver++", "deis"):
        return None
    if name == "UniPCMultistep" and not settings["predict_x0"]:
        return None
    if name == "PNDM" and not settings["skip_prk_steps"]:
        return None
    if name == "DDPM" and settings["variance_type"] not in ("fixed_small", "fixed_small_log"):
        return None
    return {
        "DDIM": _first_order, "EulerDiscrete": _first_order, "FlowMatchEulerDiscrete": _flow_euler, "DDPM": _ancestral,
        "EulerAncestralDiscrete": _ancestral, "HeunDiscrete": _heun, "PNDM": _plms, "DEISMultistep": _deis,
        "DPMSolverMultistep": _dpm_solver, "UniPCMultistep": _unipc,
    }[name]  # fmt: skip


def _first_order(scene: _Scene, x: Array) -> Array:
    for n in range(scene.steps.count):
        answer = scene.answer(n, x, scene.level(scene.steps.sigmas[n]))
        after = scene.level(scene.steps.next_sigmas[n])
        x = after.alpha * answer.x0 + after.sigma * answer.epsilon
    return x


def _flow_euler(scene: _Scene, x: Array) -> Array:
    if not scene.settings["stochastic_sampling"]:
        return _first_order(scene, x)
    for n in range(scene.steps.count):
        after = scene.level(scene.steps.next_sigmas[n])
        x = np.hypot(after.alpha * scene.answer(n, x, scene.level(scene.steps.sigmas[n])).x0, after.sigma)
    return x


def _ancestral(scene: _Scene, x: Array) -> Array:
    """x is a deviation: DDPM's posterior, which is Euler's ancestral step in other symbols."""
    for n in range(scene.steps.count):
        now, then = np.float64(scene.steps.sigmas[n]), np.float64(scene.steps.next_sigmas[n])
        up = then if math.isinf(now) else np.sqrt(then**2 * (now**2 - then**2) / now**2)
        down, after = np.sqrt(np.maximum(then**2 - up**2, 0.0)), scene.level(float(then))
        answer = scene.answer(n, x, scene.level(float(now)))
        x = np.hypot(after.alpha * (answer.x0 + down * answer.epsilon), after.alpha * up)
    return x


def _heun(scene: _Scene, x: Array) -> Array:
    for n in range(scene.steps.count):
        now, after = scene.level(scene.steps.sigmas[n]), scene.level(scene.steps.next_sigmas[n])
        first = scene.answer(n, x, now)
        y, change = x / now.alpha, scene.steps.next_sigmas[n] - scene.steps.sigmas[n]
        end = after.alpha * (y + change * first.epsilon)
        if n + 1 < scene.steps.count:
            second = scene.answer(n + 1, end, after)
            end = after.alpha * (y + change * 0.5 * (first.epsilon + second.epsilon))
        x = end
    return x


def _plms(scene: _Scene, x: Array) -> Array:
    """PNDM with ``skip_prk_steps``: the first step is made twice, the second time with the mean of two outputs.

    That one leads to the second time of the list, from T // N above it.
    """
    known: list[Array] = []
    for n in range(scene.steps.count):
        now, after = scene.level(scene.steps.sigmas[n]), scene.level(scene.steps.next_sigmas[n])
        known.insert(0, scene.output(n, x))
        if n == 0 and scene.steps.count > 1:
            ahead = _with_epsilon(x, scene.read(known[0], x, now).epsilon, now, after)
            mean = 0.5 * (known[0] + scene.output(1, ahead))
            second, size = float(scene.steps.asked[1]), scene.settings.train_steps
            now = Marginal.at(scene.schedule, min(second + size // scene.steps.count, scene.schedule.t_max))
            x = _with_epsilon(x, scene.read(mean, x, now).epsilon, now, Marginal.at(scene.schedule, second))
            continue
        out = sum((w * e for w, e in zip(_AB[min(n + 1, 4)], known, strict=False)), start=0.0 * x)
        x = _with_epsilon(x, scene.read(out, x, now).epsilon, now, after)
    return x


def _with_epsilon(x: Array, epsilon: Array, now: Marginal, after: Marginal) -> Array:
    return after.alpha * (x - now.sigma * epsilon) / np.float64(now.alpha) + after.sigma * epsilon


def _orders(scene: _Scene) -> list[int]:
    """The order of each step of the multistep classes."""
    settings, count = scene.settings, scene.steps.count
    unipc, final = settings.name == "UniPCMultistep", bool(settings["lower_order_final"])
    few = final and (unipc or count < _FEW)
    euler_last = not unipc and (
        bool(settings.values.get("euler_at_final")) or settings.values.get("final_sigmas_type") == "zero"
    )
    orders = [min(int(settings["solver_order"]), n + 1) for n in range(count)]
    orders = [min(order, count - n) if few else order for n, order in enumerate(orders)]
    return [*orders[:-1], 1] if euler_last else orders


def _deis(scene: _Scene, x: Array) -> Array:
    """Polynomials in log sigma through the noise predictions, integrated exactly."""
    sigmas, known = scene.steps.sigmas, list[Array]()
    rho = sigmas / (1.0 - sigmas) if scene.settings.flow else sigmas
    exact = EDM(float(rho[rho > 0.0].min()) / 2.0, float(rho.max()))
    for n, order in enumerate(_orders(scene)):
        now, after = scene.level(sigmas[n]), scene.level(sigmas[n + 1])
        known.insert(0, scene.answer(n, x, now).epsilon)
        if rho[n + 1] == rho[n]:
            continue  # the repeated last level: nothing moves
        nodes = rho[n - order + 1 : n + 1][::-1]
        if len(set(nodes.tolist())) < len(nodes):
            return np.full_like(x, np.nan)
        weights = epsilon_weights(exact, nodes, float(rho[n + 1]), variable="log_gamma")
        x = after.alpha * (x / now.alpha + sum(w * e for w, e in zip(weights, known, strict=False)))
    return x


def _dpm_solver(scene: _Scene, x: Array) -> Array:
    sigmas, known = scene.steps.sigmas, list[Array]()
    levels = [scene.level(sigma) for sigma in sigmas]
    lam = np.array([np.log(np.float64(at.alpha) / np.float64(at.sigma)) for at in levels])
    heun = scene.settings["solver_type"] == "heun"
    for n, order in enumerate(_orders(scene)):
        now, after, h = levels[n], levels[n + 1], lam[n + 1] - lam[n]
        known.insert(0, scene.answer(n, x, now).x0)
        phi = np.expm1(-h)
        x = after.sigma / now.sigma * x - after.alpha * phi * known[0]
        if order == 1:
            continue
        r0 = (lam[n] - lam[n - 1]) / h
        d1 = (known[0] - known[1]) / r0
        if order == 3:
            r1 = (lam[n - 1] - lam[n - 2]) / h
            bend = d1 - (known[1] - known[2]) / r1
            d1 = d1 + r0 / (r0 + r1) * bend
            x = x - after.alpha * ((phi + h) / h**2 - 0.5) * bend / (r0 + r1)
        x = x + (phi / h + 1.0 if heun or order == 3 else -0.5 * phi) * after.alpha * d1
    return x


def _unipc(scene: _Scene, x: Array) -> Array:
    sigmas, known, before = scene.steps.sigmas, list[Array](), x
    levels = [scene.level(sigma) for sigma in sigmas]
    lam = np.array([np.log(np.float64(at.alpha) / np.float64(at.sigma)) for at in levels])
    orders = _orders(scene)
    for n, order in enumerate(orders):
        newest = scene.answer(n, x, levels[n]).x0
        if n > 0 and n - 1 not in scene.settings["disable_corrector"]:
            x = _unified(scene, before, [newest, *known], levels, lam, n - 1, orders[n - 1], corrects=True)
        known.insert(0, newest)
        before = x
        x = _unified(scene, x, known, levels, lam, n, order, corrects=False)
    return x


def _unified(
    scene: _Scene, x: Array, known: list[Array], levels: list[Marginal], lam: Array, n: int, order: int,
    *, corrects: bool,
) -> Array:  # fmt: skip
    """UniPC's step from level n to n + 1, by ``known``, newest first; the corrector knows the output there, too."""
    now, after, h = levels[n], levels[n + 1], lam[n + 1] - lam[n]
    ahead, own = (known[0], known[1:]) if corrects else (None, known)
    phi = np.expm1(-h)
    x = after.sigma / now.sigma * x - after.alpha * phi * own[0]
    b_h = -h if scene.settings["solver_type"] == "bh1" else phi
    if order == 1 and ahead is None:
        return x - after.alpha * b_h * 0.0  # infinite for bh1 in a step to sigma = 0, as there
    r = np.array([(lam[n - i] - lam[n]) / h for i in range(1, order)] + [1.0])
    differences = [(own[i] - own[0]) / r[i - 1] for i in range(1, order)]
    rho = _solved(r, -h, b_h, order, corrects=corrects)
    if ahead is not None:
        differences.append(ahead - own[0])
    return x - after.alpha * b_h * sum(w * d for w, d in zip(rho, differences, strict=False))


def _solved(r: Array, hh: float, b_h: float, order: int, *, corrects: bool) -> Array:
    if (corrects and order == 1) or (not corrects and order == 2):
        return np.array([0.5])
    phi_k, factorial, b = np.expm1(hh) / hh - 1.0, 1.0, []
    for i in range(1, order + 1):
        b.append(phi_k * factorial / b_h)
        factorial *= i + 1
        phi_k = phi_k / hh - 1.0 / factorial
    rows = np.array([r ** (i - 1) for i in range(1, order + 1)])
    size = order if corrects else order - 1
    if not np.isfinite(rows).all() or abs(np.linalg.det(rows[:size, :size])) == 0.0:
        return np.full(size, np.nan)
    return np.asarray(np.linalg.solve(rows[:size, :size], np.array(b[:size])), dtype=np.float64)
