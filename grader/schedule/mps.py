"""NVIDIA MPS: several submissions compute on one GPU at the same time, where it otherwise takes turns between them.

The grader starts a control daemon of its own and ends it with the run. It changes no setting of the card. Seen on an
H100 with driver 580: one server serves root and several other users at once, also inside bubblewrap with namespaces of
their own, through a pipe directory that is bound read-only.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil

from grader.errors import UserError
from grader.sandbox.folders import own_folder

PROGRAM = "nvidia-cuda-mps-control"
# Every user can enter /tmp, and paths of sockets in it stay under the kernel's 108 bytes. TMPDIR guarantees neither.
PARENT = Path("/tmp")
PREFIX = "grader-mps-"
PIPE, LOG = "pipe", "log"
# What a client connects to; the daemon removes it when it quits.
_CONTROL = "control"
# How the control program's answer begins when no daemon accepts the connection.
_NOBODY = "Cannot find MPS control daemon"
# "nvidia-cuda-mps-control" and "nvidia-cuda-mps-server" in the 15 bytes that the kernel keeps of a name.
_NAME = PROGRAM[:15]
_START_SECONDS = 20.0
_ANSWER_SECONDS = 5.0
# When the daemon is told to quit, no submission runs; a server without clients was gone after 0.2 s.
_QUIT_SECONDS = 5


def why_not(cards: Sequence[str]) -> str:
    """Why submissions cannot share a card through MPS here, with the way out; empty where they can.

    Args:
        cards: The GPUs that work here.
    """
    if not cards:
        return "no GPU works here"
    if shutil.which(PROGRAM) is None:
        return (
            f"{PROGRAM} is not on the PATH: install the utilities of NVIDIA's driver (nvidia-compute-utils on Ubuntu)"
        )
    if os.geteuid() != 0:
        return "an MPS server can serve several users only if root starts it: run the grader as root"
    return ""


@contextmanager
def server(cards: Sequence[str]) -> Iterator[Path]:
    """Have MPS serve every user of this machine until the end; yield the pipe directory, where a job finds it.

    First the daemon is ended that a killed grader may have left.

    Raises:
        UserError: MPS cannot be had here.
    """
    if why := why_not(cards):
        raise _refusal(why)
    with own_folder(PARENT, PREFIX, _end) as folder:
        _start(folder)
        yield folder / PIPE


def takes_clients(pipe: Path) -> bool:
    """Whether the server would take a new client now.

    After a fault on the card a server takes no new clients before the old ones have ended. One of these may be a script
    that stays until its time is over, just to keep them waiting.
    """
    if not _listens(pipe):
        return False
    try:
        listed = ask(pipe, "get_server_list", _ANSWER_SECONDS)
        servers = [word for word in listed.split() if word.isdecimal()]
        states = [ask(pipe, f"get_server_status {server}", _ANSWER_SECONDS) for server in servers]
    except (OSError, subprocess.SubprocessError):
        return False
    return _NOBODY not in listed and not any("FAULT" in state.upper() for state in states)


def _listens(pipe: Path) -> bool:
    return (pipe / _CONTROL).is_socket()


def ask(pipe: Path, command: str, seconds: float) -> str:
    """What the daemon answers to one of its commands, such as `ps`.

    Raises:
        OSError: It could not be asked.
        subprocess.SubprocessError: It did not answer in time.
    """
    asked = subprocess.run(
        [PROGRAM],
        input=f"{command}\n",
        env=_environment(pipe.parent),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
        start_new_session=True,  # so that Ctrl-C does not end it too
    )
    return asked.stdout


def _refusal(why: str) -> UserError:
    return UserError(f'{why}; or write sharing = "turns" in the assignment')


def _environment(folder: Path) -> dict[str, str]:
    """The daemon's variables. It sees every card: it renumbers what it sees, and jobs use the original numbers."""
    kept = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    return kept | {
        "CUDA_MPS_PIPE_DIRECTORY": str(folder / PIPE),
        "CUDA_MPS_LOG_DIRECTORY": str(folder / LOG),
    }


def _start(folder: Path) -> None:
    for path in (folder, folder / PIPE, folder / LOG):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    # The daemon outlives this call, so it gets a file: a pipe that it inherits would never end.
    said = folder / LOG / "start.log"
    with said.open("wb") as output, suppress(subprocess.TimeoutExpired):
        subprocess.run(
            # Without the first flag a server serves one user at a time, and every slot has a user of its own.
            [PROGRAM, "-multiuser-server", "-d"],
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_START_SECONDS,
            check=False,
            start_new_session=True,
            umask=0o022,  # other users must reach its sockets and pipes
        )
    deadline = time.monotonic() + _START_SECONDS
    while not _listens(folder / PIPE):
        if time.monotonic() > deadline or not _processes(folder):
            last = said.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise _refusal(f"{PROGRAM} did not start ({last[0].strip()}): see whether it starts by hand")
        time.sleep(0.05)


def _end(folder: Path) -> None:
    """End the daemon of a folder and its server: by its own command, else by their process ids."""
    gone = partial(_gone_within, folder)
    if gone(0):
        return
    with suppress(OSError, subprocess.SubprocessError):
        ask(folder / PIPE, f"quit -t {_QUIT_SECONDS}", seconds=2 * _QUIT_SECONDS)
    if gone(2 * _QUIT_SECONDS):
        return
    for process in _processes(folder):
        with suppress(psutil.Error):
            process.kill()
    gone(_QUIT_SECONDS)


def _gone_within(folder: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _processes(folder):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def _processes(folder: Path) -> set[psutil.Process]:
    """The daemon of a folder and what it started. Not by its pid file, which every user may write."""
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            ours = process.uids().real == os.geteuid() and process.name().startswith(_NAME)
            if ours and process.environ().get("CUDA_MPS_PIPE_DIRECTORY") == str(folder / PIPE):
                found |= {process, *process.children(recursive=True)}
    return {process for process in found if _lives(process)}


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
