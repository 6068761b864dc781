from dataclasses import replace
from ._dispatch import resolve
SLOT = object()
def version(t): return 0 if t.is_inference() else t._version
class Prepared:
    def __init__(self, run, call, backend): self.run, self.call, self.backend = run, call, backend
    def __call__(self, outputs=(), draws=(), x=None):
        c = self.call
        ds = iter(draws)
        self.run(replace(c, outputs=tuple(outputs), draws=tuple(next(ds) if d is SLOT else d for d in c.draws), x=c.x if x is None else x))
def prepare(op, call, backend=None):
    name, run = resolve(op, call.x.device, backend)
    return Prepared(run, call, name)
