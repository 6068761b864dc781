"""A filter made once and run any number of times."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..._autograd import check_differentiable, mark_written, wants_gradients
from ..._checks import check_integer, check_optional_tensor, check_tensor
from ..._dispatch import requested, resolve
from ..noise import Noise, check_noise_types
from ..normal_fill import normal_fill
from ..rounding import round_to
from . import reference
from .contract import SpectralFilterCall, check, check_filter
from .parts import make_parts

__all__ = ["Method", "SpectralFilter", "Transform"]

Transform = Literal["dct", "dft"]
Method = Literal["products", "fft"]


class SpectralFilter:
    """B z = T^-1[R . T[A . z]] per channel, T an orthogonal transform of the last two axes; or a bank of them.

    frequency: R, [H, W], [C, H, W] or a bank [n, C, H, W] where C may be 1; space: A, [H, W] or [C, H, W], None for
        ones; both any float dtype, positive and finite (0 too in a bank: gains), copied. T is the orthonormal DCT-II
        ("dct") or the DFT ("dft", R in the order of torch.fft.fft2, the real part of the result, so that R counts as
        (R(w, h) + R(-w, -h)) / 2).
    skip_forward: z is taken for T[z], so B z = A . T^-1[R . z]; of standard normals the same law at half the cost, but
        another image. Needs an A that is constant per channel; for "dft" T is the Hartley transform.
    method: "products" of matrices, on the CPU and for an R that is even in each axis where T is the DFT, or "fft"; None
        takes the one that was measured to be faster for such sizes. Their results differ by rounding.
    dtype: torch.float32 or torch.float64, in which is computed; a z of 16 bits is widened and its result rounded once.
    device: of the tensors to filter, by default that of ``frequency``. backend: as for the ops, of each call.

    An image's bits depend on it and the filter alone: not on the batch, nor on the number of threads. A filter of ones
    gives back the bits of z. Immutable; it may be copied, pickled and run by several threads at once. In
    torch.compile a call is one node of the graph, which prepares the filter in each run.
    Raises ValueError or TypeError naming the argument.
    """

    __slots__ = ("_backend", "_frequency", "_parts", "_space")

    def __init__(
        self,
        frequency: Tensor,
        space: Tensor | None = None,
        *,
        transform: Transform = "dct",
        skip_forward: bool = False,
        method: Method | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        backend: str | None = None,
    ) -> None:
        check_tensor("frequency", frequency)
        check_optional_tensor("space", space)
        check_filter(frequency, space, transform, skip_forward)
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(f"dtype: {dtype}; choose torch.float32, which serves 16 bits too, or torch.float64")
        if method not in (None, "products", "fft"):
            raise ValueError(f"method={method!r}; choose 'products', 'fft' or None, which takes the faster one")
        requested(backend)
        target = _indexed(torch.device(frequency.device if device is None else device))
        frequency = frequency.detach().to("cpu", torch.float64)
        bank = frequency.reshape(-1 if frequency.ndim == 4 else 1, *_image_shape(frequency))
        if space is not None:
            space = space.detach().to("cpu", torch.float64).reshape(_image_shape(space))
        self._backend = backend
        self._frequency, self._space = bank, space
        self._parts = make_parts(
            bank, space, transform=transform, skip_forward=skip_forward, method=method, dtype=dtype, device=target
        )

    def __len__(self) -> int:
        """How many filters the bank has."""
        return len(self._parts.gains)

    def __repr__(self) -> str:
        height, width = self._parts.size
        return (
            f"SpectralFilter({len(self)} x {height} x {width}, {self._parts.transform}, by {self.method}, "
            f"{self._parts.dtype}, {self._parts.device})"
        )

    @property
    def method(self) -> Method:
        """How it is computed: by 'products' of matrices, with the bits of the reference, or by a library's 'fft'."""
        return "fft" if self._parts.products is None else "products"

    def is_identity(self, index: int = 0) -> bool:
        """Whether filter ``index`` gives back the bits of z."""
        return self._parts.gains[index] is None and self._parts.space is None

    def __call__(self, z: Tensor, out: Tensor | None = None, index: int = 0, adjoint: bool = False) -> Tensor:
        """B z of filter ``index``, or with ``adjoint`` its transpose A . T^-1[R . T[z]].

        z: [B, H, W] or [B, C, H, W], each sample dense in row-major order. out: like z, which it may be, or None to
        allocate; returned. Differentiable by z in both modes where out is None.
        """
        check_tensor("z", z)
        check_optional_tensor("out", out)
        index = check_integer("index", index)
        if torch.compiler.is_compiling():
            return self._node(z, torch.empty_like(z) if out is None else out, index, adjoint)
        if wants_gradients(z):
            check_differentiable("spectral_filter", requested(self._backend), [out])
            call = SpectralFilterCall(z, self._parts, index, adjoint, None, 0, torch.empty_like(z.detach()))
            check(call)
            return reference.filtered(call, differentiable=True)
        if wants_gradients(out):
            raise ValueError("out: requires grad or carries a tangent; use torch.no_grad() or .detach()")
        target = torch.empty_like(z, memory_format=torch.contiguous_format) if out is None else out
        return self._run(SpectralFilterCall(z, self._parts, index, adjoint, None, 0, target))

    def fill(self, out: Tensor, *, noise: Noise, draw: int = 0, index: int = 0) -> Tensor:
        """Fill ``out`` with filtered standard normals, in place, and return it.

        The same as filtering what ``normal_fill`` writes into a tensor of the compute dtype, rounded once to out's.
        """
        check_tensor("out", out)
        noise, draw, index = check_noise_types(noise), check_integer("draw", draw), check_integer("index", index)
        if torch.compiler.is_compiling():
            drawn = normal_fill(torch.empty_like(out, dtype=self._parts.dtype), noise=noise, draw=draw)
            return out.copy_(round_to(self._node(drawn, drawn, index, False), out.dtype))
        if wants_gradients(out):
            raise ValueError("out: requires grad or carries a tangent; use torch.no_grad() or .detach()")
        return self._run(SpectralFilterCall(None, self._parts, index, False, noise, draw, out))

    def _node(self, z: Tensor, out: Tensor, index: int, adjoint: bool) -> Tensor:
        """The call as torch.library has it."""
        torch.ops.genie_ext.spectral_filter(
            z,
            self._frequency,
            self._space,
            self._parts.transform,
            self._parts.skip_forward,
            self.method,
            index,
            adjoint,
            out,
            self._backend,
        )
        return out

    def _run(self, call: SpectralFilterCall) -> Tensor:
        check(call)
        name, run = resolve("spectral_filter", call.out.device, self._backend)
        run(call)
        if name != "reference":
            mark_written(call.out)
        return call.out


def _image_shape(values: Tensor) -> tuple[int, ...]:
    return (values.shape[-3] if values.ndim > 2 else 1, *values.shape[-2:])


def _indexed(device: torch.device) -> torch.device:
    """With the number of the GPU, as tensors have it."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device
