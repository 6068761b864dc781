"""What a scheduler of diffusers really does with its configuration, what is wrong with it, and what replaces it.

Nothing of diffusers or torch is imported: the classes are modelled, and compared with diffusers 0.42.1 in the tests.
"""

from .examine import examine
from .report import Finding, Report
from .settings import READ

__all__ = ["READ", "Finding", "Report", "examine"]
