"""What a harmful program is after, laid open to everyone on the machine: only the sandbox keeps it from that."""

import select
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from grader.data import DataSet

# Where a program finds what it is told: beside its hw6.py.
TARGETS = "targets.py"


@dataclass(frozen=True)
class Witnesses:
    """What must be as it was when a class is over.

    Attributes:
        folder: Holds a file to read, the test set with its labels, and a folder in which everyone may write.
        listeners: By what they are called: they are readable as soon as anyone has reached them.
        bystander: A process of the grader's user.
        secret: In the file that everyone may read; what is in a log was read.
        title: What a program calls its processes that should outlive it.
    """

    folder: Path
    listeners: dict[str, socket.socket]
    bystander: psutil.Process
    secret: str
    title: str

    def targets(self, neighbour: Path) -> str:
        """The source of a module that tells a program where everything is.

        Args:
            neighbour: What somebody else handed in.
        """
        told = {
            "open_folder": str(self.folder / "open"),
            "secret": str(self.folder / "secret"),
            "labels": str(self.folder / "y_test.npy"),
            "neighbour": str(neighbour),
            "tcp": self.listeners["tcp"].getsockname()[1],
            "udp": self.listeners["udp"].getsockname()[1],
            "abstract": self.listeners["abstract"].getsockname()[1:].decode(),
            "bystander": self.bystander.pid,
            "title": self.title,
        }
        return "".join(f"{name} = {value!r}\n" for name, value in told.items())

    def seen(self, logs: Path) -> list[str]:
        """Whatever was reached, changed, ended or left behind; what was read is in a log."""
        reached = select.select(list(self.listeners.values()), [], [], 0)[0]
        found = [f"somebody reached {name}" for name, listener in self.listeners.items() if listener in reached]
        found += [f"a file appeared: {path.name}" for path in (self.folder / "open").iterdir()]
        if (self.folder / "secret").read_text() != self.secret:
            found.append("the file was changed")
        if not _runs(self.bystander):
            found.append("the bystander was stopped or killed")
        found += [
            f"it was read by {log.stem}" for log in logs.glob("*.log") if self.secret.encode() in log.read_bytes()
        ]
        left = (process for process in psutil.process_iter(["name"]) if process.info["name"] == self.title)
        return found + [f"process {process.pid} is left" for process in left]


@contextmanager
def witnesses(folder: Path, data: DataSet, uid: int) -> Iterator[Witnesses]:
    """Lay everything ready in `folder`, as property of the user who grades."""
    secret, title = uuid.uuid4().hex, uuid.uuid4().hex[:12]
    write_test_set(data, folder)
    (folder / "secret").write_text(secret)
    (folder / "secret").chmod(0o644)
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0{uuid.uuid4().hex}")
        abstract.listen()
        bystander = stack.enter_context(subprocess.Popen(["sleep", "86400"], user=uid))
        stack.callback(bystander.kill)
        listeners = {"tcp": tcp, "udp": udp, "abstract": abstract}
        yield Witnesses(folder, listeners, psutil.Process(bystander.pid), secret, title)


def write_test_set(data: DataSet, folder: Path) -> None:
    """The test set where everyone may read it, as it must never be inside a sandbox."""
    for name in ("x_test", "y_test"):
        np.save(folder / f"{name}.npy", getattr(data, name))
        (folder / f"{name}.npy").chmod(0o644)


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
