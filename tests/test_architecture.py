"""Who may import whom, names and sizes, read from the syntax trees (no module is imported)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOTS = {"genie_ext": ROOT, "genie_samplers": ROOT / "python"}
OURS = "genie_samplers"

# rooms of float64 arithmetic on the host
HOST_SIDE = tuple(
    f"{OURS}.{name}"
    for name in ("_arguments", "schedules", "grids", "predictions", "numerics", "plan", "solvers", "doctor")
)
SHARED_BY_SOLVERS = tuple(
    f"{OURS}.solvers.{name}"
    for name in (
        "building",
        "registry",
        "derivative_options",
        "clipping",
        "posterior",
        "temperature",
        "exact_data",
        "scoring",
        "fitting",
        "choosing",
        "langevin",
        "make",
    )
)
MAX_LINES, MAX_FUNCTION_LINES = 400, 60


class Import(NamedTuple):
    """``name`` of ``module``, or the module itself where ``name`` is empty; ``runtime``: not for types alone."""

    module: str
    name: str
    runtime: bool
    top_level: bool


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_name(path, root): path for package, root in ROOTS.items() for path in sorted((root / package).rglob("*.py"))
}
PACKAGES = {name for name, path in SOURCES.items() if path.name == "__init__.py"}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def statements(
    node: ast.AST, *, runtime: bool = True, top_level: bool = True
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    """Every import below ``node``, whether it runs, and whether it does so when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, runtime, top_level
        inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from statements(child, runtime=runtime and not is_type_checking(child), top_level=top_level and not inner)


def imports_of(name: str, tree: ast.AST, *, is_package: bool) -> list[Import]:
    """What a module imports, by absolute names; our modules apart from the names in them."""
    found: list[Import] = []
    for node, runtime, top_level in statements(tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, "", runtime, top_level) for alias in node.names]
            continue
        above = name.split(".")[: len(name.split(".")) - node.level + is_package] if node.level else []
        source = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            module = f"{source}.{alias.name}" in SOURCES
            place = (f"{source}.{alias.name}", "") if module else (source, alias.name)
            found.append(Import(*place, runtime, top_level))
    return found


IMPORTS = {name: imports_of(name, tree, is_package=name in PACKAGES) for name, tree in TREES.items()}


def is_within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def modules_of(name: str) -> set[str]:
    """Those imported, for types alone too; a name that a package takes from a module of its own is that module's."""
    return {origin(used.module, used.name) for used in IMPORTS[name]}


@cache
def origin(module: str, name: str) -> str:
    if module in PACKAGES and name:
        for used in IMPORTS[module]:
            if used.name == name and used.module != module:
                return origin(used.module, name)
    return module


@cache
def reached(name: str) -> frozenset[str]:
    """Our modules that this one needs, at any distance."""
    found: set[str] = set()
    open_ends = [name]
    while open_ends:
        for used in modules_of(open_ends.pop()) & SOURCES.keys() - found:
            found.add(used)
            open_ends.append(used)
    return frozenset(found)


def room(name: str) -> str:
    """The folder of the package that a module lives in, or the module itself where it lies in the package."""
    return ".".join(name.split(".")[:2])


def within(*packages: str) -> list[str]:
    return [name for name in SOURCES if is_within(name, packages)]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.b.c", "import torch, numpy.fft", {"torch", "numpy.fft"}),
        ("genie_samplers.run.sample", "from ..plan import Plan", {"genie_samplers.plan"}),
        ("genie_samplers.run.sample", "from .. import grids", {"genie_samplers.grids"}),
        ("genie_samplers.run.sample", "from .. import grids, nothing", {"genie_samplers.grids", "genie_samplers"}),
        ("genie_samplers.solvers.ddim", "from ..plan.rows import Row", {"genie_samplers.plan.rows"}),
        ("genie_samplers.run.sample", "def f():\n    import torch", {"torch"}),
        (
            "genie_samplers.run.sample",
            "if TYPE_CHECKING:\n    import torch\nimport numpy",
            {"torch", "numpy"},
        ),
        ("genie_samplers.run.sample", "try:\n    import torch\nexcept ImportError:\n    pass", {"torch"}),
    ],
)
def test_imports_are_read_as_python_reads_them(name: str, text: str, expected: set[str]) -> None:
    assert {used.module for used in imports_of(name, ast.parse(text), is_package=False)} == expected


def test_the_modules_that_the_rules_are_about_exist() -> None:
    named = {*HOST_SIDE, *SHARED_BY_SOLVERS, f"{OURS}.run.loop", f"{OURS}.run.state", f"{OURS}.demo", f"{OURS}.cli"}
    assert named <= SOURCES.keys()
    assert "genie_ext" in {used.module for used in IMPORTS[f"{OURS}.run.state"]}
    assert f"{OURS}.plan.rows" in reached(f"{OURS}.solvers.ddim")


