"""Groups of processes with limits that the kernel keeps (cgroup v2), also on memory that nothing maps."""

import errno
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from grader.assignment import Limits
from grader.errors import InfrastructureError

NEEDED = ("memory", "pids")
_BOOT_WITH = "start Linux with systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all"
_DELEGATE = "systemd-run --user --scope -p Delegate=yes make grade ..."
_OWN_LEAF = "grader-itself"
_PERIOD = 100_000  # microseconds
# bwrap itself and the first process that it makes: in the group, but not the script's.
_PROCESSES_OF_BUBBLEWRAP = 2
# A kernel that does not count swap has none of this.
_SWAP = "memory.swap.max"
_EMPTY_SECONDS = 20.0


class Refused(Exception):
    """No group can be made here; the text says why.

    Attributes:
        raise_by: The command that would change that; empty where none is known.
    """

    def __init__(self, reason: str, raise_by: str = "") -> None:
        super().__init__(reason)
        self.raise_by = raise_by


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A folder of the cgroup tree below which groups with these controllers can be made."""

    folder: Path
    controllers: frozenset[str]

    @contextmanager
    def group(self, limits: Limits, threads: int) -> Iterator["Group"]:
        """A group for one job, gone afterwards with whatever is in it.

        Raises:
            InfrastructureError: It cannot be made, limited or removed.
        """
        with _faults_of_ours():
            made = Group(Path(tempfile.mkdtemp(prefix="grader-", dir=self.folder)))
        try:
            with _faults_of_ours():
                for name, value in self._bounds(limits, threads):
                    limit = made.folder / name
                    if name != _SWAP or limit.exists():
                        limit.write_text(value)
            yield made
        finally:
            with _faults_of_ours():
                made.kill()
                made.folder.rmdir()

    def _bounds(self, limits: Limits, threads: int) -> Iterator[tuple[str, str]]:
        if "memory" in self.controllers:
            # Files in the scratch are memory, too, and have bounds of their own.
            megabytes = limits.memory_mb + 2 * limits.scratch_mb + limits.shared_memory_mb
            yield from (("memory.max", str(megabytes << 20)), (_SWAP, "0"), ("memory.oom.group", "1"))
        if "pids" in self.controllers:
            yield "pids.max", str(limits.processes + _PROCESSES_OF_BUBBLEWRAP)
        if "cpu" in self.controllers:
            yield "cpu.max", f"{threads * _PERIOD} {_PERIOD}"


@dataclass(frozen=True, slots=True)
class Group:
    """One job's group."""

    folder: Path

    def entering(self, command: Sequence[str]) -> list[str]:
        """The command that enters the group before it becomes another: nothing that it starts is outside."""
        return ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.folder), *command]

    def out_of_memory(self) -> bool:
        """Whether the kernel killed the job at its own limit; where the machine was full, `oom_kill` alone counts."""
        return self._count("memory.events", "oom") > 0 and self._count("memory.events", "oom_kill") > 0

    def killed_for_memory(self) -> bool | None:
        """Whether the kernel killed a process of the group, at whatever limit; None where it does not count that."""
        if not (self.folder / "memory.events").exists():
            return None
        return self._count("memory.events", "oom_kill") > 0

    def processor_seconds(self) -> float:
        """Processor time of all processes that ever were in the group; 0 where it is not counted."""
        return self._count("cpu.stat", "usage_usec") / 1e6

    def kill(self) -> None:
        """End everything in the group.

        Raises:
            InfrastructureError: Something does not end.
        """
        (self.folder / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + _EMPTY_SECONDS
        while self._count("cgroup.events", "populated"):
            if time.monotonic() > deadline:
                raise InfrastructureError("a process of the sandbox does not end; it may be stuck in a driver")
            time.sleep(0.002)

    def _count(self, file: str, name: str) -> int:
        try:
            text = (self.folder / file).read_text()
        except OSError:
            return 0
        found = re.search(rf"^{name} (\d+)$", text, re.MULTILINE)
        return int(found[1]) if found else 0


@contextmanager
def _faults_of_ours() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InfrastructureError(f"the cgroup does not do what it should: {error}") from error


def find_cgroup(needed: Sequence[str] = NEEDED) -> Cgroup:
    """Where groups with limits can be made: below the tree's root, or below this process's own group.

    Args:
        needed: Controllers that must be there.

    Raises:
        Refused: Nowhere.
    """
    root = _mount(Path("/proc/self/mounts").read_text())
    groups = Path("/proc/self/cgroup").read_text()
    path = re.search(r"^0::/(\S*)", groups, re.MULTILINE)
    own = root / (path[1] if path else "")
    if own.name == _OWN_LEAF:  # a grader was here before
        own = own.parent
    reason = Refused("there is no cgroup tree that can be written to")
    for folder in dict.fromkeys((root, own) if os.geteuid() == 0 else (own,)):
        try:
            return _prepared(folder, needed, groups, own=folder == own)
        except Refused as refused:
            reason = refused
    raise reason


def _mount(mounts: str) -> Path:
    found = re.search(r"^\S+ (\S+) cgroup2 ", mounts, re.MULTILINE)
    if found is None:
        raise Refused("no cgroup v2 tree is mounted")
    return Path(found[1])


def _prepared(folder: Path, needed: Sequence[str], groups: str, *, own: bool) -> Cgroup:
    delegate = "" if os.geteuid() == 0 else _DELEGATE
    try:
        there = set((folder / "cgroup.controllers").read_text().split())
        if lacking := [name for name in needed if name not in there]:
            what = f"controller for {' and '.join(lacking)}"
            if re.search(rf"^\d+:([^:]*,)?{re.escape(lacking[0])}[,:]", groups, re.MULTILINE):
                raise Refused(f"the cgroup v2 tree has no {what} (v1 has it)", _BOOT_WITH)
            raise Refused(f"this process's cgroup has no {what}", delegate)
        wanted = frozenset(there & {"memory", "pids", "cpu"})
        _enable(folder, wanted, own=own)
        os.rmdir(tempfile.mkdtemp(prefix="grader-", dir=folder))
    except OSError as error:
        raise Refused(f"the cgroup tree cannot be written to ({error.strerror})", delegate) from None
    return Cgroup(folder, wanted)


def _enable(folder: Path, wanted: frozenset[str], *, own: bool) -> None:
    switch = folder / "cgroup.subtree_control"
    if wanted <= set(switch.read_text().split()):
        return
    on = " ".join(f"+{name}" for name in sorted(wanted))
    try:
        switch.write_text(on)
    except OSError as error:
        if error.errno != errno.EBUSY or not own:
            raise
        # A group with processes in it may not hand on controllers: the processes move one level down first.
        pids = {int(pid) for pid in (folder / "cgroup.procs").read_text().split()}
        if pids - _own_processes():
            raise Refused("this process's cgroup holds other processes too", _DELEGATE) from None
        leaf = folder / _OWN_LEAF
        leaf.mkdir(exist_ok=True)
        for pid in pids:
            (leaf / "cgroup.procs").write_text(str(pid))
        switch.write_text(on)


def _own_processes() -> set[int]:
    """The grader, what started it and what it started."""
    this = psutil.Process()
    return {process.pid for process in (this, *this.parents(), *this.children(recursive=True))}
