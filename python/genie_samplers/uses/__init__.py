"""What samples are used for: encoding, reconstruction, inpainting, interpolation, comparison."""

from .compare import compare
from .encode import encode
from .inpaint import inpaint
from .interpolate import interpolate, slerp_grid
from .reconstruct import reconstruct

__all__ = ["compare", "encode", "inpaint", "interpolate", "reconstruct", "slerp_grid"]
