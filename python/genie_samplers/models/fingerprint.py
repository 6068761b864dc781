"""Which network it was: the weights as one short text, and a question to it as another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from .contract import Model

__all__ = ["network_fingerprint", "question_fingerprint"]


def network_fingerprint(model: Model) -> str | None:
    """SHA-256 of the network's weights by name; None where there are no weights to look at."""
    network = model.network
    if not isinstance(network, nn.Module):
        return None
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def question_fingerprint(*parts: object) -> str:
    """Of values, tensors and containers of them: other texts where the values differ."""
    digest = hashlib.sha256()
    digest.update(_text(parts).encode())
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _text(part: object) -> str:
    if isinstance(part, Mapping):
        return str({key: _text(value) for key, value in part.items()})
    if isinstance(part, list | tuple):
        return str([_text(value) for value in part])
    if isinstance(part, Tensor):
        return f"{part.dtype} {tuple(part.shape)} {hashlib.sha256(_bytes(part)).hexdigest()}"
    return str(np.asarray(part).tolist()) if isinstance(part, np.ndarray) else repr(part)
