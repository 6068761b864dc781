"""genie_ext: fused ops for diffusion samplers. Tensors in, tensors out; it knows nothing of diffusion.

Each op has one definition in plain torch (``reference``) and native versions (``cpu``, ``cuda``, ``triton``) with the
same bits.
"""

from . import _schema  # noqa: F401  registers the ops with torch.library
from ._autograd import wants_gradients
from ._checks import memory_of
from ._dispatch import available_backends, backends, use_backend
from ._prepare import prepare, prepare_rows, reuse_key
from ._torch_private import all_times_written, in_function_transform, times_written
from .ops.fused_step import StepResult, fused_step
from .ops.fused_step.columns import column_names, row_columns
from .ops.fused_step.contract import FusedStepCall
from .ops.fused_step.rows import PreparedRows, StepRows
from .ops.jvp_distill_loss import jvp_distill_loss
from .ops.noise import Noise
from .ops.normal_fill import normal_fill
from .ops.normal_fill.contract import NormalFillCall
from .ops.normal_fill.uniform import uniform_fill
from .ops.prepared import Prepared
from .ops.slots import SLOT
from .ops.spectral_filter import SpectralFilter, spectral_filter
from .ops.sum_of_squares import sum_of_squares

__all__ = [
    "SLOT",
    "FusedStepCall",
    "Noise",
    "NormalFillCall",
    "Prepared",
    "PreparedRows",
    "SpectralFilter",
    "StepResult",
    "StepRows",
    "all_times_written",
    "available_backends",
    "backends",
    "column_names",
    "fused_step",
    "in_function_transform",
    "jvp_distill_loss",
    "memory_of",
    "normal_fill",
    "prepare",
    "prepare_rows",
    "reuse_key",
    "row_columns",
    "spectral_filter",
    "sum_of_squares",
    "times_written",
    "uniform_fill",
    "use_backend",
    "wants_gradients",
]
__version__ = "0.1.0"
