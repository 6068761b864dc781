"""How the command line starts: what it imports, what it needs, how Ctrl-C ends it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import click
import pytest

import genie_samplers as gs
from genie_samplers.cli import COMMANDS, main

from ..forked import ForkServer

EXTRAS = ["tqdm", "click", "PIL", "matplotlib", "diffusers", "safetensors", "scipy", "transformers"]


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    made = ForkServer()
    yield made
    made.close()


def without(names: list[str], code: str, server: ForkServer) -> subprocess.CompletedProcess[str]:
    """Run where these cannot be imported."""
    return server.run(f"import sys\nfor name in {names}: sys.modules[name] = None\n{code}")


def command(arguments: str, server: ForkServer, *, missing: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    code = f"sys.argv = ['genie-samplers', *{arguments.split()}]\nfrom genie_samplers.__main__ import main\nmain()"
    return without(list(missing), code, server)


SAMPLE = """
import genie_samplers as gs
everything = [getattr(gs, name) for name in gs.__all__]
plan = gs.make_plan("ddim", gs.schedules.vp_linear(), 2)
print(tuple(gs.sample(lambda x, t: 0.1 * x, plan, shape=(2, 3)).shape))
"""


@pytest.mark.parametrize(
    "missing", [*(pytest.param([name], marks=pytest.mark.product) for name in EXTRAS), EXTRAS], ids="+".join
)
def test_the_library_needs_torch_and_numpy_alone(missing: list[str], server: ForkServer) -> None:
    done = without(missing, SAMPLE, server)
    assert (done.returncode, done.stdout) == (0, "(2, 3)\n"), done.stderr


def test_the_names_of_the_package_are_those_that_its_rooms_give() -> None:
    rooms = {name for name in gs.__all__ if getattr(gs, name).__class__ is ModuleType and name not in gs._ROOM_OF}
    assert rooms | set(gs._ROOM_OF) == set(gs.__all__)
    assert set(gs.__all__) <= set(dir(gs))


def test_a_name_that_the_package_has_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'genie_samplers' has no attribute 'sampel'"):
        gs.sampel  # type: ignore[attr-defined]  # noqa: B018


IMPORTED = """
import sys
sys.argv = ["genie-samplers", *sys.argv[1].split()]
from genie_samplers.__main__ import main
try:
    main()
finally:
    heavy = {"torch", "numpy", "PIL", "matplotlib", "tqdm", "diffusers", "scipy"} & sys.modules.keys()
    print("imported:", *sorted(heavy))
"""


@pytest.mark.parametrize(
    ("arguments", "imported"), [("--help", ""), ("plan --help", "numpy"), ("plan --nfe 3", "numpy")]
)
def test_help_and_plans_are_printed_without_torch(arguments: str, imported: str) -> None:
    done = python(IMPORTED, arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"imported: {imported}".rstrip() or done.stdout.endswith("imported: \n")


@pytest.mark.parametrize("arguments", ["--help", "plan --nfe 3", "plan --list", "backends", "sample --help"])
def test_commands_that_draw_nothing_work_without_what_draws(arguments: str, server: ForkServer) -> None:
    done = command(arguments, server, missing=("PIL", "matplotlib", "tqdm", "diffusers", "safetensors"))
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("arguments", "missing", "message"),
    [
        ("sample --out x.png", "PIL", 'a picture needs PIL: pip install "genie-ext[cli]"'),
        ("compare --out x.png", "PIL", 'a picture needs PIL: pip install "genie-ext[cli]"'),
        ("encode --out x.png", "PIL", 'a picture needs PIL: pip install "genie-ext[cli]"'),
        ("interpolate --out x.png", "PIL", 'a picture needs PIL: pip install "genie-ext[cli]"'),
        ("diagnose --out x.png", "matplotlib", 'needs matplotlib: pip install "genie-ext[cli]"'),
        ("distill --run run", "matplotlib", 'needs matplotlib: pip install "genie-ext[cli]"'),
        ("train --run run --export x", "matplotlib", 'needs matplotlib: pip install "genie-ext[cli]"'),
        ("train --run run", "safetensors", 'training needs safetensors: pip install "genie-ext[diffusers]"'),
        ("sample --out x.png", "diffusers", 'needs diffusers: pip install "genie-ext[diffusers]"'),
        ("calibrate grid", "diffusers", 'needs diffusers: pip install "genie-ext[diffusers]"'),
    ],
)
def test_a_command_names_what_it_needs_and_the_extra_that_has_it(
    arguments: str,
    missing: str,
    message: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    server: ForkServer,
) -> None:
    folder = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(folder)
    done = command(arguments, server, missing=(missing,))
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []


def test_the_base_install_says_what_the_command_line_needs(server: ForkServer) -> None:
    done = command("backends", server, missing=("click",))
    assert done.returncode == 1
    assert done.stderr == 'genie-samplers: the command line needs click: pip install "genie-ext[cli]"\n'


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    found = main.get_command(click.Context(main), name)
    assert found is not None and found.name == name
    assert found.get_short_help_str(limit=1000).rstrip(".") == COMMANDS[name].rstrip(".")


INTERRUPTED = """
import sys
where = sys.argv[1]
class Interrupt:
    def find_spec(self, name, *_):
        if name == where:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from genie_samplers.__main__ import main
sys.argv = ["genie-samplers", "backends"]
main()
"""


@pytest.mark.parametrize("while_importing", ["genie_samplers.cli", "genie_samplers.cli.backends", "torch"])
def test_ctrl_c_while_importing_ends_without_a_traceback(while_importing: str) -> None:
    done = python(INTERRUPTED, while_importing)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 1
