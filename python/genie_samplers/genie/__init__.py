"""GENIE: solvers' second derivative, exact by differentiating the network, or predicted by a distilled head."""

from ..flow.total_derivative import TotalDerivative, coefficients_at, differentiate, total_derivative
from ..forward_mode.jvp_safe import jvp_safe
from ..forward_mode.linearize import Linearized, linearize
from .diagnose import diagnose
from .diagnosis import Diagnosis
from .distillation.card import card
from .distillation.data import Data
from .distillation.distill import Distiller, DistillOptions, targets_of
from .distillation.memory import bytes_per_sample
from .distillation.report import HeadReport, report
from .distillation.step_targets import StepTargets
from .distillation.targets import PointwiseTargets
from .exact import exact
from .heads.correction import CorrectionConfig, CorrectionHead
from .heads.files import load_head, save_head
from .heads.head import GenieHead, HeadConfig
from .heads.headed import HeadedModel, with_head
from .plan_search import candidates, measure

__all__ = [
    "CorrectionConfig",
    "CorrectionHead",
    "Data",
    "Diagnosis",
    "DistillOptions",
    "Distiller",
    "GenieHead",
    "HeadConfig",
    "HeadReport",
    "HeadedModel",
    "Linearized",
    "PointwiseTargets",
    "StepTargets",
    "TotalDerivative",
    "bytes_per_sample",
    "candidates",
    "card",
    "coefficients_at",
    "diagnose",
    "differentiate",
    "exact",
    "jvp_safe",
    "linearize",
    "load_head",
    "measure",
    "report",
    "save_head",
    "targets_of",
    "total_derivative",
    "with_head",
]
