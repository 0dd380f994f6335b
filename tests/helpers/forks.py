"""Run scripts in processes of their own, from one that has loaded torch: a start takes over two seconds."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from command import ROOT

_SERVER = """
import json, os, sys, tempfile, traceback
names = {"__name__": "__main__"}
exec(sys.argv[1], names)
for line in sys.stdin:
    files = [tempfile.TemporaryFile("w+") for _ in range(2)]
    if (child := os.fork()) == 0:
        for number, file in enumerate(files, 1):
            os.dup2(file.fileno(), number)
        code = 0
        try:
            exec(json.loads(line), names)
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for file in files:
        file.seek(0)
    print(json.dumps([code, *(file.read() for file in files)]), flush=True)
"""


class Forks:
    """A process that ran `before`, and forks for each script."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """What the script prints and how it ends, with the names of what ran before it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(script), file=self._server.stdin, flush=True)
        code, out, err = json.loads(self._server.stdout.readline())
        return subprocess.CompletedProcess([], code, out, err)


@contextmanager
def forks(before: str) -> Iterator[Forks]:
    """Fork from a process that ran `before`, until the end."""
    command = [sys.executable, "-W", "ignore", "-c", _SERVER, before]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield Forks(server)
