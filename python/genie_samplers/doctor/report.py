"""What an examination found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Finding", "Report"]


class Finding(NamedTuple):
    """name: short and stable. severity: "breaks" (an exception or NaN), "fault" (wrong results) or "note".

    threads: where it was reported, of diffusers unless another project is named. fix: what to do.
    """

    name: str
    severity: str
    explanation: str
    threads: tuple[str, ...] = ()
    fix: str = ""


@dataclass(frozen=True)
class Report:
    """asked: the times that the network is told. times: those of the states that it is given. sigmas: noise levels, one
    more.

    theirs, ours: root mean square error of samples of Gaussian data of an image-like spectrum, in units of the data's
    deviation; theirs is None where the class or option is not modelled, inf where it gives no number. evaluations: of
    both. plan: what ours is. line: what replaces the scheduler.
    """

    class_name: str
    asked: tuple[float, ...]
    times: tuple[float, ...]
    sigmas: tuple[float, ...]
    findings: tuple[Finding, ...]
    evaluations: int
    theirs: float | None
    ours: float
    plan: str
    line: str

    def __str__(self) -> str:
        lines = [f"{self.class_name}Scheduler, {self.evaluations} evaluations"]
        lines += ["", f"{'told':>10} {'true time':>10} {'sigma':>10}"]
        shown = zip(self.asked, self.times, self.sigmas, strict=False)
        lines += [f"{asked:10.5g} {time:10.5g} {sigma:10.5g}" for asked, time, sigma in shown]
        lines += [f"{'end':>10} {'':>10} {self.sigmas[-1]:10.5g}", ""]
        for found in self.findings:
            where = f" ({', '.join(found.threads)})" if found.threads else ""
            lines += [f"{found.severity}: {found.name}: {found.explanation}{where}"]
            lines += [f"    {found.fix}"] if found.fix else []
        lines += [] if self.findings else ["nothing found"]
        theirs = "not modelled" if self.theirs is None else f"{self.theirs:.3g}"
        lines += ["", f"error on Gaussian data: {theirs} here, {self.ours:.3g} with {self.plan}", "", self.line]
        return "\n".join(lines)
