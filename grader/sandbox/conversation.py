"""The grader's side of the pipes to one job.

One byte tells it to begin. Its ready byte comes first; only then do the images go in; the answer has a length that the
grader fixed. Anything else on that pipe is a violation. Every buffer is bounded, whatever the child sends.
"""

import contextlib
import os
import selectors
from collections import deque

from grader.sandbox.job import Job, Listener

BEGIN, READY = b"B", b"R"
_CHUNK = 1 << 16
_REPORT_LINE_BYTES = 1 << 16
# Of each piece: a script that floods the report must not keep the grader busy.
_LINES_HEARD = 4
# The first lines say what was found at the start, the last how it ended; progress in between may be dropped.
_REPORT_FIRST_LINES, _REPORT_LAST_LINES = 16, 64


class Conversation:
    """What came over each pipe so far, and what is still to be sent."""

    def __init__(self, job: Job, pipes: dict[str, int], listener: Listener | None) -> None:
        self._job, self._pipes, self._listener = job, pipes, listener
        self._unsent = job.images
        self._scores = bytearray()
        self._report_first: list[bytes] = []
        self._report_last: deque[bytes] = deque(maxlen=_REPORT_LAST_LINES)
        self._report_rest = b""
        self._log_half = job.limits.log_kb << 9
        self._log_first = bytearray()
        self._log_last = bytearray()
        self.printed = 0
        self.ready = False
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
        lines = [line for line in lines if len(line) < _REPORT_LINE_BYTES]
        if self._listener:
            for line in lines[-_LINES_HEARD:]:
                self._listener.report(line)
        for line in lines:
            if len(self._report_first) < _REPORT_FIRST_LINES:
                self._report_first.append(line)
            else:
                self._report_last.append(line)

    def _on_scores(self, chunk: bytes) -> None:
        if chunk and not self.ready:
            self.violated |= not chunk.startswith(READY) or not self._job.answer_bytes
            self.ready, chunk = True, chunk[len(READY) :]
            if self._unsent:
                self.selector.register(self._pipes["images"], selectors.EVENT_WRITE)
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
