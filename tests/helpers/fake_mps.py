"""A stand-in for NVIDIA's MPS control program: it starts, answers and ends as that one does, and serves no card."""

import os
import sys
import textwrap
from pathlib import Path

import pytest

from grader.records import IsolationLevel
from grader.run.machine import Machine
from grader.sandbox import Isolation
from grader.schedule import mps

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts MPS for every user")
CARDS = ("0",)
# The sockets' and pipes' names and rights are those of the real daemon (driver 580).
_PROGRAM = """
#!{python}
import os, socket, sys, time
from pathlib import Path

pipe, kind = Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"]), {kind!r}
with open({calls!r}, "a") as calls:
    print(sys.argv[1:], os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["CUDA_MPS_LOG_DIRECTORY"], file=calls)

def answer(command):
    if kind == "silent":
        time.sleep(60)
    state = "FAULT" if kind == "faulty" else "ACTIVE"
    return {{"get_server_list": "4020", "get_server_status 4020": state}}.get(command, "")

def serve(listening):
    while True:
        with listening.accept()[0] as asked:
            command = asked.recv(100).decode().strip()
            if command.startswith("quit") and kind != "deaf":
                (pipe / "control").unlink()
                os._exit(0)
            asked.sendall(answer(command).encode())

if "-d" not in sys.argv:
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(str(pipe / "control"))
        except OSError:
            print("Cannot find MPS control daemon process")
            sys.exit(1)
        asking.sendall(sys.stdin.read().encode())
        print(asking.recv(1000).decode())
elif kind == "broken":
    sys.exit("An instance of this daemon is already running")
elif os.fork() == 0:
    os.setsid()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(pipe / "control"))
    listening.listen()
    (pipe / "control").chmod(0o666)
    os.mkfifo(pipe / "log")
    (pipe / "log").chmod(0o777)
    for name in ("control_lock", "nvidia-cuda-mps-control.pid"):
        (pipe / name).write_text(str(os.getpid()))
        (pipe / name).chmod(0o666)
    serve(listening)
"""


def install(folder: Path, patch: pytest.MonkeyPatch, kind: str = "") -> Path:
    """Put the program on the PATH; return where it writes what it was called with.

    Args:
        kind: "deaf" never quits, "silent" never answers, "faulty" says that a client faulted, "broken" does not start.
    """
    folder.mkdir(exist_ok=True)
    calls = folder / "calls"
    program = folder / mps.PROGRAM
    text = _PROGRAM.format(python=sys.executable, kind=kind, calls=str(calls))
    program.write_text(textwrap.dedent(text).lstrip(), encoding="utf-8")
    program.chmod(0o755)
    patch.setenv("PATH", str(folder), prepend=":")
    # So that the daemon of a grader that runs here now is none of ours.
    patch.setattr(mps, "PREFIX", f"grader-mps-test-{os.getpid()}-")
    return calls


def machine_with_a_card(work: Path) -> Machine:
    """Four at a time on one made-up card."""
    isolation = Isolation(IsolationLevel.NONE, "")
    return Machine("here", isolation, cores=4, jobs=4, cards=CARDS, work=work, training_set=None)
