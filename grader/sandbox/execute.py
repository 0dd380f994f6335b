"""Start one job, talk to it over pipes under a deadline, and end its whole process tree."""

import contextlib
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence

from grader.errors import Cancelled, InfrastructureError
from grader.sandbox.bubblewrap import command_line, passwd
from grader.sandbox.conversation import Conversation
from grader.sandbox.job import Ending, Execution, Job, Listener
from grader.sandbox.processes import ProcessTree

_TICK_SECONDS = 0.2
# So long without a tick, this process was stopped or the machine stood still: that time is nobody's.
_STANDSTILL_SECONDS = 5.0
# What a job may take to end by itself after its last score.
_FAREWELL_SECONDS = 10.0


def execute(
    bwrap: str,
    job: Job,
    cancelled: threading.Event,
    program: Sequence[str] = ("-m", "grader.worker"),
    listener: Listener | None = None,
) -> Execution:
    """Run the worker in the sandbox until it ends or meets a limit; nothing of it is left afterwards.

    Must be called from a thread that outlives the job: bwrap dies with the thread that started it.

    Args:
        bwrap: The bubblewrap program.
        cancelled: May be set from another thread, to end the job.
        program: Of the interpreter; three numbers follow it, the descriptors of the images, the scores and the report.
        listener: Hears the report and the output as they come.

    Raises:
        Cancelled: `cancelled` was set; the job was ended.
        InfrastructureError: The sandbox could not be started.
    """
    with contextlib.ExitStack() as stack:
        ours, theirs = _pipes(stack)
        arguments = [*program, *(str(theirs[name]) for name in ("images", "scores", "report"))]
        passwd_fd = _passwd_file(job, theirs)
        command = command_line(bwrap, job, arguments, status_fd=theirs["status"], passwd_fd=passwd_fd)
        started = time.monotonic()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=theirs["log"],
                stderr=theirs["log"],
                pass_fds=tuple(theirs.values()),
                start_new_session=True,
            )
        except OSError as error:
            raise InfrastructureError(f"bubblewrap could not be started: {error}") from error
        _close_all(theirs)
        conversation = stack.enter_context(contextlib.closing(Conversation(job, ours, listener)))
        tree = stack.enter_context(ProcessTree(process, ours["status"]))
        ending = _supervise(conversation, tree, job, cancelled)
        tree.kill()
        conversation.drain()
        return Execution(
            ending=ending,
            exit_code=process.wait(),
            answer=conversation.answer() if ending is not Ending.PROTOCOL else None,
            report=conversation.report(),
            log=conversation.log(),
            wall_seconds=time.monotonic() - started,
            peak_memory=tree.peak_memory,
        )


def _supervise(conversation: Conversation, tree: ProcessTree, job: Job, cancelled: threading.Event) -> Ending:
    looked = time.monotonic()
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
        if tree.memory() > job.limits.memory_mb << 20:
            return Ending.MEMORY_LIMIT
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


def _passwd_file(job: Job, theirs: dict[str, int]) -> int:
    descriptor = os.memfd_create("passwd")
    theirs["passwd"] = descriptor
    os.write(descriptor, passwd(job.slot))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
