"""Start one job, talk to it over pipes under a deadline, and end its whole process tree.

One byte tells the job to begin. The job may send a byte when its main part is over. Then it sends a byte that it is
ready, or it offers a network: a byte, the length in eight bytes, and the network. Only after that do the images go in,
and the grader has fixed the length of the answer. Anything else on that pipe is a violation. Every buffer is bounded,
whatever the job sends.
"""

import contextlib
import math
import os
import selectors
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from grader.errors import Cancelled, InfrastructureError
from grader.sandbox.bubblewrap import bubblewrap
from grader.sandbox.cgroup import Group
from grader.sandbox.fallback import job_folder, supervisor_command
from grader.sandbox.job import Ending, Execution, Isolation, Job, Listener
from grader.sandbox.processes import NamespaceTree, ProcessTree, SupervisedTree

BEGIN, OVER, READY, NETWORK = b"B", b"O", b"R", b"N"
_LENGTH_BYTES = 8
_CHUNK = 1 << 16
_REPORT_LINE_BYTES = 1 << 16
# Of each piece, so that a script that floods the report does not keep the grader busy.
_LINES_HEARD = 4
# The first lines say what was found at the start, the last how it ended. A worker sends fewer than these.
_REPORT_FIRST_LINES, _REPORT_LAST_LINES = 16, 64

_TICK_SECONDS = 0.2
# After so long without a tick, this process or the whole machine stood still: that time does not count.
_STANDSTILL_SECONDS = 5.0
# What a job may take to end by itself after its answer.
_FAREWELL_SECONDS = 10.0
# Marks a descriptor that only ends a wait.
_WAKE = object()
WORKER = ("-m", "grader.worker.main")


class _Network:
    """A network as it comes: its length in eight bytes, then so many bytes, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = bytearray()

    @property
    def _end(self) -> int:
        """Where the network ends; as long as its length is not all there, where the length ends."""
        length = self._bytes[:_LENGTH_BYTES]
        return _LENGTH_BYTES + (int.from_bytes(length, "little") if len(length) == _LENGTH_BYTES else 0)

    def add(self, chunk: bytes) -> bool:
        """Take what came; False where it is too much."""
        self._bytes += chunk
        return len(self._bytes) <= self._end <= _LENGTH_BYTES + self._most

    def content(self) -> bytes | None:
        """The network without its length; None as long as it is not all there."""
        whole = len(self._bytes) > _LENGTH_BYTES and len(self._bytes) == self._end
        return bytes(memoryview(self._bytes)[_LENGTH_BYTES:]) if whole else None


class Conversation:
    """What came over each pipe so far, and what is still to be sent."""

    def __init__(self, job: Job, pipes: dict[str, int], listener: Listener | None) -> None:
        self._job, self._pipes, self._listener = job, pipes, listener
        self._unsent = job.images
        self._scores = bytearray()
        self._report_first: list[bytes] = []
        self._report_last: deque[bytes] = deque(maxlen=_REPORT_LAST_LINES)
        self._report_rest = b""
        self.said = 0
        self._log_half = job.limits.log_kb << 9
        self._log_first = bytearray()
        self._log_last = bytearray()
        self._network: _Network | None = None
        self.printed = 0
        self.over = self.ready = False
        self.violated = False
        self.selector = selectors.DefaultSelector()
        for name in ("log", "report", "scores"):
            self.selector.register(pipes[name], selectors.EVENT_READ)

    @property
    def answered(self) -> bool:
        """Whether something was asked, and all of the answer is here."""
        return self.ready and self._job.answer_bytes > 0 and len(self._scores) == self._job.answer_bytes

    def answer(self) -> bytes | None:
        """The answer, if it is complete and nothing was wrong with it."""
        return bytes(self._scores) if self.answered and not self.violated else None

    def network(self) -> bytes | None:
        """The network that the job offered, while it waits for what the grader makes of it."""
        return self._network.content() if self._network and not self.ready and not self.violated else None

    def send_images(self) -> None:
        """Send the images to the job, which counts as ready from now on."""
        self.ready = True
        if self._unsent:
            self.selector.register(self._pipes["images"], selectors.EVENT_WRITE)

    def report(self) -> tuple[bytes, ...]:
        """The lines that the worker sent, without those in the middle that were dropped."""
        return (*self._report_first, *self._report_last)

    def log(self) -> bytes:
        """What the script printed, shortened in the middle."""
        left_out = self.printed - len(self._log_first) - len(self._log_last)
        marker = f"\n[... {left_out} bytes left out here ...]\n".encode() if left_out > 0 else b""
        return bytes(self._log_first) + marker + bytes(self._log_last)

    def begin(self) -> None:
        """Tell the job to begin; one that has ended hears nothing."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipes["images"], BEGIN)

    def close(self) -> None:
        """Let go of the selector; the pipes belong to whoever opened them."""
        self.selector.close()

    def handle(self, key: selectors.SelectorKey) -> None:
        """Read from or write to the one pipe that is due."""
        if key.fd == self._pipes["images"]:
            self._send()
        elif not self._receive(key.fd):
            self.selector.unregister(key.fd)

    def drain(self) -> None:
        """Read what is left in the pipes, up to what a pipe can hold several times over."""
        for name in ("log", "report", "scores"):
            for _ in range(256):
                if not self._receive(self._pipes[name]):
                    break

    def _receive(self, descriptor: int) -> bool:
        try:
            chunk = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if descriptor == self._pipes["log"]:
            self._on_log(chunk)
        elif descriptor == self._pipes["report"]:
            self._on_report(chunk)
        else:
            self._on_scores(chunk)
        return bool(chunk)

    def _on_log(self, chunk: bytes) -> None:
        if self._listener and chunk:
            self._listener.log(chunk)
        self.printed += len(chunk)
        room = self._log_half - len(self._log_first)
        self._log_first += chunk[:room]
        self._log_last += chunk[room:]
        del self._log_last[: max(0, len(self._log_last) - self._log_half)]

    def _on_report(self, chunk: bytes) -> None:
        *lines, self._report_rest = (self._report_rest + chunk).split(b"\n")
        self._report_rest = self._report_rest[:_REPORT_LINE_BYTES]
        whole = [line for line in lines if len(line) < _REPORT_LINE_BYTES]
        if self._listener:
            for line in whole[-_LINES_HEARD:]:
                self._listener.report(line)
        news = self._job.news
        kept = [line for line in whole if not news or news not in line]
        self.said += len(kept) + len(lines) - len(whole)
        for line in kept:
            if len(self._report_first) < _REPORT_FIRST_LINES:
                self._report_first.append(line)
            else:
                self._report_last.append(line)

    def _on_scores(self, chunk: bytes) -> None:
        if not (self.over or self.ready or self._network) and chunk.startswith(OVER):
            self.over, chunk = True, chunk[len(OVER) :]
        if chunk and not self.ready:
            if self._network is None and chunk.startswith(NETWORK):
                self._network, chunk = _Network(self._job.network_bytes), chunk[len(NETWORK) :]
            if self._network is not None:
                self.violated |= not self._network.add(chunk)
                return
            self.violated |= not chunk.startswith(READY) or not self._job.answer_bytes
            chunk = chunk[len(READY) :]
            self.send_images()
        self.violated |= bool(chunk) and bool(self._unsent)
        self._scores += chunk
        self.violated |= len(self._scores) > self._job.answer_bytes

    def _send(self) -> None:
        try:
            sent = os.write(self._pipes["images"], self._unsent[: _CHUNK << 4])
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.selector.unregister(self._pipes["images"])
            return
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self.selector.unregister(self._pipes["images"])


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
        tree = stack.enter_context(_process_tree(isolation, job, program, ours, theirs, group, stack))
        yield StartedJob(job, tree, ours)


