"""Networks as the sampler sees them."""

from . import guidance
from .contract import Label, Model, as_model
from .load import load
from .wrap import LABELS, WrappedModel, wrap

__all__ = ["LABELS", "Label", "Model", "WrappedModel", "as_model", "guidance", "load", "wrap"]
