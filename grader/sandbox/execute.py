"""Start one job, talk to it under a deadline, hold it to its limits, and end its whole process tree."""

import contextlib
import math
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from grader.errors import Cancelled, InfrastructureError
from grader.sandbox.bubblewrap import bubblewrap
from grader.sandbox.cgroup import Group
from grader.sandbox.conversation import Conversation
from grader.sandbox.fallback import job_folder, supervisor_command
from grader.sandbox.job import Ending, Execution, Isolation, Job, Listener
from grader.sandbox.processes import NamespaceTree, ProcessTree, SupervisedTree

_TICK_SECONDS = 0.2
# After so long without a tick, this process or the whole machine stood still: that time does not count.
_STANDSTILL_SECONDS = 5.0
# What a job may take to end by itself after its answer.
_FAREWELL_SECONDS = 10.0
# Marks a descriptor that only ends a wait.
_WAKE = object()
WORKER = ("-m", "grader.worker.main")
SILENCE = Listener()


def execute(isolation: Isolation, job: Job, cancelled: threading.Event, program: Sequence[str]) -> Execution:
    """Start a job and run it to its end, as `started` and `BegunJob.wait` say."""
    with started(isolation, job, program) as waiting, waiting.begun(cancelled) as begun:
        return begun.wait()


@contextlib.contextmanager
def started(isolation: Isolation, job: Job, program: Sequence[str] = WORKER) -> Iterator["StartedJob"]:
    """Start the worker in the sandbox, where it sets itself up, then waits; nothing of it is left afterwards.

    The thread that calls this must outlive the job: bwrap dies with the thread that started it.

    Args:
        program: Words for the interpreter. Five more follow: the descriptors of the images, the scores and the report,
            the job's folder, and the training set's folder (empty: none).

    Raises:
        InfrastructureError: The sandbox could not be started.
    """
    with contextlib.ExitStack() as stack:
        ours, theirs = _pipes(stack)
        group = stack.enter_context(isolation.cgroup.group(job.limits, job.threads)) if isolation.cgroup else None
        if isolation.bwrap:
            process = _popen(bubblewrap(isolation, job, program, theirs), theirs, group)
            tree: ProcessTree = NamespaceTree(process, program, group, ours["status"])
        else:
            base = stack.enter_context(job_folder(job))
            theirs["control"], control = os.pipe()
            # Closed here if there is no supervisor to end.
            with contextlib.ExitStack() as unsupervised:
                unsupervised.callback(os.close, control)
                process = _popen(supervisor_command(isolation, job, program, theirs, base), theirs, group)
                unsupervised.pop_all()
            tree = SupervisedTree(process, program, group, (base / "scratch", base / "tmp"), control)
        yield StartedJob(job, stack.enter_context(tree), ours)


class StartedJob:
    """A job that has not been told to begin."""

    def __init__(self, job: Job, tree: ProcessTree, ours: dict[str, int]) -> None:
        self._job, self._tree, self._ours = job, tree, ours

    @contextlib.contextmanager
    def begun(self, cancelled: threading.Event, listener: Listener = SILENCE) -> Iterator["BegunJob"]:
        """Tell the job to begin.

        Args:
            cancelled: May be set from another thread, to end the job.
            listener: Hears the report and the output as they come.
        """
        with contextlib.closing(Conversation(self._job, self._ours, listener)) as conversation:
            conversation.selector.register(self._tree.exit_descriptor, selectors.EVENT_READ)
            # No line of the script has run: what the job uses and starts from here on is the script's.
            self._tree.look()
            begun = BegunJob(conversation, self._tree, self._job, cancelled)
            conversation.begin()
            yield begun

    def ask(self, question: memoryview, answer_bytes: int, cancelled: threading.Event) -> Execution:
        """Ask a job that answers one question after the other. It goes on waiting, unless it failed.

        Errors as `BegunJob.wait`.
        """
        asked = replace(self._job, images=question, answer_bytes=answer_bytes)
        with StartedJob(asked, self._tree, self._ours).begun(cancelled) as job:
            return job.wait_for_answer()


