"""The registry in Markdown: what docs/solvers.md and docs/names.md hold, and `genie-samplers plan` prints."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from ..solvers.registry import SOLVERS, SPELLINGS, Solver

__all__ = ["ELSEWHERE", "Elsewhere", "name_table", "option_table", "solver_table"]


class Elsewhere(NamedTuple):
    """The same method: diffusers' class, k-diffusion's and ComfyUI's function, A1111's label, the paper."""

    diffusers: str = ""
    k_diffusion: str = ""
    a1111: str = ""
    paper: str = ""


def _paper(name: str, number: str) -> str:
    return f"[{name}](https://arxiv.org/abs/{number})"


_DDIM, _DDPM = _paper("DDIM", "2010.02502"), _paper("DDPM", "2006.11239")
_DEIS, _PNDM = _paper("DEIS", "2204.13902"), _paper("PNDM", "2202.09778")
_DPM, _DPMPP = _paper("DPM-Solver", "2206.00927"), _paper("DPM-Solver++", "2211.01095")
_UNIPC, _GENIE = _paper("UniPC", "2302.04867"), _paper("GENIE", "2210.05475")
_EDM, _GDDIM = _paper("EDM", "2206.00364"), _paper("gDDIM", "2206.05564")
_SDE, _FLOW = _paper("Score SDE", "2011.13456"), _paper("Flow matching", "2210.02747")
_NCSN = _paper("NCSN", "1907.05600")
_PP = "DPMSolverMultistepScheduler"

ELSEWHERE: Mapping[str, Elsewhere] = MappingProxyType(
    {
        "ddim": Elsewhere("DDIMScheduler, EulerDiscreteScheduler", "euler", "DDIM, Euler", _DDIM),
        "ddpm": Elsewhere("DDPMScheduler, EulerAncestralDiscreteScheduler", "euler_ancestral", "Euler a", _DDPM),
        "analytic": Elsewhere(paper=_paper("Analytic-DPM", "2201.06503")),
        "deis_tab": Elsewhere(paper=f"{_DEIS} (tAB)"),
        "deis_rho_ab": Elsewhere(paper=f"{_DEIS} (rhoAB)"),
        "deis_rho_ab3": Elsewhere("LMSDiscreteScheduler", "lms", "LMS", f"{_DEIS} (rhoAB)"),
        "deis_log_ab": Elsewhere(paper=_DEIS),
        "deis_log_ab1": Elsewhere("DEISMultistepScheduler(solver_order=2)", paper=_DEIS),
        "deis_log_ab2": Elsewhere("DEISMultistepScheduler(solver_order=3)", paper=_DEIS),
        "deis_rho": Elsewhere(paper=f"{_DEIS} (rhoRK)"),
        "dpm_solver_2s": Elsewhere("KDPM2DiscreteScheduler", "dpm_2", "DPM2", _DPM),
        "dpm_solver_3s": Elsewhere('DPMSolverSinglestepScheduler(algorithm_type="dpmsolver")', paper=_DPM),
        "dpmpp_1m": Elsewhere(f"{_PP}(solver_order=1)", paper=_DPMPP),
        "dpmpp_2m": Elsewhere(f"{_PP}(solver_order=2)", "dpmpp_2m", "DPM++ 2M", _DPMPP),
        "dpmpp_3m": Elsewhere(f"{_PP}(solver_order=3)", paper=_DPMPP),
        "dpmpp": Elsewhere(paper=_DPMPP),
        "dpmpp_2m_sde": Elsewhere(f'{_PP}(algorithm_type="sde-dpmsolver++")', "dpmpp_2m_sde", "DPM++ 2M SDE", _DPMPP),
        "edm_heun": Elsewhere("HeunDiscreteScheduler", "heun", "Heun", _EDM),
        "euler": Elsewhere(paper=_SDE),
        "ei": Elsewhere(paper=_DEIS),
        "flow_ab": Elsewhere(paper=_FLOW),
        "flow_euler": Elsewhere("FlowMatchEulerDiscreteScheduler", "euler", "Euler", _FLOW),
        "flow_heun": Elsewhere("FlowMatchHeunDiscreteScheduler", "heun", "Heun", _FLOW),
        "flow": Elsewhere(paper=_FLOW),
        "gddim": Elsewhere(paper=_GDDIM),
        "genie": Elsewhere(paper=_GENIE),
        "ipndm": Elsewhere(paper=f"{_PNDM}, {_DEIS}"),
        "ipndm4": Elsewhere(k_diffusion="ipndm", paper=f"{_PNDM}, {_DEIS}"),
        "s_pndm": Elsewhere(paper=_PNDM),
        "plms": Elsewhere("PNDMScheduler(skip_prk_steps=True)", a1111="PLMS", paper=_PNDM),
        "f_pndm": Elsewhere("PNDMScheduler", paper=_PNDM),
        "annealed_langevin": Elsewhere(paper=f"{_NCSN}, {_paper('NCSNv2', '2006.09011')}"),
        "predictor_corrector": Elsewhere(paper=_SDE),
        "unipc2": Elsewhere("UniPCMultistepScheduler(solver_order=2)", "uni_pc_bh2", "UniPC", _UNIPC),
        "unipc3": Elsewhere("UniPCMultistepScheduler(solver_order=3)", "uni_pc_bh2", "UniPC", _UNIPC),
        "unipc": Elsewhere(paper=_UNIPC),
    }
)
"""By the registry's name, or the beginning of several."""


