"""What the cluster adds to each submission: training is a short sleep, and what remains is time and memory.

Without an address it starts two Ray nodes of its own on this machine. What is measured is the hand-over of a
submission and of an entry with a log of the usual size, through Ray; not the ledger, which costs the same everywhere.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from grader.records import Submission
from grader.schedule import Here, Slot
from results import RESULTS, Out, write_section

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


@dataclass(frozen=True)
class Overhead:
    """What was measured.

    Attributes:
        places: Submissions at the same time, on so many nodes.
        memory: The driver's, in MB, after so many submissions.
    """

    nodes: int
    places: int
    tasks: int
    seconds: float
    memory: dict[int, int] = field(default_factory=dict)

    @property
    def milliseconds_each(self) -> float:
        """Beside the sleep, at one place."""
        return 1000 * (self.seconds * self.places / self.tasks - SLEEP_SECONDS)


@contextmanager
def set_up(shared: None, here: Here) -> Iterator[Bench]:
    """Set nothing up."""
    yield Bench(here.name, JOBS)


def sleep(task: Submission, shared: None, bench: Bench, slot: Slot) -> bytes:
    """Take as long as a training run that is very short, and give a log."""
    time.sleep(SLEEP_SECONDS)
    return bytes(LOG_BYTES)


def cluster(
    tasks: Annotated[int, typer.Option(min=10, help="Submissions to hand out.")] = 2_000,
    address: Annotated[str, typer.Option(help="Of a Ray cluster; else two nodes on this machine.")] = "",
    out: Out = RESULTS,
) -> None:
    """Hand out submissions to the nodes of a Ray cluster, and measure what that adds to each."""
    with _address_of(address) as machines:
        measured = measure(machines, tasks)
    write_section(out, "What a cluster adds to each submission", _table(measured))
    typer.echo(f"results: {out}")


def measure(address: str, tasks: int) -> Overhead:
    """Hand out so many submissions, and say what that takes."""
    from grader.schedule.ray import connected  # here: the other parts run where Ray is not installed

    waiting = [Submission(f"s{number:06}", content=os.urandom(SOURCE_BYTES)) for number in range(tasks)]
    driver, memory = psutil.Process(), {}
    with connected(address, set_up, None, JOBS, threading.Event(), print) as found:
        places = sum(machine.jobs for machine in found.machines)
        begun = time.monotonic()
        for done, _ in enumerate(found.run_all(waiting, sleep, lambda _: None), start=1):
            if done in (tasks // 10, tasks):
                memory[done] = driver.memory_info().rss >> 20
                typer.echo(f"after {done}: driver {memory[done]} MB")
        measured = Overhead(len(found.machines), places, tasks, time.monotonic() - begun, memory)
    typer.echo(f"{tasks} at {places} places in {measured.seconds:.1f} s: {measured.milliseconds_each:.1f} ms each")
    return measured


@contextmanager
def _address_of(address: str) -> Iterator[str]:
    """The cluster that is named, or two nodes here for as long as they are needed."""
    if address:
        yield address
        return
    # Nodes find the work by this module's name.
    folder = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    from ray.cluster_utils import Cluster as Machines

    machines: Any = Machines(initialize_head=True, head_node_args=_NODE)
    try:
        machines.add_node(**_NODE)
        yield machines.address
    finally:
        machines.shutdown()


def _table(measured: Overhead) -> list[str]:
    return [
        f"{measured.tasks:,} submissions of {SOURCE_BYTES:,} bytes at {measured.places} places on {measured.nodes}",
        f"nodes; for each a sleep of {SLEEP_SECONDS} s in place of training, and a log of {LOG_BYTES:,} bytes back.",
        "",
        "| what | measured |",
        "|---|---|",
        f"| time that each takes beside its sleep | {measured.milliseconds_each:.1f} ms |",
        *(f"| memory of the driver after {done:,} | {megabytes} MB |" for done, megabytes in measured.memory.items()),
    ]
