"""Checks an installed genie-ext: its backend, the normals of every release, samples of a plan. Needs torch alone.

    python scripts/check_installed.py cpu        a wheel with the native core
    python scripts/check_installed.py reference  the pure Python wheel

Run it outside the source tree, which would shadow what is installed.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import torch

import genie_ext
import genie_samplers as gs
from genie_ext.testing import PINNED_NORMALS


def main(backend: str) -> None:
    for package in (genie_ext, gs):
        home = Path(str(package.__file__)).resolve()
        if home.is_relative_to(Path(__file__).resolve().parents[1]):
            raise SystemExit(f"{home} is of the source tree; run this in another folder")
    found = genie_ext.available_backends("normal_fill")
    if backend not in found or (backend == "reference" and "cpu" in found):
        raise SystemExit(f"backends {', '.join(found)}; need {backend}: {genie_ext.backends()['normal_fill']}")
    with genie_ext.use_backend(backend):
        noise = genie_ext.Noise(torch.tensor([5]), torch.tensor([7]), 11)
        normals = genie_ext.normal_fill(torch.empty(1, 2**20), noise=noise, draw=3)
        digest = hashlib.md5(normals.numpy().tobytes()).hexdigest()
        if digest != PINNED_NORMALS:
            raise SystemExit(f"the normals have the digest {digest}, not {PINNED_NORMALS}")
        plan = gs.make_plan("ipndm", gs.schedules.vp_linear(), 5)
        x = gs.sample(lambda x, t: 0.1 * x, plan, shape=(2, 3, 8, 8))
        if not bool(x.isfinite().all()):
            raise SystemExit("a plan made samples that are not finite")
    print(f"genie-ext {genie_ext.__version__} beside torch {torch.__version__}: as every release")


if __name__ == "__main__":
    main(*sys.argv[1:])
