"""A training run that may be killed at any time: every step is a function of (options, step), and it resumes."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ._arguments import integer, real
from .files import (
    Tensors,
    clear_partials,
    open_tensors,
    replacing,
    require,
    shapes_of_module,
    write_rows,
    write_tensors,
)
from .plotting import plain_ticks
from .run.progress import progress_bar

__all__ = ["LOSS_WINDOW", "RunOptions", "TrainingRun", "loss_curve", "own_generator", "plot_loss"]

LOSS_WINDOW = 100
_FIX = "restore it, or remove it to begin anew"
_NETWORK, _AVERAGE, _OPTIMIZER, _LOSSES, _RUN = "network.", "average.", "optimizer.", "losses", "run"
_FURTHER = "further."


@dataclass(frozen=True)
class RunOptions:
    """What every run decides: its learning rate warms up, stays, and falls linearly over the last decay_fraction.

    ValueError or TypeError for numbers that make no run.
    """

    steps: int
    learning_rate: float
    warmup_steps: int
    decay_fraction: float
    ema_decay: float
    seed: int = 0
    save_every: int = 100

    def __post_init__(self) -> None:
        for name in ("steps", "seed"):
            integer(getattr(self, name), name, least=0)
        for name in ("warmup_steps", "save_every"):
            integer(getattr(self, name), name, least=1)
        if not 0.0 < real(self.learning_rate, "learning_rate") < math.inf:
            raise ValueError(f"learning_rate={self.learning_rate}: give a finite number > 0")
        for name in ("decay_fraction", "ema_decay"):
            if not 0.0 <= real(getattr(self, name), name) <= 1.0:
                raise ValueError(f"{name}={getattr(self, name)}: give a number in 0..1")

    def rate(self, step: int) -> float:
        """Learning rate of a step: warm-up, plateau, linear decay to zero."""
        left = (self.steps - step) / max(1.0, self.decay_fraction * self.steps)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup_steps, left)


class TrainingRun(ABC):
    """Network, its moving average and the optimiser; ``folder`` holds the checkpoint and the loss curve.

    A checkpoint in ``folder`` is resumed: ``options.steps`` and ``save_every`` may differ from those it was made with,
    any other difference is a ValueError, and so is a loss that is not finite. Options named in ``inherited`` are the
    checkpoint's where they are None; ``later`` are options that older checkpoints lack, with what these were made with.
    folder: None keeps nothing. ``writes``: whether this process writes the files (one of several does).
    """

    may_change: ClassVar[frozenset[str]] = frozenset({"steps", "save_every"})
    inherited: ClassVar[frozenset[str]] = frozenset()
    later: ClassVar[Mapping[str, object]] = {}

    def __init__(
        self,
        folder: Path | None,
        options: RunOptions,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        writes: bool = True,
    ) -> None:
        self.folder, self.options, self.network, self.optimizer = folder, options, network, optimizer
        self.average: dict[str, Tensor] = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.step = 0
        self.losses: list[float] = []
        self.writes = writes
        self.show: bool | None = None  # the bar; None: on a terminal only
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if writes:
            clear_partials(self.checkpoint)
            clear_partials(self.loss_table)
        if self.checkpoint.exists():
            self._load()

    @property
    def checkpoint(self) -> Path:
        return self._in_folder("checkpoint.safetensors")

    @property
    def loss_table(self) -> Path:
        return self._in_folder("loss.csv")

    def _in_folder(self, name: str) -> Path:
        if self.folder is None:
            raise ValueError("folder: None, so this run keeps no files; give one")
        return self.folder / name

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @abstractmethod
    def take_step(self) -> float:
        """Step number ``self.step``; returns its loss."""

    def run(self, *, until: int | None = None) -> None:
        """Train to step ``until`` (``options.steps`` by default), saving now and then; a bar shows the recent loss."""
        end = self.options.steps if until is None else min(until, self.options.steps)
        with progress_bar(
            self.options.steps, show=self.show if self.writes else False, unit="step", done=self.step, leave=True
        ) as bar:
            while self.step < end and not self.finished:
                self.losses.append(self._checked(self.take_step()))
                self.step += 1
                bar.update()
                if self.step % 10 == 0:
                    bar.set_postfix(**self.shown())
                if self.step % self.options.save_every == 0:
                    self.save()
        self.save()

    @property
    def finished(self) -> bool:
        """Whether no further step would be of use."""
        return False

    def shown(self) -> dict[str, str]:
        """What the bar says."""
        return {"loss": f"{np.mean(self.losses[-LOSS_WINDOW:]):.4f}"}

    def further(self) -> dict[str, Tensor]:
        """What the run remembers beside network, average and optimiser, by name; kept in the checkpoint."""
        return {}

    def take_further(self, tensors: Mapping[str, Tensor]) -> None:  # noqa: B027  there may be nothing further
        """Read :meth:`further` of the checkpoint."""

    def _checked(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise ValueError(
                f"{self.folder or 'run'}: the loss of step {self.step} is {loss}; nothing of it was saved, train with "
                "a smaller learning_rate in another folder, or on other data"
            )
        return loss

    def descend(self, rate: float) -> None:
        """One step of the optimiser at this learning rate, gradients clipped to norm 1, and of the moving average."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._average_weights()

    @torch.no_grad()
    def _average_weights(self) -> None:
        decay = min(self.options.ema_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1.0 - decay)

    def save(self) -> None:
        """Write the checkpoint, and the loss curve beside it, each whole or not at all. Needs safetensors."""
        if not self.writes or self.folder is None:
            return
        tensors = {_LOSSES: torch.tensor(self.losses, dtype=torch.float64)}
        for prefix, values in ((_NETWORK, self.network.state_dict()), (_AVERAGE, self.average)):
            tensors |= {prefix + name: value for name, value in values.items()}
        tensors |= {_OPTIMIZER + name: value for name, value in _optimizer_tensors(self.optimizer)}
        tensors |= {_FURTHER + name: value for name, value in self.further().items()}
        run = {"step": self.step, "options": asdict(self.options), "optimizer": _optimizer_settings(self.optimizer)}
        write_tensors(self.checkpoint, tensors, {_RUN: run})
        write_rows(self.loss_table, [("step", "loss"), *((n, f"{m:.5f}") for n, m in loss_curve(self.losses))])

    def _load(self) -> None:
        with open_tensors(self.checkpoint, _FIX) as file:
            run = file.object(_RUN)
            options, step = run.get("options"), run.get("step")
            if not isinstance(options, dict) or type(step) is not int or file.shapes.get(_LOSSES) != (step,):
                raise ValueError(f"{self.checkpoint}: holds no step with its options and losses; {_FIX}")
            options = {**self.later, **options}
            open_ones = {name for name in self.inherited if getattr(self.options, name) is None} & options.keys()
            self.options = replace(self.options, **{name: options[name] for name in open_ones})
            self._check_same_run({**options, "optimizer": run.get("optimizer")})
            expected = shapes_of_module(self.network)
            for prefix in (_NETWORK, _AVERAGE):
                file.check(expected, prefix)
            state = _optimizer_state(file, self.optimizer)
            known = (_LOSSES, _NETWORK, _AVERAGE, _OPTIMIZER, *(_FURTHER + name for name in self.further()))
            if foreign := [name for name in file.shapes if not name.startswith(known)]:
                raise ValueError(f"{self.checkpoint}: {foreign[0]} is unexpected; {_FIX}")
            network, average = (_part(file, prefix, self.average) for prefix in (_NETWORK, _AVERAGE))
            losses = file.read([_LOSSES])[_LOSSES].tolist()
            further = {name: file.read([_FURTHER + name])[_FURTHER + name] for name in self.further()}
        self.network.load_state_dict(network)
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.average = {name: value.to(self.device) for name, value in average.items()}
        self.step, self.losses = step, losses
        self.take_further(further)

    def _check_same_run(self, saved: Mapping[str, object]) -> None:
        """ValueError where the checkpoint's options, or its optimiser, are not ours."""
        ours = {**asdict(self.options), "optimizer": _optimizer_settings(self.optimizer)}
        given = json.loads(json.dumps(ours))
        names = [key for key in {**given, **saved} if key not in self.may_change]
        if changed := [key for key in names if saved.get(key) != given.get(key)]:
            differences = ", ".join(f"{key}={given.get(key)!r} (checkpoint: {saved.get(key)!r})" for key in changed)
            raise ValueError(f"{self.checkpoint}: {differences}; resume with the same or take another folder")