def test_the_host_side_imports_numpy_the_standard_library_and_itself() -> None:
    allowed = {"numpy", *sys.stdlib_module_names}
    foreign = {
        (name, used)
        for name in within(*HOST_SIDE)
        for used in modules_of(name)
        if used.split(".")[0] not in allowed and not is_within(used, HOST_SIDE)
    }
    assert not foreign


def test_plans_know_no_solver() -> None:
    assert not {(name, used) for name in within(f"{OURS}.plan") for used in reached(name) if "solvers" in used}


def test_running_a_plan_needs_the_registry_alone_of_the_solvers() -> None:
    used = {used for name in within(f"{OURS}.run") for used in modules_of(name) if is_within(used, [f"{OURS}.solvers"])}
    assert used == {f"{OURS}.solvers.registry"}


def test_solvers_share_what_is_made_for_sharing_only() -> None:
    solvers = [name for name in within(f"{OURS}.solvers") if name not in (f"{OURS}.solvers", *SHARED_BY_SOLVERS)]
    others = {
        (name, used)
        for name in solvers
        for used in modules_of(name)
        if is_within(used, [f"{OURS}.solvers"]) and used not in SHARED_BY_SOLVERS
    }
    assert not others


def test_the_op_layer_knows_nothing_of_samplers() -> None:
    assert not {(name, used) for name in within("genie_ext") for used in modules_of(name) if is_within(used, [OURS])}


def test_the_library_does_not_depend_on_its_demonstration() -> None:
    users = {
        name
        for name in within(OURS)
        if name != OURS and any(is_within(used, [f"{OURS}.demo"]) for used in modules_of(name))
    }
    assert {room(name) for name in users} <= {f"{OURS}.demo", f"{OURS}.cli"}


def test_importing_the_library_needs_torch_and_numpy_alone() -> None:
    allowed = {"torch", "numpy", "genie_ext", OURS, *sys.stdlib_module_names}
    foreign = {
        (name, used.module)
        for name in within("genie_ext", OURS)
        if not is_within(name, [f"{OURS}.cli", f"{OURS}.integrations.diffusers"]) and "triton" not in name
        for used in IMPORTS[name]
        if used.top_level and used.runtime and used.module.split(".")[0] not in allowed
    }
    assert not foreign


def test_imports_make_no_cycle_not_even_for_types() -> None:
    graph = {name: modules_of(name) & SOURCES.keys() - {name} for name in SOURCES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def public_names(module: str) -> set[str]:
    """What ``__all__`` lists; of a module without it all names."""
    for node in TREES[module].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_what_another_room_imports_is_public_in_its_own() -> None:
    private = {
        (name, used.module, used.name)
        for name in within(OURS)
        for used in IMPORTS[name]
        if is_within(used.module, [OURS]) and room(used.module) != room(name) and used.module in SOURCES
        if used.name and used.name not in public_names(used.module)
    }
    assert not private


def test_one_loop_runs_the_rows() -> None:
    loops = {
        name
        for name, tree in TREES.items()
        for loop in ast.walk(tree)
        if isinstance(loop, ast.For | ast.While | ast.AsyncFor | ast.comprehension)
        for call in ast.walk(loop)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "advance"
    }
    assert loops == {f"{OURS}.run.loop"}


def test_rows_reach_the_kernel_in_one_place() -> None:
    users = {
        name
        for name in within(OURS)
        for used in IMPORTS[name]
        if used.module.split(".")[0] == "genie_ext" and used.name in ("FusedStepCall", "fused_step", "prepare")
    }
    assert {room(name) for name in users} == {f"{OURS}.run"}
    assert f"{OURS}.run.state" in users


def test_behind_the_door_nobody_looks_for_attributes_of_networks() -> None:
    looked = {
        (name, ast.unparse(call))
        for name in within(*(f"{OURS}.{room}" for room in ("run", "uses", "adaptive", "calibrate", "genie")))
        for call in ast.walk(TREES[name])
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("getattr", "hasattr")
        if ast.unparse(call.args[0]) in ("model", "self.model", "network", "self.network")
    }
    # a head reads the sizes of the layers that it is attached to
    assert {name for name, _ in looked} <= {f"{OURS}.genie.heads.features"}


def test_no_module_is_called_utils_or_common() -> None:
    assert not [name for name in SOURCES if {"utils", "common", "util", "helpers"} & set(name.split("."))]


def test_files_are_at_most_400_lines() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in SOURCES.items()}
    assert not {name: count for name, count in lines.items() if count > MAX_LINES}


def test_files_of_tests_are_at_most_400_lines() -> None:
    files = sorted((ROOT / "tests").rglob("*.py"))
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert not {name: count for name, count in lines.items() if count > MAX_LINES}


def test_functions_are_at_most_60_lines_besides_their_docstring() -> None:
    long = {}
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                count = (node.end_lineno or 0) - body[0].lineno + 1
                if count > MAX_FUNCTION_LINES:
                    long[f"{name}.{node.name}"] = count
    assert not long
