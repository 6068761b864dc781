"""Networks as the sampler sees them."""

from . import guidance
from .contract import Label, Model, as_model
from .foreign import edm, flow_matching, from_diffusers, torchcfm
from .load import load
from .transformers import TRANSFORMERS, Adapter, pack, transformer, unpack
from .wrap import LABELS, WrappedModel, wrap

__all__ = [
    "LABELS",
    "TRANSFORMERS",
    "Adapter",
    "Label",
    "Model",
    "WrappedModel",
    "as_model",
    "edm",
    "flow_matching",
    "from_diffusers",
    "guidance",
    "load",
    "pack",
    "torchcfm",
    "transformer",
    "unpack",
    "wrap",
]
