"""GENIE: solvers' second derivative, exact by differentiating the network, or predicted by a distilled head."""

from .candidates import candidates, measure
from .card import card
from .data import Data
from .derivative import TotalDerivative, differentiate, path_on, total_derivative
from .diagnose import diagnose
from .diagnosis import Diagnosis
from .distill import Distiller, DistillOptions, targets_of
from .exact import exact
from .head import GenieHead, HeadConfig, load_head, save_head
from .headed import HeadedModel, embedded, with_head
from .jvp_safe import jvp_safe
from .linearize import Linearized, linearize
from .memory import bytes_per_sample
from .report import HeadReport, report
from .targets import PointwiseTargets, StepTargets

__all__ = [
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
    "diagnose",
    "differentiate",
    "embedded",
    "exact",
    "jvp_safe",
    "linearize",
    "load_head",
    "measure",
    "path_on",
    "report",
    "save_head",
    "targets_of",
    "total_derivative",
    "with_head",
]
