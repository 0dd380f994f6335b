"""Run something as an ordinary user, though the tests run as root."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from command import ROOT
from grader.sandbox.cgroup import Cgroup, Group

# An account is not needed, only a number that nobody has: no other run of the tests either, whose `kill -9 -1` as this
# user would end what is run here.
UID = 40_000 + os.getpid() % 20_000


@dataclass(frozen=True)
class Way:
    """A level, and who grades: an ordinary user, or whoever runs the tests, which is to be root."""

    level: str
    user: bool

    def __str__(self) -> str:
        return f"{self.level}-{'user' if self.user else 'root'}"


def open_to_all(path: Path) -> bool:
    """Whether an ordinary user can reach a file: no folder above it is closed."""
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in path.parents)


def open_python() -> list[str]:
    """An interpreter that everyone can start, with this environment's packages."""
    own = Path(os.path.realpath(sys.executable))
    system = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    interpreter = own if open_to_all(own) else system
    if not (interpreter.exists() and open_to_all(ROOT / "grader" / "cli.py")):
        if os.environ.get("REQUIRE_SANDBOX"):
            pytest.fail("no interpreter, or no checkout, that an ordinary user can reach")
        pytest.skip("no interpreter, or no checkout, that an ordinary user can reach")
    packages = [entry for entry in sys.path if entry.endswith("site-packages")]
    return ["/usr/bin/env", f"PYTHONPATH={os.pathsep.join([*packages, str(ROOT)])}", str(interpreter)]


def as_user(home: Path, *command: str, group: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command there, in a cgroup of this user's own if one is given."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": str(home)}
    # Root enters the group before it becomes the user: nobody else may move a process out of root's group.
    words = ["/usr/bin/setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", *command]
    entered = words if group is None else Group(group).entering(words)
    return subprocess.run(entered, env=environment, cwd=home, capture_output=True, text=True)


@contextmanager
def delegated(tree: Cgroup) -> Iterator[Path]:
    """A cgroup that belongs to the user, as `systemd-run --user --scope -p Delegate=yes` gives one.

    Graders may leave the one below it into which they moved, and nothing else.
    """
    folder = tree.folder / f"delegated-{os.getpid()}"
    folder.mkdir()
    for name in ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
        os.chown(folder / name, UID, UID)
    try:
        yield folder
    finally:
        Group(folder).kill()
        if (leaf := folder / "grader-itself").exists():
            leaf.rmdir()
        folder.rmdir()
