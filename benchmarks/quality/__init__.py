"""How near the solvers come to the ODE's solution, and to the data, on the embedded network: see docs/quality.md."""
