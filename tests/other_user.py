"""Run something as an ordinary user, though the tests run as root."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from command import ROOT

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


def as_user(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": str(home)}
    return subprocess.run(
        command, user=UID, group=UID, extra_groups=[], env=environment, cwd=home, capture_output=True, text=True
    )
