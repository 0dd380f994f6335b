"""What a job and the grader say to each other over pipes; every buffer is bounded, whatever the job sends.

One byte tells the job to begin. The job may send a byte when its main part is over. Then it sends a byte that it is
ready, or it offers a network: a byte, the length in eight bytes, and the network. Only after that do the images go in,
and the grader has fixed the length of the answer. Anything else on that pipe is a violation.
"""

import contextlib
import os
import selectors
from collections import deque

from grader.protocol import BEGIN, LENGTH_BYTES, NETWORK, OVER, READY
from grader.sandbox.job import Job, Listener

_CHUNK = 1 << 16
_REPORT_LINE_BYTES = 1 << 16
# Of each piece, so that a script that floods the report does not keep the grader busy.
_LINES_HEARD = 4
# The first lines say what was found at the start, the last how it ended. A worker sends fewer than these.
_REPORT_FIRST_LINES, _REPORT_LAST_LINES = 16, 64


class _Network:
    """A network as it comes: its length in eight bytes, then so many bytes, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = bytearray()

    @property
    def _end(self) -> int:
        """Where the network ends; as long as its length is not all there, where the length ends."""
        length = self._bytes[:LENGTH_BYTES]
        return LENGTH_BYTES + (int.from_bytes(length, "little") if len(length) == LENGTH_BYTES else 0)

    def add(self, chunk: bytes) -> bool:
        """Take what came; False where it is too much."""
        self._bytes += chunk
        return len(self._bytes) <= self._end <= LENGTH_BYTES + self._most

    def content(self) -> bytes | None:
        """The network without its length; None as long as it is not all there."""
        whole = len(self._bytes) > LENGTH_BYTES and len(self._bytes) == self._end
        return bytes(memoryview(self._bytes)[LENGTH_BYTES:]) if whole else None


class Log:
    """What the script prints, shortened in the middle.

    Attributes:
        printed: Bytes that came.
    """

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._first, self._last = bytearray(), bytearray()
        self.printed = 0

    def add(self, chunk: bytes) -> None:
        """Take what came."""
        self.printed += len(chunk)
        room = self._half - len(self._first)
        self._first += chunk[:room]
        self._last += chunk[room:]
        del self._last[: max(0, len(self._last) - self._half)]

    def content(self) -> bytes:
        """Its beginning and its end, and between them how much is left out."""
        left_out = self.printed - len(self._first) - len(self._last)
        marker = f"\n[... {left_out} bytes left out here ...]\n".encode() if left_out > 0 else b""
        return bytes(self._first) + marker + bytes(self._last)


class Report:
    """The lines that the worker sends.

    Args:
        news: As `Job.news`.

    Attributes:
        said: Lines that came, less the news.
    """

    def __init__(self, news: bytes) -> None:
        self._news = news
        self._first: list[bytes] = []
        self._last: deque[bytes] = deque(maxlen=_REPORT_LAST_LINES)
        self._rest = b""
        self.said = 0

    def add(self, chunk: bytes) -> list[bytes]:
        """Take what came; the lines that have ended with it and are not too long."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[:_REPORT_LINE_BYTES]
        whole = [line for line in lines if len(line) < _REPORT_LINE_BYTES]
        kept = [line for line in whole if not self._news or self._news not in line]
        self.said += len(kept) + len(lines) - len(whole)
        for line in kept:
            (self._first if len(self._first) < _REPORT_FIRST_LINES else self._last).append(line)
        return whole

    def lines(self) -> tuple[bytes, ...]:
        """Those that are no news, without those in the middle that were dropped."""
        return (*self._first, *self._last)


class Conversation:
    """What came over each pipe so far, and what is still to be sent.

    Attributes:
        over: The job said that its main part is over.
        ready: It was sent the images, or may be.
        violated: It said what it may not say here.
    """

    def __init__(self, job: Job, pipes: dict[str, int], listener: Listener) -> None:
        self._job, self._pipes, self._listener = job, pipes, listener
        self._unsent = job.images
        self._scores = bytearray()
        self.log, self.report = Log(job.limits.log_kb << 10), Report(job.news)
        self._network: _Network | None = None
        self.over = self.ready = self.violated = False
        self.selector = selectors.DefaultSelector()
        for name in ("log", "report", "scores"):
            self.selector.register(pipes[name], selectors.EVENT_READ)

    @property
    def answered(self) -> bool:
        """Whether something was asked, and all of the answer is here."""
        return self.ready and self._job.answer_bytes > 0 and len(self._scores) == self._job.answer_bytes

    @property
    def reached(self) -> tuple[bool, bool, bool]:
        """How far the job has come."""
        return self.over, self.ready, self.answered

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
        if chunk:
            self._listener.log(chunk)
        self.log.add(chunk)

    def _on_report(self, chunk: bytes) -> None:
        for line in self.report.add(chunk)[-_LINES_HEARD:]:
            self._listener.report(line)

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
