"""Networks as the sampler sees them."""

from . import guidance
from .contract import Label, Model, as_model
from .folder import NetworkFolder, read_folder, write_description
from .load import class_count, load
from .wrap import LABELS, WrappedModel, wrap

__all__ = [
    "LABELS",
    "Label",
    "Model",
    "NetworkFolder",
    "WrappedModel",
    "as_model",
    "class_count",
    "guidance",
    "load",
    "read_folder",
    "wrap",
    "write_description",
]
