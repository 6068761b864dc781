"""Who may import whom, names and sizes, read from the syntax trees (no module is imported)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOTS = {"genie_ext": ROOT, "genie_samplers": ROOT / "python"}

# modules, and packages with all they hold, of float64 arithmetic on the host
HOST_SIDE = tuple(
    f"genie_samplers.{name}"
    for name in ("_arguments", "schedules", "grids", "predictions", "numerics", "registry", "plan", "solvers")
)
MAX_LINES = 400


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_name(path, root): path for package, root in ROOTS.items() for path in sorted((root / package).rglob("*.py"))
}
PACKAGES = {name for name, path in SOURCES.items() if path.name == "__init__.py"}


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in (
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    )


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but what stands under ``if TYPE_CHECKING:``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt) and is_type_checking(child):
            continue
        yield child
        yield from runtime_nodes(child)


def imports_of(name: str, text: str, *, is_package: bool) -> set[str]:
    """Absolute names imported at run time: our module where there is one, else what is written."""
    found: set[str] = set()
    for node in runtime_nodes(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: len(name.split(".")) - node.level + is_package] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            full = {f"{source}.{alias.name}" for alias in node.names}
            found |= (full & SOURCES.keys()) | ({source} if full - SOURCES.keys() else set())
    return found


IMPORTS = {
    name: imports_of(name, path.read_text(encoding="utf-8"), is_package=name in PACKAGES)
    for name, path in SOURCES.items()
}


def is_within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


every_module = pytest.mark.parametrize("name", sorted(SOURCES))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.b.c", "import torch, numpy.fft", {"torch", "numpy.fft"}),
        ("genie_samplers.engine", "from .plan import Plan", {"genie_samplers.plan"}),
        ("genie_samplers.engine", "from . import grids", {"genie_samplers.grids"}),
        (
            "genie_samplers.engine",
            "from . import grids, nothing",
            {"genie_samplers.grids", "genie_samplers"},
        ),
        (
            "genie_samplers.solvers.ddim",
            "from ..plan.rows import Row",
            {"genie_samplers.plan.rows"},
        ),
        ("genie_samplers.engine", "def f():\n    import torch", {"torch"}),
        (
            "genie_samplers.engine",
            "if TYPE_CHECKING:\n    import torch\nelse:\n    import numpy",
            set(),
        ),
        (
            "genie_samplers.engine",
            "try:\n    import torch\nexcept ImportError:\n    pass",
            {"torch"},
        ),
    ],
)
def test_imports_are_read_as_python_reads_them(name: str, text: str, expected: set[str]) -> None:
    assert imports_of(name, text, is_package=False) == expected


def test_the_modules_that_the_rules_are_about_exist() -> None:
    named = {
        *HOST_SIDE,
        "genie_samplers.engine",
        "genie_samplers._inputs",
        "genie_samplers.solvers.ddim",
    }
    assert named <= SOURCES.keys()
    assert "genie_ext" in IMPORTS["genie_samplers.engine"]


@pytest.mark.parametrize("name", sorted(name for name in SOURCES if is_within(name, HOST_SIDE)))
def test_the_host_side_imports_numpy_the_standard_library_and_itself(name: str) -> None:
    allowed = {"numpy", *sys.stdlib_module_names}
    foreign = {used for used in IMPORTS[name] if used.split(".")[0] not in allowed and not is_within(used, HOST_SIDE)}
    assert not foreign


@pytest.mark.parametrize("name", ["genie_samplers.engine", "genie_samplers._inputs"])
def test_the_engine_knows_no_solver(name: str) -> None:
    assert not {
        used for used in IMPORTS[name] if is_within(used, ("genie_samplers.solvers", "genie_samplers.registry"))
    }


@pytest.mark.parametrize(
    "name",
    sorted(n for n in SOURCES if n.startswith("genie_samplers.solvers.") and not n.split(".")[-1].startswith("_")),
)
def test_solvers_share_private_modules_only(name: str) -> None:
    others = {used for used in IMPORTS[name] if used.startswith("genie_samplers.solvers.")}
    assert not {used for used in others if not used.split(".")[2].startswith("_")}


@pytest.mark.parametrize("name", sorted(n for n in SOURCES if is_within(n, ("genie_ext",))))
def test_the_op_layer_knows_nothing_of_samplers(name: str) -> None:
    assert not {used for used in IMPORTS[name] if is_within(used, ("genie_samplers",))}


def test_imports_make_no_cycle() -> None:
    graph = {name: used & SOURCES.keys() - {name} for name, used in IMPORTS.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@every_module
def test_no_module_is_called_utils_or_common(name: str) -> None:
    assert not {"utils", "common", "util", "helpers"} & set(name.split("."))


@every_module
def test_files_are_at_most_400_lines(name: str) -> None:
    assert len(SOURCES[name].read_text(encoding="utf-8").splitlines()) <= MAX_LINES
