"""Programs in processes of their own that import torch once: a server that has it, and forks for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["ForkServer"]


class ForkServer:
    """A process that has imported torch, numpy and the modules named, but nothing of this project.

    ``run`` is ``python -c code *arguments`` in the present folder, less the time that importing them takes.
    """

    def __init__(self, *modules: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, __file__, *modules],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self.together([(code, *arguments)], cwd)[0]

    def together(
        self, programs: Sequence[tuple[str, ...]], cwd: Path | None = None
    ) -> list[subprocess.CompletedProcess[str]]:
        """Programs at the same time, each its code and its arguments."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        asked = [[code, ["-c", *arguments], str(cwd or os.getcwd())] for code, *arguments in programs]
        print(json.dumps(asked), file=process.stdin, flush=True)
        answers = zip(programs, json.loads(process.stdout.readline()), strict=True)
        return [subprocess.CompletedProcess(program[0], *answer) for program, answer in answers]

    def close(self) -> None:
        self._process.communicate()


def serve() -> None:
    import numpy  # noqa: F401
    import torch  # noqa: F401

    del sys.path[0]  # this folder
    for module in sys.argv[1:]:
        import_module(module)
    answers = os.fdopen(os.dup(1), "w")
    for request in sys.stdin:
        with tempfile.TemporaryDirectory() as place:
            started = [_started(Path(place, str(n)), *program) for n, program in enumerate(json.loads(request))]
            print(json.dumps([_answer(*child) for child in started]), file=answers, flush=True)


def _started(output: Path, code: str, argv: Sequence[str], folder: str) -> tuple[int, list[Path]]:
    """A forked child that runs the program, and where its stdout and stderr go."""
    files = [output.with_suffix(suffix) for suffix in (".out", ".err")]
    child = os.fork()
    if child == 0:
        for number, file in enumerate(files, start=1):
            os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY), number)
        os.chdir(folder)
        os._exit(_status(code, argv))
    return child, files


def _answer(child: int, files: list[Path]) -> list[Any]:
    """[exit status, stdout, stderr], when it has ended."""
    _, status = os.waitpid(child, 0)
    return [os.waitstatus_to_exitcode(status), *(file.read_text() for file in files)]


def _status(code: str, argv: Sequence[str]) -> int:
    """Run the program as python does; return its exit status."""
    sys.argv[:] = argv
    status = 0
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    serve()