class StartedJob:
    """A job that has not been told to begin."""

    def __init__(self, job: Job, tree: ProcessTree, ours: dict[str, int]) -> None:
        self._job, self._tree, self._ours = job, tree, ours

    @contextlib.contextmanager
    def begun(self, cancelled: threading.Event, listener: Listener | None = None) -> Iterator["BegunJob"]:
        """Tell the job to begin.

        Args:
            cancelled: May be set from another thread, to end the job.
            listener: Hears the report and the output as they come.
        """
        with contextlib.closing(Conversation(self._job, self._ours, listener)) as conversation:
            conversation.selector.register(self._tree.exit_descriptor, selectors.EVENT_READ)
            # No line of the script has run: what the job uses and starts from here on is the script's.
            self._tree.look()
            clock = _Clock(time.monotonic(), self._tree.processor_seconds)
            conversation.begin()
            yield BegunJob(conversation, self._tree, self._job, cancelled, clock)

    def run(self, cancelled: threading.Event, listener: Listener | None = None) -> Execution:
        """Tell the job to begin, once, and wait until it ends or meets a limit; errors as `BegunJob.wait`."""
        with self.begun(cancelled, listener) as job:
            return job.wait()

    def ask(self, question: memoryview, answer_bytes: int, cancelled: threading.Event) -> Execution:
        """Ask a job that answers one question after the other. It goes on waiting, unless it failed.

        Errors as `BegunJob.wait`.
        """
        asked = replace(self._job, images=question, answer_bytes=answer_bytes)
        with StartedJob(asked, self._tree, self._ours).begun(cancelled) as job:
            return job.wait_for_answer()


