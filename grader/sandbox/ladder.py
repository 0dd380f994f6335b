"""The ladder of isolation levels: the strongest that holds here, found by attacking it; never one below the wish."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from grader.assignment import Limits
from grader.errors import Mistake
from grader.records import IsolationLevel
from grader.sandbox import fallback, seccomp
from grader.sandbox.cgroup import Refused, find_cgroup
from grader.sandbox.isolation import Isolation
from grader.sandbox.probe import HIDDEN_MEMORY, PATH_SOCKET, PROBES, hidden_memory_is_bounded, probe
from grader.sandbox.runtime import runtime

INSTALL_BUBBLEWRAP = "sudo apt-get install bubblewrap"
INSTALL_SECCOMP = "sudo apt-get install libseccomp2"
_LEVELS = tuple(IsolationLevel)
# What each rung may let through; every other probe that succeeds is a leak.
_OPEN = {
    IsolationLevel.STRONG: {HIDDEN_MEMORY},
    IsolationLevel.PARTIAL: {HIDDEN_MEMORY, PATH_SOCKET},
    IsolationLevel.NONE: set(PROBES),
}
_CAVEATS = {HIDDEN_MEMORY: "a shared-memory hog is not bounded", PATH_SOCKET: "path sockets are not isolated"}


@dataclass(frozen=True, slots=True)
class Rung:
    """One level of the ladder on this machine.

    Attributes:
        isolation: None where the level cannot be had.
        refusal: Why it cannot; empty where it can.
        raise_by: The one command that would change that; empty where none is known.
        succeeded: The probes that got through.
    """

    level: IsolationLevel
    isolation: Isolation | None
    refusal: str = ""
    raise_by: str = ""
    succeeded: tuple[str, ...] = ()


def find_isolation(limits: Limits, least: IsolationLevel = IsolationLevel.STRONG) -> Isolation:
    """Take the strongest level that holds.

    Args:
        least: The weakest that will do; `none` is taken only where this names it.

    Raises:
        Mistake: No level from `least` on holds here; nothing may be graded.
    """
    refused: list[Rung] = []
    for rung in rungs(limits):
        if _LEVELS.index(rung.level) > _LEVELS.index(least):
            break
        if rung.isolation is not None:
            return rung.isolation
        refused.append(rung)
    last = refused[-1]
    way_out = f": {last.raise_by}" if last.raise_by else ""
    raise Mistake(
        f"{last.refusal}, and the assignment asks for isolation at least {least}; nothing was graded{way_out} "
        "(`make doctor` says what this machine offers)"
    )


def rungs(limits: Limits) -> Iterator[Rung]:
    """Every level, strongest first; each is tried only when it is asked for."""
    strong = _strong(limits)
    yield _full(strong, limits)
    yield strong
    yield _partial(limits)
    yield _none(limits)


def _strong(limits: Limits) -> Rung:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return Rung(IsolationLevel.STRONG, None, "bubblewrap is missing", INSTALL_BUBBLEWRAP)
    filtered = not seccomp.missing()
    user = "separate user for each slot" if os.geteuid() == 0 else "user namespace"
    parts = ["bubblewrap", user, *(["system call filter"] if filtered else []), "watchdog"]
    bare = Isolation(IsolationLevel.STRONG, "", bwrap=bwrap, filtered=filtered)
    return _probed(bare, parts, limits)


def _full(strong: Rung, limits: Limits) -> Rung:
    if strong.isolation is None:
        return Rung(IsolationLevel.FULL, None, strong.refusal, strong.raise_by)
    try:
        cgroup = find_cgroup()
    except Refused as refused:
        return Rung(IsolationLevel.FULL, None, f"there is no cgroup to bound a job: {refused}", refused.raise_by)
    full = replace(strong.isolation, level=IsolationLevel.FULL, cgroup=cgroup)
    # The probes are run again, inside the group: that a level begins at all is seen before it is chosen.
    found = probe(full, limits)
    if found.failure or not set(found.succeeded) <= set(strong.succeeded):
        return Rung(IsolationLevel.FULL, None, f"no job runs in a cgroup here ({found.failure or 'a probe got out'})")
    if not strong.isolation.filtered and not hidden_memory_is_bounded(full, limits):
        return Rung(IsolationLevel.FULL, None, "the cgroup does not bound memory")
    inside = strong.isolation.description.removeprefix("strong (").replace(f"; {_CAVEATS[HIDDEN_MEMORY]}", "")
    kept = ", ".join(sorted(cgroup.controllers))
    described = replace(full, description=f"full (cgroup for {kept}; {inside}")
    return Rung(IsolationLevel.FULL, described, succeeded=strong.succeeded)


def _partial(limits: Limits) -> Rung:
    if why := fallback.landlock_missing():
        return Rung(IsolationLevel.PARTIAL, None, why)
    if why := seccomp.missing():
        return Rung(IsolationLevel.PARTIAL, None, why, INSTALL_SECCOMP)
    user = ["separate user for each slot"] if os.geteuid() == 0 else []
    bare = Isolation(IsolationLevel.PARTIAL, "", filtered=True)
    return _probed(bare, ["Landlock", "system call filter", *user, "keeper", "watchdog"], limits)


def _none(limits: Limits) -> Rung:
    return _probed(Isolation(IsolationLevel.NONE, ""), ["limits only", "keeper", "watchdog"], limits)


def _probed(bare: Isolation, parts: list[str], limits: Limits) -> Rung:
    """Attack one rung; say what it is made of and what it does not hold."""
    level = bare.level
    if not bare.bwrap and os.geteuid() == 0 and (closed := _closed_folder()):
        why = f"the level {level} runs jobs as another user, who cannot pass {closed}, where Python lies"
        return Rung(level, None, why, "make setup PYTHON=/usr/bin/python3")
    found = probe(bare, limits)
    if found.failure:
        what = "bubblewrap" if bare.bwrap else f"the level {level}"
        return Rung(level, None, f"{what} does not start here ({found.failure})", _way_out(found.failure))
    if leaks := [name for name in found.succeeded if name not in _OPEN[level]]:
        refusal = f"this machine's sandbox leaks: a probe {'; a probe '.join(leaks)}"
        return Rung(level, None, refusal, "" if bare.filtered else INSTALL_SECCOMP, found.succeeded)
    held = f"{len(PROBES) - len(found.succeeded)} of {len(PROBES)} probes held"
    caveats = [_CAVEATS[name] for name in found.succeeded if name in _CAVEATS]
    if not bare.bwrap:
        caveats += ["the disk is watched, not bounded", "files in /dev/shm are not bounded"]
    if level is IsolationLevel.NONE:
        caveats = [*(name for name in found.succeeded if name not in _CAVEATS), *caveats, "grades are provisional"]
    described = replace(bare, description=f"{level} ({', '.join(parts)}; {'; '.join([held, *caveats])})")
    return Rung(level, described, succeeded=found.succeeded)


def _closed_folder() -> Path | None:
    """A folder above the interpreter or its packages that only its owner may pass."""
    folders = (folder for path in runtime() for folder in reversed(path.parents))
    return next((folder for folder in folders if not folder.stat().st_mode & 0o001), None)


def _way_out(said: str) -> str:
    """What helps where bubblewrap said this."""
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
    return way_out
