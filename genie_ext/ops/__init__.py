"""One folder per op: ``contract`` (the call and its checks), ``reference`` (the definition), ``native``, ``triton``."""
