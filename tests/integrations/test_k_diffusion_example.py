"""examples/k_diffusion_swap.py runs, and more evaluations help every sampler in it."""

from __future__ import annotations

import runpy

from ..documents import ROOT


def test_every_sampler_of_the_example_gets_better_with_evaluations() -> None:
    errors = runpy.run_path(str(ROOT / "examples" / "k_diffusion_swap.py"))["errors"]
    few, more = errors(7), errors(11)
    assert {name: more[name] < few[name] for name in few} == dict.fromkeys(few, True)
    assert 'sample("auto")' in few
