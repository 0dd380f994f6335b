"""Find out what isolation this machine really gives, by trying to break it with harmless attacks."""

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from grader.assignment import Limits
from grader.errors import InfrastructureError, Mistake
from grader.records import IsolationLevel
from grader.sandbox.execute import execute
from grader.sandbox.job import Ending, Execution, Job

INSTALL_BUBBLEWRAP = "sudo apt-get install bubblewrap"
_PROBE_SECONDS = 20.0
# Each line tries one thing that must fail; the name of what worked is printed.
_PROBES = {
    "reads a file of the grader's user": "open({witness!r}).read()",
    "writes beside the scratch": "open('/code/witness', 'w')",
    "writes into the file system's root": "open('/witness', 'w')",
    "changes the submission": "open('/job/submission', 'w')",
    "sees other processes": "os.kill({pid}, 0)",
    "reaches the network": "socket.create_connection(('127.0.0.1', {port}), timeout=2)",
    "opens a path socket": "socket.socket(socket.AF_UNIX).connect({socket!r})",
    "becomes root": "os.setuid(0)",
    "sets the core pattern": "open('/proc/sys/kernel/core_pattern', 'w')",
    "mounts a file system": "ctypes.CDLL(None, use_errno=True).mount(b'x', b'/scratch', b'tmpfs', 0, 0) and 1 / 0",
}


@dataclass(frozen=True, slots=True)
class Isolation:
    """What keeps submissions apart from everything else on this machine.

    Attributes:
        bwrap: The bubblewrap program.
        description: One line for people and for every result.
    """

    level: IsolationLevel
    bwrap: str
    description: str


def find_isolation(limits: Limits) -> Isolation:
    """Probe bubblewrap with real attempts.

    Raises:
        Mistake: There is no bubblewrap, it does not start, or an attempt succeeded: nothing may be graded.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise Mistake(f"bubblewrap is missing, and nothing is run without it; install it: {INSTALL_BUBBLEWRAP}")
    succeeded = _run_probes(bwrap, limits)
    if succeeded:
        raise Mistake(f"this machine's sandbox leaks, nothing was graded: a probe {'; a probe '.join(succeeded)}")
    user = "separate user for each slot" if os.geteuid() == 0 else "user namespace"
    held = f"{len(_PROBES)} of {len(_PROBES)} probes held"
    unbounded = "a shared-memory hog is not bounded"
    return Isolation(IsolationLevel.STRONG, bwrap, f"strong (bubblewrap, {user}, watchdog; {held}; {unbounded})")


@contextmanager
def probe_program() -> Iterator[str]:
    """A Python program that prints the name of each probe that succeeds, then `done`; with what it tries to reach."""
    with (
        tempfile.TemporaryDirectory(prefix="grader-probe-") as name,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
    ):
        witness, path = Path(name, "witness"), Path(name, "socket")
        witness.write_text("secret")
        local.bind(str(path))
        local.listen()
        targets = {"witness": str(witness), "pid": os.getpid(), "port": server.getsockname()[1], "socket": str(path)}
        attempts = (
            f"try:\n    {code.format(**targets)}\n    print({name!r})\nexcept Exception:\n    pass\n"
            for name, code in _PROBES.items()
        )
        yield "import ctypes, os, socket\n" + "".join(attempts) + "print('done')\n"


def _run_probes(bwrap: str, limits: Limits) -> list[str]:
    """Names of the probes that succeeded."""
    with tempfile.TemporaryDirectory(prefix="grader-probe-") as name, probe_program() as program:
        folder = Path(name, "job")
        folder.mkdir(mode=0o755)
        (folder / "submission").write_text("")
        execution = _execute(bwrap, Job(folder, limits, ready_seconds=_PROBE_SECONDS), program)
    lines = execution.log.decode(errors="replace").splitlines()
    if execution.ending is not Ending.EXITED or not lines or lines[-1] != "done":
        raise Mistake(_why_it_does_not_start(lines))
    return lines[:-1]


def _execute(bwrap: str, job: Job, program: str) -> Execution:
    try:
        return execute(bwrap, job, threading.Event(), ("-c", program))
    except InfrastructureError as error:
        raise Mistake(f"{error}; install it anew: {INSTALL_BUBBLEWRAP}") from None


def _why_it_does_not_start(lines: list[str]) -> str:
    said = lines[-1] if lines else "it said nothing"
    if "Unknown option" in said:
        way_out = "install bubblewrap 0.8 or newer, for example from your distribution's next release"
    elif "uid map" in said or "RTM_NEWADDR" in said:
        way_out = "AppArmor restricts user namespaces: run as root, or allow them to bwrap in an AppArmor profile"
    elif "namespace" in said:
        way_out = "user namespaces are switched off: run as root, or `sudo sysctl -w user.max_user_namespaces=10000`"
    elif "mount proc" in said:
        way_out = "this container masks /proc: run outside it, or start it with an unmasked /proc"
    else:
        way_out = "run the grader on the machine itself rather than in a container"
    return f"bubblewrap does not start here ({said}); nothing was graded; {way_out}"
