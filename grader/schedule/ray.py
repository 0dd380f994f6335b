"""Run work on the nodes of a Ray cluster. Needs the extra `cluster`; nothing else imports Ray.

One actor, a `Node`, holds all processors and cards of a node and divides them among its slots as `Local` does. Tasks
and results travel as values. What all tasks share lies in Ray's object store once, and each node takes one copy. Only
the driver knows what is graded: if it dies, what was in flight is lost, and Ray ends its actors.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from grader.errors import Cancelled, InfrastructureError, SlotLost, UserError
from grader.progress import Event, Printed, StageBegun, Watch
from grader.schedule import Finished, Here, M, R, S, Slot, T, run_at, slots_of

# How often a node's process is started anew before the node counts as lost.
_MOST_RESTARTS = 3
_SETUP_SECONDS = 300
_COMES_BACK_SECONDS = 120
_LISTEN_SECONDS = 1.0
# How long work may take to end by itself after Ctrl-C, and a node to remove its folder.
_GRACE_SECONDS = 15
# So much of what scripts print waits for the driver; more is left out, as on a terminal that is too slow.
_MOST_EVENTS = 200


# Called on the node with what all tasks share; what it gives is kept until the node closes.
Setup = Callable[[S, Here], AbstractContextManager[M]]


@dataclass(frozen=True, slots=True)
class _Member(Generic[M]):
    """A node that takes part."""

    name: str
    actor: Any
    fetch: Callable[[], Any]
    machine: M


@contextmanager
def connected(
    address: str,
    setup: Setup[S, M],
    shared: S,
    jobs: int,
    cancelled: threading.Event,
    say: Callable[[str], None],
) -> Iterator["Cluster[S, M]"]:
    """The nodes that are there now, set up; a node whose setup raises is named and left out.

    Args:
        address: Of the cluster's head, as `host:port`, or `auto`.
        shared: Handed to `setup` and to each task.
        jobs: The most tasks at the same time on each card, or on a node without cards.

    Raises:
        UserError: There is no cluster, or none of its nodes can take part.
        Cancelled: Everything was to stop.
    """
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise UserError(
            f"no Ray cluster answers at CLUSTER={address} ({reason}): start one with `ray start --head`"
        ) from None
    actors: dict[str, Any] = {}
    try:
        # Not an argument of the actor: with one, Ray may fail to start it anew, and says so each time.
        fetch = partial(ray.get, ray.put(shared))
        for name, node in _nodes():
            actors[name] = _actor(node, jobs).remote(setup, name, int(node["Resources"]["CPU"]))
        members = _set_up(actors, fetch, cancelled, say)
        if not members:
            raise UserError("no node of the cluster can grade: see the reasons above")
        yield Cluster(members, cancelled)
    finally:
        for actor in actors.values():
            actor.stop.remote()
        closing = [actor.close.remote() for actor in actors.values()]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=_GRACE_SECONDS)
        ray.shutdown()


class Cluster(Generic[S, M]):
    """The nodes that take part, as a `Scheduler`."""

    def __init__(self, members: Sequence[_Member[M]], cancelled: threading.Event) -> None:
        self._members = members
        self._cancelled = cancelled
        self._lost: set[str] = set()

    @property
    def machines(self) -> Sequence[M]:
        """What was set up on each node, lost ones too."""
        return [member.machine for member in self._members]

    def run_all(
        self, tasks: Sequence[T], work: Callable[[T, S, M, Slot], R], watch: Watch, *, alone: bool = False
    ) -> Iterator[tuple[T, Finished[R]]]:
        """As `Scheduler.run_all`."""
        slots = [
            slot
            for member in self._members
            for slot in slots_of(member.machine, member.name, alone, self._cancelled, watch)
        ]
        run = partial(_run, {member.name: member for member in self._members}, work)
        over = threading.Event()
        attendant = threading.Thread(target=self._attend, args=(watch, over), name="cluster")
        attendant.start()
        try:
            yield from run_at(slots, tasks, run, self._lost)
        finally:
            over.set()
            attendant.join()

    def _attend(self, watch: Watch, over: threading.Event) -> None:
        """Pass on what the nodes tell; tell them when everything is to stop."""
        stopped: float | None = None
        ended = False
        while not ended:
            ended = over.wait(_LISTEN_SECONDS)
            if self._cancelled.is_set():
                stopped = stopped or self._stop()
                if time.monotonic() > stopped + _GRACE_SECONDS:
                    self._kill()
            self._pass_on(watch)

    def _pass_on(self, watch: Watch) -> None:
        asked = [member.actor.heard.remote() for member in self._members if member.name not in self._lost]
        answered, _ = ray.wait(asked, num_returns=len(asked), timeout=_LISTEN_SECONDS) if asked else ([], [])
        for answer in answered:
            with suppress(RayError):  # whoever waits for its work hears that it is gone
                for event in ray.get(answer):
                    watch(event)

    def _stop(self) -> float:
        for member in self._members:
            member.actor.stop.remote()
        return time.monotonic()

    def _kill(self) -> None:
        for member in self._members:
            ray.kill(member.actor)


class Node(Generic[S, M]):
    """An actor: one process on the node, with a thread for each task and some for what is asked meanwhile.

    A call with `fetch` sets the node up if that has not happened yet, also after its process was started anew. `fetch`
    gives what all tasks share, and is called once.

    Args:
        cores: Processor cores that it may use.
    """

    def __init__(self, setup: Setup[S, M], name: str, cores: int) -> None:
        self._setup = setup
        self._here = Here(name, cores, threading.Event())
        self._opening = threading.Lock()
        self._open = ExitStack()
        self._opened: tuple[S, M] | None = None
        self._events: deque[Event] = deque()

    def machine(self, fetch: Callable[[], S]) -> M:
        """What was set up here."""
        return self._set_up(fetch)[1]

    def work(
        self,
        fetch: Callable[[], S],
        work: Callable[[T, S, M, Slot], R],
        task: T,
        number: int,
        alone: bool,
        card: str,
    ) -> R:
        """Work on one task; whatever it raises is raised at the driver."""
        slot = Slot(number, alone, card, self._here.name, self._here.cancelled, self._watch)
        return work(task, *self._set_up(fetch), slot)

    def heard(self) -> list[Event]:
        """What happened since the last call."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def stop(self) -> None:
        """End what runs."""
        self._here.cancelled.set()

    def close(self) -> None:
        """Undo the setup."""
        with self._opening:
            self._open.close()

    def _set_up(self, fetch: Callable[[], S]) -> tuple[S, M]:
        with self._opening:
            if self._opened is None:
                shared = fetch()
                self._opened = shared, self._open.enter_context(self._setup(shared, self._here))
            return self._opened

    def _watch(self, event: Event) -> None:
        if isinstance(event, StageBegun):
            event = replace(event, node=self._here.name)
        if not isinstance(event, Printed) or len(self._events) < _MOST_EVENTS:
            self._events.append(event)