def solver_table() -> str:
    """Order and properties of every solver, as docs/solvers.md holds it."""
    rows = (
        (
            f"`{solver.name}`", f"{'weak ' if solver.stochastic else ''}{solver.order}" if solver.order else "none",
            "yes" if solver.exact_on_point_mass else "no",
            solver.summary,
        )
        for solver in SOLVERS.values()
    )  # fmt: skip
    return _table(("solver", "order", "exact on a point mass", "what it is"), rows)


def name_table() -> str:
    """What every solver is called elsewhere, and the spellings that are taken for it, as docs/names.md holds it."""
    groups: dict[object, list[str]] = {}
    for name, solver in SOLVERS.items():
        groups.setdefault((solver.build, _elsewhere(name)), []).append(name)
    rows = (
        (
            _list(names),
            _list(same.diffusers.split(", ")),
            _list(same.k_diffusion.split(", ")),
            same.a1111,
            same.paper,
            _list(spelling for spelling, meant in SPELLINGS.items() if meant in names),
        )
        for names, same in ((names, _elsewhere(names[0])) for names in groups.values())
    )
    return _table(("here", "diffusers", "k-diffusion, ComfyUI", "A1111", "paper", "also taken for it"), rows)


def option_table() -> str:
    """The options of every solver's function with their defaults, as docs/names.md holds it."""
    functions: dict[object, list[Solver]] = {}
    for solver in SOLVERS.values():
        functions.setdefault(solver.build, []).append(solver)
    rows = []
    for solvers in functions.values():
        parameters = inspect.signature(solvers[0].build).parameters.values()
        own = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "prediction"]
        fixed = [f"{s.name}: " + ", ".join(f"{k}={v!r}" for k, v in s.options.items()) for s in solvers if s.options]
        rows.append(
            (
                f"`solvers.{solvers[0].build.__name__}`",
                _list(solver.name for solver in solvers),
                _list(f"{p.name}={p.default!r}" for p in own),
                "; ".join(fixed),
            )
        )
    return _table(("function", "registered as", "options and their defaults", "what a name fixes"), rows)


def _elsewhere(name: str) -> Elsewhere:
    """Of the longest beginning that is known."""
    beginnings = [known for known in ELSEWHERE if name.startswith(known)]
    return ELSEWHERE[max(beginnings, key=len)] if beginnings else Elsewhere()


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names if name)
