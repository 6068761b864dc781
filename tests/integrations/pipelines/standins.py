"""Pipelines of diffusers without the transformers package.

Their modules import the classes of text encoders and tokenizers, though a pipeline that is given prompt embeddings
never uses one. Where transformers is missing, empty classes of the same names stand in while a pipeline's module is
imported; nothing of them is left afterwards but names in that module.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("diffusers", reason="the pipelines are its own")
import_utils: Any = importlib.import_module("diffusers.utils.import_utils")

__all__ = ["pipeline_class"]

_PACKAGES = ("transformers", "tokenizers")
_LOADERS = ("textual_inversion", "ip_adapter", "lora_pipeline", "single_file")


class _Names(ModuleType):
    """A module in which every capitalised name is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if not name[0].isupper():
            raise AttributeError(name)
        made = type(name, (), {"__module__": self.__name__})
        setattr(self, name, made)
        return made


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        standin = fullname.split(".")[0] in _PACKAGES
        return ModuleSpec(fullname, self, is_package=True) if standin else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Names(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


@contextmanager
def _standing_in() -> Iterator[None]:
    """transformers as diffusers sees it: there; the module's names are all that comes of it."""
    finder: Any = _Finder()
    patch = pytest.MonkeyPatch()
    patch.setattr(import_utils, "_transformers_available", True)
    patch.setattr(import_utils, "_transformers_version", "5.0.0")
    sys.meta_path.insert(0, finder)
    try:
        loaders: Any = importlib.import_module("diffusers.loaders")
        for module in (importlib.import_module(f"diffusers.loaders.{name}") for name in _LOADERS):
            for name in (name for name in vars(module) if name.endswith("Mixin")):
                setattr(loaders, name, getattr(module, name))  # where it was imported first without the package
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.split(".")[0] in _PACKAGES]:
            del sys.modules[name]
        patch.undo()


def pipeline_class(module: str, name: str) -> Any:
    """The class of diffusers.pipelines.``module``."""
    module = f"diffusers.pipelines.{module}"
    if module not in sys.modules and find_spec("transformers") is None:
        with _standing_in():
            importlib.import_module(module)
    return getattr(importlib.import_module(module), name)
