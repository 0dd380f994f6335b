"""What the cluster adds to each submission: training is a short sleep, and what remains is time and memory.

    python tests/bench/cluster_overhead.py [PIECES] [ADDRESS]

Without an address it starts two Ray nodes of its own on this machine. What is measured is the hand-over of a
submission and of an entry with a log of the usual size, through Ray; not the ledger, which costs the same everywhere.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster as Machines

from grader.records import Submission
from grader.schedule.cluster import connected
from grader.schedule.dispatch import Seat
from grader.schedule.node import Here

SLEEP_SECONDS = 0.1
JOBS = 2
SOURCE_BYTES, LOG_BYTES = 8_000, 64_000
_NODE = {"num_cpus": 1, "object_store_memory": 200 << 20}


@dataclass(frozen=True)
class Bench:
    """What is set up on a node: places, no cards."""

    name: str
    jobs: int
    cards: tuple[str, ...] = ()


@contextmanager
def set_up(shared: None, here: Here) -> Iterator[Bench]:
    """Set nothing up."""
    yield Bench(here.name, JOBS)


def sleep(piece: Submission, shared: None, bench: Bench, seat: Seat) -> bytes:
    """Take as long as a training run that is very short, and give a log."""
    time.sleep(SLEEP_SECONDS)
    return bytes(LOG_BYTES)


def measure(address: str, pieces: int) -> None:
    """Hand out so many submissions, and print what that took."""
    submissions = (Submission(f"s{number:06}", content=os.urandom(SOURCE_BYTES)) for number in range(pieces))
    driver = psutil.Process()
    with connected(address, set_up, None, JOBS, threading.Event(), print) as cluster:
        waiting = list(submissions)
        places = sum(machine.jobs for machine in cluster.machines)
        begun = time.monotonic()
        for done, _ in enumerate(cluster.run_all(waiting, sleep, lambda _: None), start=1):
            if done in (pieces // 10, pieces):
                print(f"after {done}: driver {driver.memory_info().rss >> 20} MB", flush=True)
        seconds = time.monotonic() - begun
    overhead = 1000 * (seconds * places / pieces - SLEEP_SECONDS)
    print(f"{pieces} submissions at {places} places in {seconds:.1f} s: {overhead:.1f} ms each beside their sleep")


def main() -> None:
    """Measure on the cluster that is named, or on two nodes here."""
    pieces = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    if len(sys.argv) > 2:
        measure(sys.argv[2], pieces)
        return
    folder = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    machines: Any = Machines(initialize_head=True, head_node_args=_NODE)
    try:
        machines.add_node(**_NODE)
        measure(machines.address, pieces)
    finally:
        machines.shutdown()


if __name__ == "__main__":
    # Nodes find the work by the module's name, and `__main__` is another one there.
    import cluster_overhead

    cluster_overhead.main()
