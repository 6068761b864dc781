"""The numbers behind a row: exact transfers between two times, and the weights of interpolated outputs.

With v = x / alpha the probability-flow ODE is dv/dgamma = epsilon, so (Zhang and Chen,
arXiv 2204.13902; Lu et al., arXiv 2211.01095; primes at ``t_next``, kappa = 1 / gamma)

    x' = (alpha'/alpha) x + alpha' * integral of epsilon dgamma            epsilon form
    x' = (sigma'/sigma) x + sigma' * integral of x_0     dkappa            x0 form

and, with z = x / (alpha + sigma) and s = sigma / (alpha + sigma), dz/ds = epsilon - x_0: the flow form, which is finite
at both ends of every schedule and (x, t) itself on a flow schedule.

A multistep method puts a polynomial through its nodes, in a variable u of its choice (t: tAB-DEIS;
gamma: rhoAB-DEIS; log_gamma: DPM-Solver's), in place of epsilon or x_0: Lagrange's through values,
Hermite's where derivatives are known too (GENIE, Dockhorn et al., arXiv 2210.05475). All float64,
on the host, in forms that do not cancel between close times; steps may fall or rise.
"""

from .quadrature import step_integral
from .tableau import TABLEAUS, Tableau, butcher
from .transfers import transfer, x0_transfer
from .variables import VARIABLES
from .weights import HermiteWeights, epsilon_weights, flow_weights, hermite_weights, x0_weights

__all__ = [
    "TABLEAUS",
    "VARIABLES",
    "HermiteWeights",
    "Tableau",
    "butcher",
    "epsilon_weights",
    "flow_weights",
    "hermite_weights",
    "step_integral",
    "transfer",
    "x0_transfer",
    "x0_weights",
]
