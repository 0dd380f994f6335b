"""Harmless attacks that are run before anything else: what succeeds is a hole."""

import os
import socket
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from grader.assignment import Limits
from grader.errors import InfrastructureError
from grader.sandbox.execute import execute
from grader.sandbox.isolation import Isolation
from grader.sandbox.job import Ending, Job

_PROBE_SECONDS = 20.0
PATH_SOCKET, HIDDEN_MEMORY = "opens a path socket", "holds memory that nothing maps"
# Each line tries one thing that should fail; `libc` calls give 0 where they succeed, and then nothing is divided by it.
PROBES = {
    "reads a file of the grader's user": "open({witness!r}).read()",
    "changes a file of the grader's user": "open({witness!r}, 'a')",
    "writes beside the scratch": "open(code + '/witness', 'w')",
    "writes into the file system's root": "open('/witness', 'w')",
    "changes the submission": "open(job + '/submission', 'w')",
    "sees other processes": "os.kill({pid}, 0)",
    "reads the grader's variables": "open('/proc/{pid}/environ').read()",
    "traces the grader": "libc.ptrace(0x4206, {pid}, None, None) and 1 / 0",
    "reaches the network": "socket.create_connection(('127.0.0.1', {port}), timeout=2)",
    # That nobody is there comes back later: on a busy machine once not within 0.1 s, which looked like a leak.
    "sends a datagram": "udp.connect(('127.0.0.1', {udp})), [(udp.send(b'x'), time.sleep(0.1)) for _ in range(20)]",
    PATH_SOCKET: "socket.socket(socket.AF_UNIX).connect({socket!r})",
    "opens an abstract socket": "socket.socket(socket.AF_UNIX).connect({abstract!r})",
    "becomes root": "os.getuid() and os.setuid(0)",
    "sets the core pattern": "open('/proc/sys/kernel/core_pattern', 'w')",
    "mounts a file system": "libc.mount(b'x', os.getcwd().encode(), b'tmpfs', 0, None) and 1 / 0",
    "makes a user namespace": "libc.unshare(0x10000000) and 1 / 0",
    HIDDEN_MEMORY: "os.memfd_create('hidden')",
}
_BEFORE = """import ctypes, os, socket, sys, time
job, code = sys.argv[-2], os.environ['PYTHONPATH'].split(os.pathsep)[0]
libc = ctypes.CDLL(None, use_errno=True)
udp = None
try:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
except OSError:
    pass
"""
# Holds memory in the one way that no look at the processes shows.
_HOG = """import os
hidden = os.memfd_create('hidden')
for _ in range(256):
    os.write(hidden, bytes(1 << 20))
print('held')
"""


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of the probes.

    Attributes:
        succeeded: Names of those that got through.
        failure: The last thing that was said where the sandbox did not start; empty where it did.
    """

    succeeded: tuple[str, ...] = ()
    failure: str = ""


@contextmanager
def probe_program() -> Iterator[str]:
    """A Python program that prints the name of each probe that succeeds, then `done`; with what it tries to reach."""
    with (
        tempfile.TemporaryDirectory(prefix="grader-probe-") as name,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as local,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        witness, path, hidden = Path(name, "witness"), Path(name, "socket"), f"\0grader-{uuid.uuid4().hex}"
        witness.write_text("secret")
        datagrams.bind(("127.0.0.1", 0))
        for listener, address in ((local, str(path)), (abstract, hidden)):
            listener.bind(address)
            listener.listen()
        targets = {
            "witness": str(witness),
            "pid": os.getpid(),
            "port": server.getsockname()[1],
            "udp": datagrams.getsockname()[1],
            "socket": str(path),
            "abstract": hidden,
        }
        attempts = (
            f"try:\n    {code.format(**targets)}\n    print({name!r})\nexcept Exception:\n    pass\n"
            for name, code in PROBES.items()
        )
        yield _BEFORE + "".join(attempts) + "print('done')\n"


def probe(isolation: Isolation, limits: Limits) -> Probed:
    """Run every probe under one kind of isolation."""
    with probe_program() as program:
        try:
            ending, lines = _run(isolation, limits, program)
        except InfrastructureError as error:
            return Probed(failure=str(error))
    if ending is not Ending.EXITED or not lines or lines[-1] != "done":
        return Probed(failure=lines[-1] if lines else "it said nothing")
    return Probed(succeeded=tuple(line for line in lines if line in PROBES))


def hidden_memory_is_bounded(isolation: Isolation, limits: Limits) -> bool:
    """Whether 256 MB that nothing maps are too much for a job that may have 64."""
    small = limits.model_copy(update={"memory_mb": 48, "scratch_mb": 4, "shared_memory_mb": 8})
    return _run(isolation, small, _HOG)[0] is Ending.MEMORY_LIMIT


def _run(isolation: Isolation, limits: Limits, program: str) -> tuple[Ending, list[str]]:
    with tempfile.TemporaryDirectory(prefix="grader-probe-") as name:
        folder = Path(name, "job")
        folder.mkdir(mode=0o755)
        (folder / "submission").write_text("")
        job = Job(folder, limits, ready_seconds=_PROBE_SECONDS)
        execution = execute(isolation, job, threading.Event(), ("-c", program))
    return execution.ending, execution.log.decode(errors="replace").splitlines()
