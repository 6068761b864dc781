"""Schedulers for the pipelines of diffusers: ``pipe.scheduler = X.from_config(pipe.scheduler.config)``.

Import this before ``from_pretrained`` of a pipeline that was saved with one of them.
"""

from .classic import (
    DDIMScheduler,
    DDPMScheduler,
    DEISScheduler,
    DPMSolverMultistepScheduler,
    EulerScheduler,
    HeunScheduler,
    IPNDMScheduler,
    PNDMScheduler,
    UniPCScheduler,
)
from .flow import FlowMatchScheduler
from .plan import PlanScheduler
from .scheduler import PlanBasedScheduler

__all__ = [
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISScheduler",
    "DPMSolverMultistepScheduler",
    "EulerScheduler",
    "FlowMatchScheduler",
    "HeunScheduler",
    "IPNDMScheduler",
    "PNDMScheduler",
    "PlanBasedScheduler",
    "PlanScheduler",
    "UniPCScheduler",
]
