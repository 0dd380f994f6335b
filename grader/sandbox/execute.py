"""Start one job, talk to it over pipes under a deadline, and end its whole process tree."""

import contextlib
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence

from grader.errors import Cancelled, InfrastructureError
from grader.sandbox.bubblewrap import bubblewrap
from grader.sandbox.cgroup import Group
from grader.sandbox.conversation import Conversation
from grader.sandbox.fallback import job_folder, keeper_command
from grader.sandbox.isolation import Isolation
from grader.sandbox.job import Ending, Execution, Job, Listener
from grader.sandbox.processes import KeptTree, NamespaceTree, ProcessTree

_TICK_SECONDS = 0.2
# So long without a tick, this process was stopped or the machine stood still: that time is nobody's.
_STANDSTILL_SECONDS = 5.0
# What a job may take to end by itself after its last score.
_FAREWELL_SECONDS = 10.0
WORKER = ("-m", "grader.worker.main")


def execute(
    isolation: Isolation,
    job: Job,
    cancelled: threading.Event,
    program: Sequence[str] = WORKER,
    listener: Listener | None = None,
) -> Execution:
    """Start a job and run it to its end, as `started` and `StartedJob.run` say."""
    with started(isolation, job, program) as waiting:
        return waiting.run(cancelled, listener)


@contextlib.contextmanager
def started(isolation: Isolation, job: Job, program: Sequence[str] = WORKER) -> Iterator["StartedJob"]:
    """Start the worker in the sandbox, where it sets itself up, then waits; nothing of it is left afterwards.

    Must be called from a thread that outlives the job: bwrap dies with the thread that started it.

    Args:
        program: Of the interpreter; five words follow it: the descriptors of the images, the scores and the report,
            the job's folder, and the training set's folder (empty: none).

    Raises:
        InfrastructureError: The sandbox could not be started.
    """
    with contextlib.ExitStack() as stack:
        ours, theirs = _pipes(stack)
        group = stack.enter_context(isolation.cgroup.group(job)) if isolation.cgroup else None
        tree = stack.enter_context(_process_tree(isolation, job, program, ours, theirs, group, stack))
        yield StartedJob(job, tree, ours)


class StartedJob:
    """A job that has not been told to begin."""

    def __init__(self, job: Job, tree: ProcessTree, ours: dict[str, int]) -> None:
        self._job, self._tree, self._ours = job, tree, ours

    def run(self, cancelled: threading.Event, listener: Listener | None = None) -> Execution:
        """Tell the worker to begin; wait until it ends or meets a limit. Can be called once.

        Args:
            cancelled: May be set from another thread, to end the job.
            listener: Hears the report and the output as they come.

        Raises:
            Cancelled: `cancelled` was set; the job was ended.
            InfrastructureError: The job could not be ended.
        """
        tree = self._tree
        with contextlib.closing(Conversation(self._job, self._ours, listener)) as conversation:
            conversation.begin()
            ending = _supervise(conversation, tree, self._job, cancelled)
            tree.kill()
            conversation.drain()
            if tree.out_of_memory and conversation.answer() is None:
                ending = Ending.MEMORY_LIMIT
            return Execution(
                ending=ending,
                exit_code=tree.exit_code(),
                answer=conversation.answer() if ending is not Ending.PROTOCOL else None,
                report=conversation.report(),
                log=conversation.log(),
            )


def _process_tree(
    isolation: Isolation,
    job: Job,
    program: Sequence[str],
    ours: dict[str, int],
    theirs: dict[str, int],
    group: Group | None,
    stack: contextlib.ExitStack,
) -> ProcessTree:
    """Start the job by the isolation's own means; our copies of its descriptors are closed."""
    if isolation.bwrap:
        process = _popen(bubblewrap(isolation, job, program, theirs), theirs, group)
        return NamespaceTree(process, group, ours["status"])
    base = stack.enter_context(job_folder(job))
    theirs["control"], control = os.pipe()
    try:
        process = _popen(keeper_command(isolation, job, program, theirs, base), theirs, group)
    except BaseException:
        os.close(control)
        raise
    return KeptTree(process, group, (base / "scratch", base / "tmp"), control)


def _popen(command: list[str], theirs: dict[str, int], group: Group | None) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(
            command if group is None else group.entering(command),
            stdin=subprocess.DEVNULL,
            stdout=theirs["log"],
            stderr=theirs["log"],
            pass_fds=tuple(theirs.values()),
            start_new_session=True,
        )
    except OSError as error:
        raise InfrastructureError(f"the sandbox could not be started: {error}") from error
    _close_all(theirs)
    return process


def _supervise(conversation: Conversation, tree: ProcessTree, job: Job, cancelled: threading.Event) -> Ending:
    looked = next_look = time.monotonic()
    deadline = looked + job.ready_seconds
    was_ready = was_answered = False
    for _ in _ticks(conversation, tree):
        now = time.monotonic()
        if now - looked > _STANDSTILL_SECONDS:
            deadline += now - looked
        looked = now
        if cancelled.is_set():
            raise Cancelled
        if conversation.violated:
            return Ending.PROTOCOL
        if conversation.ready and not was_ready:
            was_ready, deadline = True, now + job.answer_seconds
        if conversation.answered and not was_answered:
            was_answered, deadline = True, now + _FAREWELL_SECONDS
        if now > deadline:
            return Ending.EXITED if was_answered else Ending.WALL_LIMIT
        if conversation.printed > job.limits.output_mb << 20:
            return Ending.OUTPUT_LIMIT
        # A script that prints a line each millisecond must not make us read every process's state as often.
        if now >= next_look:
            next_look = now + _TICK_SECONDS
            tree.look()
        if tree.memory > job.limits.memory_mb << 20:
            return Ending.MEMORY_LIMIT
        if tree.processor_seconds > job.processor_seconds:
            return Ending.PROCESSOR_LIMIT
        if tree.written > job.limits.scratch_mb << 20:
            return Ending.DISK_LIMIT
    return Ending.PROTOCOL if conversation.violated else Ending.EXITED


def _ticks(conversation: Conversation, tree: ProcessTree) -> Iterator[None]:
    """Handle whatever comes; yield at least every tick, and end when the process has."""
    selector = conversation.selector
    selector.register(tree.exit_descriptor, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select(_TICK_SECONDS):
            if key.fd == tree.exit_descriptor:
                selector.unregister(tree.exit_descriptor)
                conversation.drain()
                return
            conversation.handle(key)
        yield


def _pipes(stack: contextlib.ExitStack) -> tuple[dict[str, int], dict[str, int]]:
    """Our end and the child's end of every pipe, by name; whatever is still in the dicts is closed with the stack."""
    ours: dict[str, int] = {}
    theirs: dict[str, int] = {}
    stack.callback(_close_all, ours, theirs)
    for name in ("log", "report", "scores", "status"):
        ours[name], theirs[name] = os.pipe()
    theirs["images"], ours["images"] = os.pipe()
    for descriptor in ours.values():
        os.set_blocking(descriptor, False)
    return ours, theirs


def _close_all(*ends: dict[str, int]) -> None:
    for descriptors in ends:
        for descriptor in descriptors.values():
            os.close(descriptor)
        descriptors.clear()