class BegunJob:
    """A job that was told to begin. After `wait` it may be waiting for `ask_after_all`."""

    def __init__(
        self, conversation: Conversation, tree: ProcessTree, job: Job, cancelled: threading.Event, clock: "_Clock"
    ) -> None:
        self._conversation, self._tree, self._job = conversation, tree, job
        self._cancelled, self._clock = cancelled, clock
        self._ended: Execution | None = None

    def wait(self) -> Execution:
        """Wait until the job ends, meets a limit, or offers its network; after an offer the job waits, too.

        Raises:
            Cancelled: `cancelled` was set; the job was ended.
            InfrastructureError: The job could not be ended.
        """
        return self._supervised(lambda conversation: conversation.network() is not None)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Hold a job that waits to its limits meanwhile, since what it has forked may work; it ends where it meets one.

        Wall time is no such limit: the job waits for the grader. Errors as `wait`.
        """
        over, wake = threading.Event(), os.eventfd(0)
        self._conversation.selector.register(wake, selectors.EVENT_READ, _WAKE)
        try:
            with ThreadPoolExecutor(1, "watch") as pool:
                watching = pool.submit(self._supervised, lambda _: over.is_set(), math.inf)
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

    def wait_for_answer(self) -> Execution:
        """Wait as `wait` does, but for the answer, after which the job waits."""
        return self._supervised(lambda conversation: conversation.answered)

    def _supervised(self, enough: Callable[[Conversation], bool], seconds: float | None = None) -> Execution:
        conversation, tree = self._conversation, self._tree
        if seconds is None:
            seconds = self._job.answer_seconds if conversation.ready else self._job.ready_seconds
        ending = _supervise(conversation, tree, self._job, self._cancelled, self._clock, enough, seconds)
        self._clock.stop(tree)
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
            report=conversation.report(),
            log=conversation.log(),
            said=conversation.said,
            killed_for_memory=tree.killed_for_memory,
            seconds=self._clock.seconds,
            processor_seconds=self._clock.processor_seconds,
            programs=tree.programs,
        )


class _Clock:
    """How long a job took until its main part was over: wall time and processor time. It stops once."""

    def __init__(self, begun: float, used_before: float) -> None:
        self._begun, self._used_before = begun, used_before
        self.seconds = self.processor_seconds = 0.0

    def stop(self, tree: ProcessTree) -> None:
        """Take the time, unless it was taken before."""
        if not self.seconds:
            tree.look()
            self.seconds = time.monotonic() - self._begun
            self.processor_seconds = tree.processor_seconds - self._used_before


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
        return NamespaceTree(process, program, group, ours["status"])
    base = stack.enter_context(job_folder(job))
    theirs["control"], control = os.pipe()
    try:
        process = _popen(supervisor_command(isolation, job, program, theirs, base), theirs, group)
    except BaseException:
        os.close(control)
        raise
    return SupervisedTree(process, program, group, (base / "scratch", base / "tmp"), control)


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


def _supervise(
    conversation: Conversation,
    tree: ProcessTree,
    job: Job,
    cancelled: threading.Event,
    clock: _Clock,
    enough: Callable[[Conversation], bool],
    seconds: float,
) -> Ending:
    looked = next_look = time.monotonic()
    deadline = looked + seconds
    was_over, was_ready, was_answered = conversation.over, conversation.ready, False
    used_before = tree.processor_seconds
    while _handled(conversation, tree):
        now = time.monotonic()
        if now - looked > _STANDSTILL_SECONDS:
            deadline += now - looked
        looked = now
        if cancelled.is_set():
            raise Cancelled
        if conversation.violated:
            return Ending.PROTOCOL
        if enough(conversation):
            return Ending.WAITS
        if (conversation.over, conversation.ready) != (was_over, was_ready):
            was_over, was_ready = conversation.over, conversation.ready
            deadline = now + job.answer_seconds
            clock.stop(tree)
        if conversation.answered and not was_answered:
            was_answered, deadline = True, now + _FAREWELL_SECONDS
        if now > deadline:
            return Ending.EXITED if was_answered else Ending.WALL_LIMIT
        if conversation.printed > job.limits.output_mb << 20:
            return Ending.OUTPUT_LIMIT
        # A script that prints a line each millisecond must not make us read every process's state as often.
        if now >= next_look:
            tree.look(_TICK_SECONDS / 2)
            next_look = time.monotonic() + _TICK_SECONDS
        if tree.memory > job.limits.memory_mb << 20:
            return Ending.MEMORY_LIMIT
        if tree.processor_seconds - used_before > job.processor_seconds:
            return Ending.PROCESSOR_LIMIT
        if tree.written > job.limits.scratch_mb << 20:
            return Ending.DISK_LIMIT
    return Ending.PROTOCOL if conversation.violated else Ending.EXITED


def _handled(conversation: Conversation, tree: ProcessTree) -> bool:
    """Wait for whatever comes, a tick at most, and handle it; whether the job's first process still runs."""
    for key, _ in conversation.selector.select(_TICK_SECONDS):
        if key.fd == tree.exit_descriptor:
            conversation.drain()
            return False
        if key.data is not _WAKE:
            conversation.handle(key)
    return True


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
