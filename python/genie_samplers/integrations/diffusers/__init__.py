"""Schedulers for the pipelines of diffusers: ``pipe.scheduler = X.from_config(pipe.scheduler.config)``.

Import this before ``from_pretrained`` of a pipeline that was saved with one of them.
"""

from .classic import (
    DDIMScheduler,
    DDPMScheduler,
    DEISScheduler,
    DPMSolverMultistepScheduler,
    IPNDMScheduler,
    PNDMScheduler,
    UniPCScheduler,
)
from .flow import FlowMatchScheduler
from .genie import GENIEScheduler
from .plan import PlanScheduler
from .sample import sample
from .scheduler import PlanBasedScheduler
from .sigma_space import EulerScheduler, HeunScheduler

__all__ = [
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISScheduler",
    "DPMSolverMultistepScheduler",
    "EulerScheduler",
    "FlowMatchScheduler",
    "GENIEScheduler",
    "HeunScheduler",
    "IPNDMScheduler",
    "PNDMScheduler",
    "PlanBasedScheduler",
    "PlanScheduler",
    "UniPCScheduler",
    "sample",
]
