"""The embedded Fashion-MNIST network: its data, its training, its classifier. The library does not depend on it."""

from .embedded import NULL_CLASS, embedded, embedded_config, embedded_with_head

__all__ = ["NULL_CLASS", "embedded", "embedded_config", "embedded_with_head"]
