"""GENIE: solvers' second derivative, exact by differentiating the network, or predicted by a distilled head."""

from ..flow import TotalDerivative, coefficients_at, differentiate, total_derivative
from ..forward_mode import Linearized, jvp_safe, linearize
from .diagnose import WIDTHS, Advice, Diagnosis, diagnose
from .distillation.data import Data
from .distillation.distill import Distiller, DistillOptions, fitting_config, targets_of
from .distillation.memory import bytes_per_sample, fitting_chunk_size
from .distillation.report import HeadReport, card, report
from .distillation.step_targets import StepTargets
from .distillation.targets import PointwiseTargets
from .exact import exact
from .heads.correction import CorrectionConfig, CorrectionHead
from .heads.features import Features, keep_features
from .heads.files import Head, load_head, save_head
from .heads.head import GenieHead, HeadConfig
from .heads.headed import HeadedModel, with_head
from .plan_search import Candidate, Measured, candidates, measure

__all__ = [
    "WIDTHS",
    "Advice",
    "Candidate",
    "CorrectionConfig",
    "CorrectionHead",
    "Data",
    "Diagnosis",
    "DistillOptions",
    "Distiller",
    "Features",
    "GenieHead",
    "Head",
    "HeadConfig",
    "HeadReport",
    "HeadedModel",
    "Linearized",
    "Measured",
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
    "fitting_chunk_size",
    "fitting_config",
    "jvp_safe",
    "keep_features",
    "linearize",
    "load_head",
    "measure",
    "report",
    "save_head",
    "targets_of",
    "total_derivative",
    "with_head",
]
