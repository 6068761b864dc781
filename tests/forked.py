"""Programs in processes of their own that import torch once: a server that has it, and forks for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["ForkServer"]


class ForkServer:
    """A process that has imported torch and numpy, but nothing of this project.

    ``run`` is ``python -c code *arguments`` in the present folder, less the time that importing them takes.
    """

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        print(json.dumps([code, ["-c", *arguments], os.getcwd()]), file=process.stdin, flush=True)
        returncode, stdout, stderr = json.loads(process.stdout.readline())
        return subprocess.CompletedProcess(code, returncode, stdout, stderr)

    def close(self) -> None:
        self._process.communicate()


def serve() -> None:
    import numpy  # noqa: F401
    import torch  # noqa: F401

    del sys.path[0]  # this folder
    answers = os.fdopen(os.dup(1), "w")
    for request in sys.stdin:
        print(json.dumps(_answer(*json.loads(request))), file=answers, flush=True)


def _answer(code: str, argv: Sequence[str], folder: str) -> list[Any]:
    """[exit status, stdout, stderr] of a forked child."""
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place, name) for name in ("out", "err")]
        child = os.fork()
        if child == 0:
            for number, file in enumerate(files, start=1):
                os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY), number)
            os.chdir(folder)
            os._exit(_status(code, argv))
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
