"""The filters that the TDAS paper used (arXiv 2206.04029, tables 4 and 5a)."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

from .._arguments import integer, shown
from .radial import radial_filter
from .spec import FilterSpec

__all__ = ["PUBLISHED", "Zones", "published"]


class Zones(NamedTuple):
    """A three-valued radial filter and what it was made for."""

    network: str
    resolution: int
    transform: str
    lambda1: float
    lambda2: float
    r1: float
    r2: float


def _dft(network: str, n: int, lambda1: float, lambda2: float, r1: float = 0.400, r2: float = 0.455) -> Zones:
    return Zones(network, n, "dft", lambda1, lambda2, r1, r2)


_NCSNPP, _ADDIM = "NCSN++", "Analytic-DDIM"

PUBLISHED: MappingProxyType[tuple[str, int, str], Zones] = MappingProxyType(
    {
        ("cifar10", 200, "dft"): _dft(_NCSNPP, 32, 0.984, 0.967),
        ("cifar10", 166, "dft"): _dft(_NCSNPP, 32, 0.973, 0.945),
        ("cifar10", 142, "dft"): _dft(_NCSNPP, 32, 0.965, 0.932),
        ("cifar10", 125, "dft"): _dft(_NCSNPP, 32, 0.959, 0.929),
        ("cifar10", 111, "dft"): _dft(_NCSNPP, 32, 0.952, 0.901),
        ("cifar10", 100, "dft"): _dft(_NCSNPP, 32, 0.948, 0.895),
        ("cifar10", 50, "dft"): _dft(_NCSNPP, 32, 0.892, 0.798),
        ("celeba", 132, "dft"): _dft(_NCSNPP, 64, 0.877, 0.782, 0.398, 0.456),
        ("lsun_church", 400, "dft"): _dft(_NCSNPP, 256, 0.921, 0.873),
        ("lsun_church", 400, "dct"): Zones(_NCSNPP, 256, "dct", 0.591, 0.511, 0.781, 0.862),
        ("lsun_bedroom", 400, "dft"): _dft(_NCSNPP, 256, 0.907, 0.842),
        ("lsun_bedroom", 400, "dct"): Zones(_NCSNPP, 256, "dct", 0.638, 0.540, 0.770, 0.901),
        ("ffhq", 100, "dft"): _dft(_NCSNPP, 1024, 0.955, 0.878),
        ("celeba_analytic_ddim", 10, "dft"): _dft(_ADDIM, 64, 2.94, 3.04, 0.399),
        ("celeba_analytic_ddim", 25, "dft"): _dft(_ADDIM, 64, 1.70, 1.74, 0.399),
        ("celeba_analytic_ddim", 50, "dft"): _dft(_ADDIM, 64, 1.33, 1.35, 0.399),
        ("celeba_analytic_ddim", 100, "dft"): _dft(_ADDIM, 64, 1.14, 1.16, 0.399),
        ("celeba_analytic_ddim", 200, "dft"): _dft(_ADDIM, 64, 1.05, 1.06, 0.399),
    }
)
"""(data set, iterations, transform) -> zones."""


def published(name: str, *, iterations: int, transform: str = "dft", size: tuple[int, int] | None = None) -> FilterSpec:
    """A filter of the paper, without a space filter.

    name: cifar10, celeba, lsun_church, lsun_bedroom, ffhq (NCSN++), or celeba_analytic_ddim, whose lambdas amplify.
    size: (H, W), the paper's by default: radii are relative, so that a filter may be made for another.
    ValueError that lists what there is.
    """
    iterations = integer(iterations, "iterations", least=1)
    zones = PUBLISHED.get((name, iterations, transform)) if isinstance(name, str) else None
    if zones is None:
        of_name = [key for key in PUBLISHED if key[0] == name] or list(PUBLISHED)
        known = ", ".join(f"{n} {i} {t}" for n, i, t in of_name)
        asked = f"name={shown(name)}, iterations={iterations}, transform={shown(transform)}"
        raise ValueError(f"{asked}: not in the paper; choose one of {known}, or calibrate one with tdas.calibrate")
    frequency = radial_filter(
        size or (zones.resolution, zones.resolution), transform=zones.transform,
        lambda1=zones.lambda1, lambda2=zones.lambda2, r1=zones.r1, r2=zones.r2,
    )  # fmt: skip
    about = {"published": name, "iterations": iterations, **zones._asdict()}
    return FilterSpec(zones.transform, frequency, about=about)
