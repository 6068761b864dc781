"""A network with its GENIE head as one model: what it predicts, and the maps of the head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ... import predictions
from ...models import WrappedModel
from ...plan import Plan
from ..extended import ExtendedModel
from .correction import CorrectionHead
from .features import Features, expand_like, input_scale, step_features
from .files import Head, check_network, load_head
from .head import GenieHead

__all__ = ["CorrectedModel", "HeadedModel", "with_head"]


AnyHead = TypeVar("AnyHead", GenieHead, CorrectionHead)


class HeadedModel(ExtendedModel, Generic[AnyHead]):
    """Made by :func:`with_head`; plans with derivative="head" run it, or "correction" (:class:`CorrectedModel`)."""

    def __init__(self, model: WrappedModel, head: AnyHead) -> None:
        super().__init__(model, head.config.outputs)
        self.head = head

    def label(self, times: NDArray[np.float64]) -> NDArray[np.float64]:  # type: ignore[override]
        """[n, 5]: the network's label, p and q of epsilon = p x + q output, :func:`input_scale`, and gamma; 0 for that
        of pure noise, where no plan reads a head.
        """
        schedule = self.model.schedule
        to_epsilon = predictions.to_epsilon(self.model.outputs[0], schedule, times)
        label = np.asarray(self.model.label(times), dtype=np.float64)
        gamma = schedule.gamma(times)
        finite = np.where(np.isinf(gamma), 0.0, gamma)
        return np.stack([label, *to_epsilon, input_scale(schedule, times), finite], axis=-1)

    def __call__(self, x: Tensor, t: Tensor, *, history: Sequence[Tensor] = (), **cond: Any) -> tuple[Tensor, ...]:
        """x [B, C, H, W], t [B, 5 or more] -> the network's prediction and the head's maps, of its dtype, like x."""
        if self.count == 1:
            return (self.model(x, t[:, 0], **cond),)
        output, inputs = self.evaluate(x, t, history, **cond)
        maps = self.head(*inputs)
        return (output, *maps.chunk(3, dim=1))[: self.count]

    def evaluate(
        self, x: Tensor, t: Tensor, history: Sequence[Tensor] = (), **cond: Any
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """The network's prediction, and what the head is given: its arguments, in its dtype."""
        with self.head.config.captured(self.model.network) as features:
            output = self.model(x, t[:, 0], **cond)
        return output, self.head_inputs(x, t, output, features, history)

    def head_inputs(
        self, x: Tensor, t: Tensor, output: Tensor, features: Features, history: Sequence[Tensor] = ()
    ) -> tuple[Any, ...]:
        """What the head is given where the network has run: ``output`` of x, with these features."""
        p, q, scale = t[:, 1:4].unbind(1)
        epsilon = expand_like(p, x) * x + expand_like(q, x) * output  # float32 where x is less: p and q may be large
        return self._head_inputs(expand_like(scale, x) * x, epsilon, features, t[:, 4:], history)

    @abstractmethod
    def _head_inputs(
        self, x: Tensor, epsilon: Tensor, features: Features, step: Tensor, history: Sequence[Tensor]
    ) -> tuple[Any, ...]:
        """x: of unit size. step: [B, ...], the columns of the label after those of x and epsilon."""


class PointwiseModel(HeadedModel[GenieHead]):
    """With a head of the derivative itself."""

    def _head_inputs(
        self, x: Tensor, epsilon: Tensor, features: Features, step: Tensor, history: Sequence[Tensor]
    ) -> tuple[Any, ...]:
        inputs = (x, epsilon, features.last, features.embedding, step[:, 0])
        return tuple(v.to(self.head.conv_in.weight.dtype) for v in inputs)


class CorrectedModel(HeadedModel[CorrectionHead]):
    """With a head of corrections, which reads the earlier predictions that the row of the plan reads."""

    reads_history = True

    def labels(self, plan: Plan) -> NDArray[np.float64]:
        """[rows, 6 + memory]: as of ``label``, with the columns of :func:`step_features` for gamma."""
        labels = self.label(np.asarray(plan.times))
        if self.count == 1:
            return labels
        return np.concatenate([labels[:, :4], step_features(plan, self.head.config.memory)], axis=1)

    def _head_inputs(
        self, x: Tensor, epsilon: Tensor, features: Features, step: Tensor, history: Sequence[Tensor]
    ) -> tuple[Any, ...]:
        x, epsilon, last, step, *earlier = (
            v.to(self.head.conv_in.weight.dtype) for v in (x, epsilon, features.last, step, *history)
        )
        return x, epsilon, earlier, last, step


def with_head(model: WrappedModel, head: Head | Path | str) -> HeadedModel:
    """The model with its head: an instance, or the folder of one (``genie_head`` beside the network's files).

    Use it with a plan of derivative="correction" for a head of corrections, else "head": ``head.config.predicts``.
    Raises ValueError where folder or layers are missing, or sizes, prediction, schedule or labels disagree.
    """
    if not isinstance(model, WrappedModel) or not isinstance(model.network, nn.Module):
        raise TypeError(f"model: {type(model).__name__}; give models.wrap(network, ...) of a torch.nn.Module")
    loaded = head if isinstance(head, Head) else load_head(head)
    if not isinstance(head, Head):
        check_network(head, model)
    loaded.config.check_fits(model.network)
    where = model.device or "cpu"
    return (
        PointwiseModel(model, loaded.to(where))
        if isinstance(loaded, GenieHead)
        else CorrectedModel(model, loaded.to(where))
    )