class BegunJob:
    """A job that was told to begin. After `wait` it may be waiting for `ask_after_all`."""

    def __init__(self, conversation: Conversation, tree: ProcessTree, job: Job, cancelled: threading.Event) -> None:
        self._conversation, self._tree, self._job, self._cancelled = conversation, tree, job, cancelled
        self._begun, self._used_before = time.monotonic(), tree.processor_seconds
        # Of its main part, once that is over.
        self._seconds = self._processor_seconds = 0.0
        self._ended: Execution | None = None

    def wait(self) -> Execution:
        """Wait until the job ends, meets a limit, or offers its network; after an offer the job waits, too.

        Raises:
            Cancelled: `cancelled` was set; the job was ended.
            InfrastructureError: The job could not be ended.
        """
        return self._supervised(lambda: self._conversation.network() is not None, self._allowed_seconds())

    def wait_for_answer(self) -> Execution:
        """Wait as `wait` does, but for the answer, after which the job waits."""
        return self._supervised(lambda: self._conversation.answered, self._allowed_seconds())

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Hold a job that waits to its limits meanwhile, since what it has forked may work; it ends where it meets one.

        Wall time is no such limit: the job waits for the grader. Errors as `wait`.
        """
        over, wake = threading.Event(), os.eventfd(0)
        self._conversation.selector.register(wake, selectors.EVENT_READ, _WAKE)
        try:
            with ThreadPoolExecutor(1, "watch") as pool:
                watching = pool.submit(self._supervised, over.is_set, math.inf)
                try:
                    yield
                finally:
                    over.set()
                    os.eventfd_write(wake, 1)
            met = watching.result()
            self._ended = met if met.ending is not Ending.WAITS else None
        finally:
            self._conversation.selector.unregister(wake)
            os.close(wake)

    def ask_after_all(self) -> Execution:
        """Send the images to a job that offered its network and has not ended since, and wait as `wait` does."""
        if self._ended is not None:
            return self._ended
        self._conversation.send_images()
        return self.wait()

    def _supervised(self, enough: Callable[[], bool], seconds: float) -> Execution:
        """Wait until it is `enough`, or the job ends or meets a limit, and say what is known then."""
        conversation, tree = self._conversation, self._tree
        ending = self._ending(enough, seconds)
        self._stop_clock()
        # Files that were made since the last look count, too.
        tree.look_at_disk()
        if tree.written > self._job.limits.scratch_mb << 20 and ending in (Ending.EXITED, Ending.WAITS):
            ending = Ending.DISK_LIMIT
        if ending is not Ending.WAITS:
            tree.kill()
        conversation.drain()
        if tree.out_of_memory and conversation.answer() is None:
            ending = Ending.MEMORY_LIMIT
        return Execution(
            ending=ending,
            exit_code=0 if ending is Ending.WAITS else tree.exit_code(),
            answer=conversation.answer() if ending is not Ending.PROTOCOL else None,
            network=conversation.network() if ending is Ending.WAITS else None,
            report=conversation.report.lines(),
            log=conversation.log.content(),
            said=conversation.report.said,
            killed_for_memory=tree.killed_for_memory,
            seconds=self._seconds,
            processor_seconds=self._processor_seconds,
            programs=tree.programs,
        )

    def _ending(self, enough: Callable[[], bool], seconds: float) -> Ending:
        conversation, tree = self._conversation, self._tree
        looked = next_look = time.monotonic()
        deadline = looked + seconds
        reached, used_before = conversation.reached, tree.processor_seconds
        while self._handled():
            now = time.monotonic()
            if now - looked > _STANDSTILL_SECONDS:
                deadline += now - looked
            looked = now
            if self._cancelled.is_set():
                raise Cancelled
            if conversation.violated:
                return Ending.PROTOCOL
            if enough():
                return Ending.WAITS
            if conversation.reached != reached:
                reached, deadline = conversation.reached, now + self._allowed_seconds()
                self._stop_clock()
            if now > deadline:
                return Ending.EXITED if conversation.answered else Ending.WALL_LIMIT
            # A script that prints a line each millisecond must not make us read every process's state as often.
            if now >= next_look:
                tree.look(_TICK_SECONDS / 2)
                next_look = time.monotonic() + _TICK_SECONDS
            if met := self._limit_met(used_before):
                return met
        return Ending.PROTOCOL if conversation.violated else Ending.EXITED

    def _handled(self) -> bool:
        """Wait for whatever comes, a tick at most, and handle it; whether the job's first process still runs."""
        for key, _ in self._conversation.selector.select(_TICK_SECONDS):
            if key.fd == self._tree.exit_descriptor:
                self._conversation.drain()
                return False
            if key.data is not _WAKE:
                self._conversation.handle(key)
        return True

    def _allowed_seconds(self) -> float:
        """Wall time for what comes next, by how far the job has come."""
        if self._conversation.answered:
            return _FAREWELL_SECONDS
        over = self._conversation.over or self._conversation.ready
        return self._job.answer_seconds if over else self._job.ready_seconds

    def _limit_met(self, used_before: float) -> Ending | None:
        """The first limit that the job is beyond, as far as the last look shows; `used_before` of processor time."""
        limits, tree = self._job.limits, self._tree
        if self._conversation.log.printed > limits.output_mb << 20:
            return Ending.OUTPUT_LIMIT
        if tree.memory > limits.memory_mb << 20:
            return Ending.MEMORY_LIMIT
        if tree.processor_seconds - used_before > self._job.processor_seconds:
            return Ending.PROCESSOR_LIMIT
        return Ending.DISK_LIMIT if tree.written > limits.scratch_mb << 20 else None

    def _stop_clock(self) -> None:
        """Take the time of the main part, once."""
        if not self._seconds:
            self._tree.look()
            self._seconds = time.monotonic() - self._begun
            self._processor_seconds = self._tree.processor_seconds - self._used_before


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
