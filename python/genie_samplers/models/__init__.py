"""Networks as the sampler sees them."""

from . import guidance
from .calibrated import PLANS_FOLDER, CalibratedPlans
from .contract import Label, Model, as_model
from .fingerprint import network_fingerprint
from .folder import NetworkFolder, read_folder, write_description
from .foreign import edm, flow_matching, from_diffusers, torchcfm
from .load import class_count, load
from .transformers import TRANSFORMERS, Adapter, pack, transformer, unpack
from .wrap import INPUTS, LABELS, WrappedModel, wrap

__all__ = [
    "INPUTS",
    "LABELS",
    "PLANS_FOLDER",
    "TRANSFORMERS",
    "Adapter",
    "CalibratedPlans",
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
    "network_fingerprint",
    "pack",
    "read_folder",
    "torchcfm",
    "transformer",
    "unpack",
    "wrap",
    "write_description",
]
