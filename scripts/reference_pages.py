"""Hooks of mkdocs (mkdocs.yml): a page of the reference for each public room, made while the site is built.

Rooms are the packages, the modules right inside genie_samplers, its integrations and genie_ext, and the modules that a
package takes in as such, each with an ``__all__`` of its own; so a new room has a page without anybody adding one. The
README is the first page, and pages of docs/ that no group of ``nav`` names come last.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from griffe import Extension, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

__all__ = ["Roles", "on_config", "on_files", "rooms"]

ROOT = Path(__file__).parents[1]
_NOT_A_ROOM = ("cli",)  # commands; docs/commands.md
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


def rooms() -> dict[str, Path]:
    """Dotted names of what has a page, and their files."""
    inside = ROOT / "python" / "genie_samplers"
    paths = [*inside.rglob("__init__.py"), *inside.glob("*.py"), *(ROOT / "genie_ext").glob("*.py")]
    paths += inside.glob("integrations/*.py")
    paths += [path.parent / f"{name}.py" for path in inside.rglob("__init__.py") for name in _modules(path)]
    found = {_dotted(path): path for path in paths if path.exists()}
    return {name: found[name] for name in sorted(found) if _is_public(name) and _names(found[name])}


def _dotted(path: Path) -> str:
    root = ROOT if path.is_relative_to(ROOT / "genie_ext") else ROOT / "python"
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") or part in _NOT_A_ROOM for part in name.split("."))


def _names(path: Path) -> list[str]:
    """Its ``__all__``; empty where it has none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return ast.literal_eval(node.value)
    return []


def _imports(path: Path) -> list[ast.ImportFrom]:
    """Those for types alone, too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


def _modules(path: Path) -> list[str]:
    """Modules that a package takes in as such."""
    return [alias.name for node in _imports(path) if node.module is None for alias in node.names]


def _origin(path: Path, name: str) -> Path:
    """The file that defines a name of this one."""
    for node in _imports(path):
        if node.module is not None and node.level and name in [alias.name for alias in node.names]:
            base = path.parents[node.level - 1].joinpath(*node.module.split("."))
            file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
            return _origin(file, name)
    return path


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    nav: list[Any] = config.nav or []
    named = {
        page for group in nav for pages in group.values() for page in ([pages] if isinstance(pages, str) else pages)
    }
    rest = sorted(path.name for path in Path(config.docs_dir).glob("*.md") if path.name not in named)
    config.nav = [*nav, *([{"More": rest}] if rest else []), {"Reference": [{name: _page(name)} for name in rooms()]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=re.sub(r"\]\(docs/", "](", readme)))
    for name in rooms():
        files.append(File.generated(config, _page(name), content=_content(name)))
    return files


def _content(room: str) -> str:
    """All names of a room; one that has the name of its module is hidden by that, and asked for there."""
    origins = {name: _origin(rooms()[room], name) for name in _names(rooms()[room])}
    options = "    options:\n      show_root_heading: true\n      heading_level: 3"
    hidden = [f"::: {_dotted(path)}.{name}\n{options}" for name, path in origins.items() if path.stem == name]
    return "\n\n".join([f"# {room}", f"::: {room}", *hidden, ""])


def _page(name: str) -> str:
    return f"reference/{name}.md"


class Roles(Extension):
    """``:func:`name` `` of docstrings as code."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)
