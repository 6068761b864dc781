"""Networks as the sampler sees them."""

from . import guidance
from .contract import Label, Model, as_model
from .folder import NetworkFolder, read_folder, write_description
from .foreign import edm, flow_matching, from_diffusers, torchcfm
from .load import class_count, load
from .transformers import TRANSFORMERS, Adapter, pack, transformer, unpack
from .wrap import INPUTS, LABELS, WrappedModel, wrap

__all__ = [
    "INPUTS",
    "LABELS",
    "TRANSFORMERS",
    "Adapter",
    "Label",
    "Model",
    "NetworkFolder",
    "WrappedModel",
    "as_model",
    "class_count",
    "edm",
    "flow_matching",
    "from_diffusers",
    "guidance",
    "load",
    "pack",
    "read_folder",
    "torchcfm",
    "transformer",
    "unpack",
    "wrap",
    "write_description",
]