def _nodes() -> Iterator[tuple[str, dict[str, Any]]]:
    """The nodes with processors to give, each with a name that no other has."""
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = [node for node in known if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    hosts = [node["NodeManagerHostname"] for node in alive]
    for host, node in zip(hosts, alive, strict=True):
        yield (host if hosts.count(host) == 1 else f"{host}-{node['NodeID'][:6]}"), node


def _actor(node: dict[str, Any], jobs: int) -> Any:
    """The class of actors for one node: it takes the node whole, and is started anew a few times if it is killed."""
    cards = int(node["Resources"].get("GPU", 0))
    options = {
        "num_cpus": int(node["Resources"]["CPU"]),
        "num_gpus": cards,
        # Also one to listen, one to stop, one to close.
        "max_concurrency": jobs * max(1, cards) + 3,
        "max_restarts": _MOST_RESTARTS,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
    }
    return ray.remote(Node).options(**options)


def _set_up(
    actors: dict[str, Any], fetch: Callable[[], Any], cancelled: threading.Event, say: Callable[[str], None]
) -> list[Any]:
    """Wait until each node is set up or has said why it cannot be."""
    names = {actor.machine.remote(fetch): name for name, actor in actors.items()}
    members: list[Any] = []
    waiting, deadline = list(names), time.monotonic() + _SETUP_SECONDS
    while waiting and time.monotonic() < deadline:
        if cancelled.is_set():
            raise Cancelled
        ready, waiting = ray.wait(waiting, timeout=0.5)
        for answer in ready:
            name = names[answer]
            try:
                members.append(_Member(name, actors[name], fetch, ray.get(answer)))
            except RayError as error:
                say(f"node {name} is left out: {_reason(error)}")
    for answer in waiting:
        say(f"node {names[answer]} is left out: it was not ready after {_SETUP_SECONDS} s; does something else use it?")
    return sorted(members, key=lambda member: member.name)


def _run(members: Mapping[str, _Member[M]], work: Callable[[T, S, M, Slot], R], slot: Slot, task: T) -> R:
    """Have one task worked on at a node."""
    member = members[slot.machine]
    try:
        asked = member.actor.work.remote(member.fetch, work, task, slot.number, slot.alone, slot.card)
        result: R = ray.get(asked)
    except RayTaskError as error:
        if isinstance(error.cause, (Cancelled, UserError, InfrastructureError, SlotLost)):
            raise error.cause from None
        raise
    except RayError:
        raise SlotLost(member.name, for_good=not _comes_back(member)) from None
    return result


def _comes_back(member: _Member[M]) -> bool:
    """Whether the node's process runs again, after Ray has started it anew."""
    deadline = time.monotonic() + _COMES_BACK_SECONDS
    while time.monotonic() < deadline:
        try:
            ray.get(member.actor.machine.remote(member.fetch), timeout=_COMES_BACK_SECONDS)
        except ray.exceptions.ActorUnavailableError:
            time.sleep(1)  # it is not decided yet
        except RayError:
            return False
        else:
            return True
    return False


def _reason(error: RayError) -> str:
    cause = getattr(error, "cause", None)
    return str(cause) if isinstance(cause, (UserError, InfrastructureError)) else str(error).strip().splitlines()[-1]