@contextmanager
def own_generator(seed: int) -> Iterator[None]:
    """Inside, torch draws on the CPU as after ``torch.manual_seed(seed)``; afterwards its generator is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _optimizer_settings(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """JSON: its kind and what it was made with but the learning rate, which every step sets."""
    fixed = [{k: v for k, v in group.items() if k not in ("lr", "params")} for group in optimizer.param_groups]
    return {"kind": type(optimizer).__name__, "groups": fixed}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """What it remembers of each parameter, as (number of the parameter).(name)."""
    for number, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            yield f"{number}.{name}", torch.as_tensor(value)


def _optimizer_state(file: Tensors, optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """ValueError where a value belongs to no parameter, or is neither one number nor of its parameter's shape."""
    parameters: Sequence[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    names = [name for name in file.shapes if name.startswith(_OPTIMIZER)]
    for name in names:
        number = name.split(".")[1]
        place = int(number) if number.isdecimal() and len(number) < 9 else len(parameters)
        if place >= len(parameters) or file.shapes[name] not in ((), tuple(parameters[place].shape)):
            raise ValueError(f"{file.path}: {name} of shape {file.shapes[name]} is unexpected; {file.fix}")
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in file.read(names).items():
        _, number, entry = name.split(".", 2)
        state.setdefault(int(number), {})[entry] = value
    if len({frozenset(values) for values in state.values()}) > 1:
        raise ValueError(f"{file.path}: remembers other things of one parameter than of another; {file.fix}")
    return state


def _part(file: Tensors, prefix: str, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of this prefix; ValueError where one has another dtype than its namesake in ``like``."""
    found = {name: file.read([prefix + name])[prefix + name] for name in like}
    for name, value in found.items():
        if value.dtype != like[name].dtype:
            raise ValueError(f"{file.path}: {prefix}{name} is {value.dtype}, not {like[name].dtype}; {file.fix}")
    return found


def loss_curve(losses: list[float]) -> list[tuple[int, float]]:
    """(step, mean loss of the last 100 steps) every 100 steps."""
    ends = range(LOSS_WINDOW, len(losses) + 1, LOSS_WINDOW)
    return [(end, float(np.mean(losses[end - LOSS_WINDOW : end]))) for end in ends]


def plot_loss(losses: list[float], path: Path, ylabel: str) -> None:
    """Needs matplotlib: pip install genie-ext[cli]."""
    require("a picture of the losses", "matplotlib", extra="cli")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(*np.array(loss_curve(losses)).reshape(-1, 2).T)
    axes.set(xlabel="step", ylabel=f"{ylabel}, mean of {LOSS_WINDOW} steps", yscale="log")
    if losses:
        plain_ticks(axes)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=80)
