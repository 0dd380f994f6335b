"""Run attacks at one level, as whoever starts this: `python run_attacks.py LEVEL OUT NAME...`; a JSON line for each."""

import json
import os
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from grader.assignment import load_assignment
from grader.sandbox import Isolation, Job, execute, rungs

ATTACKS = Path(__file__).parents[1] / "attacks"
SECONDS = 10.0
# For those that only their time ends.
SECONDS_OF_THE_ENDLESS = dict.fromkeys(("stops_itself", "hangs_in_c_code", "forks_and_kills_again"), 4.0)
LIMITS = {
    **{"memory_mb": 900, "scratch_mb": 32, "shared_memory_mb": 16, "output_mb": 4},
    **{"processes": 64, "open_files": 256},
}
# What the worker sets before a script begins (grader/worker/limits.py), without the seconds that torch takes to load.
# It never asks for more than it has: without a user of its own, a job counts this user's threads, now more, now fewer.
_LIMITS_AS_IN_THE_WORKER = """
limits = {limits!r}
for kind, value in (
    (resource.RLIMIT_NPROC, {processes}),
    (resource.RLIMIT_NOFILE, limits["open_files"]),
    (resource.RLIMIT_FSIZE, limits["scratch_mb"] << 20),
):
    _, most = resource.getrlimit(kind)
    bound = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(kind, (bound, bound))
"""


def program(name: str, target: dict[str, object], processes: int | None, marker: str = "") -> str:
    """An attack as it is run; without `processes`, without any limit."""
    limits = "" if processes is None else _LIMITS_AS_IN_THE_WORKER.format(limits=LIMITS, processes=processes)
    attack = (ATTACKS / f"{name}.py").read_text(encoding="utf-8")
    return f"import os, resource\n{limits}target = {target!r}\nmarker = {marker!r}\n{attack}"


def run_attack(isolation: Isolation, name: str) -> dict[str, object]:
    """One attack's ending, what it printed, and what it left: `survivors` and a witness that changed."""
    limits = load_assignment().limits.model_copy(update=LIMITS)
    marker = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="attacked-") as folder, _place_for_jobs() as jobs:
        witness = Path(folder, "witness")
        witness.write_text("secret")
        job_folder = Path(folder, "job")
        job_folder.mkdir(mode=0o755)
        (job_folder / "submission").write_text("")
        target = {"pid": os.getpid(), "witness": str(witness), "home": folder}
        attack = program(name, target, isolation.processes(limits), marker)
        job = Job(job_folder, limits, ready_seconds=SECONDS_OF_THE_ENDLESS.get(name, SECONDS))
        execution = execute(isolation, job, threading.Event(), ("-c", attack))
        return {
            "attack": name,
            "ending": execution.ending.value,
            "log": execution.log.decode(errors="replace")[-2000:],
            "survivors": _survivors(marker),
            "witness_kept": witness.read_text() == "secret",
            "descriptors": len(os.listdir("/proc/self/fd")),
            "children": len(psutil.Process().children(recursive=True)),
            "memory": psutil.Process().memory_info().rss,
            "folders_left": sorted(path.name for path in jobs.iterdir()),
        }


@contextmanager
def _place_for_jobs() -> Iterator[Path]:
    """Where jobs without namespaces get their folders meanwhile: other graders have theirs elsewhere."""
    with tempfile.TemporaryDirectory(prefix="jobs-") as folder:
        Path(folder).chmod(0o711)
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


def _survivors(marker: str) -> int:
    found = 0
    for process in psutil.process_iter(["cmdline", "status"]):
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        found += alive and any(marker in word for word in process.info["cmdline"] or [])
    return found


def rung(level: str) -> Isolation | None:
    """The isolation of one level here, if it can be had."""
    return next((found.isolation for found in rungs(load_assignment().limits) if found.level == level), None)


def main(level: str, out: str, *names: str) -> None:
    """Write a line for each attack as soon as it is over."""
    isolation = rung(level)
    with open(out, "a", encoding="utf-8") as file:
        if isolation is None:
            print(json.dumps({"attack": "", "log": f"{level} cannot be had here"}), file=file)
            return
        for name in names:
            print(json.dumps(run_attack(isolation, name)), file=file, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
