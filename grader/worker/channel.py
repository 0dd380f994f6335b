"""What leaves the worker: bytes through its pipes to the grader, notes for the student, and counts from its forks."""

import mmap
import os
import stat
import threading
import time

from grader import text
from grader.protocol import LENGTH_BYTES, NETWORK, TEXT_LIMIT, Event, to_json

_READ_BYTES = 1 << 20
_TICK_SECONDS = 0.1

_sentences: dict[str, dict[str, None]] = {}


class Channel:
    """The pipes to the grader.

    A byte to begin comes in, and later the images. Telemetry goes out, the bytes that say how far the worker is, the
    network, and the scores.
    """

    def __init__(self, images: int, scores: int, report: int) -> None:
        self._images, self._scores, self._report = images, scores, report
        # A student's trial has files in place of pipes: what is not there yet may still come.
        self._ends = not stat.S_ISREG(os.fstat(images).st_mode)
        self._lock = threading.Lock()
        for descriptor in (images, scores, report):
            os.set_inheritable(descriptor, False)

    def say(self, event: Event) -> None:
        """Send one line of telemetry."""
        with self._lock:
            _write_all(self._report, (to_json(event) + "\n").encode())

    def send(self, data: bytes) -> None:
        """Send one of the protocol's bytes, or the scores: images x 10 little-endian float32."""
        _write_all(self._scores, data)

    def offer(self, network: bytes) -> None:
        """Offer a network in place of being ready; images may come all the same."""
        self.send(NETWORK + len(network).to_bytes(LENGTH_BYTES, "little"))
        self.send(network)

    def receive(self, count: int) -> bytearray:
        """Read so many bytes of what the grader sends.

        Raises:
            EOFError: The grader has closed its end.
        """
        received = bytearray(count)
        rest = memoryview(received)
        while rest:
            some = os.read(self._images, min(len(rest), _READ_BYTES))
            if not some and self._ends:
                raise EOFError("the grader closed the images' pipe")
            if not some:
                time.sleep(_TICK_SECONDS)
            rest[: len(some)] = some
            rest = rest[len(some) :]
        return received


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def opened(word: str, how: int) -> int:
    """The descriptor that a word of the command line means; Windows hands none down, so there it is a file's path."""
    return int(word) if word.isdecimal() else os.open(word, how | getattr(os, "O_BINARY", 0))


def one_line(error: BaseException) -> str:
    """`Type: message`, on one line and bounded."""
    return text.one_line(f"{type(error).__name__}: {message_of(error)}")[:TEXT_LIMIT].removesuffix(":")


def message_of(error: BaseException) -> str:
    """What an error says, which may be the script's own object and fail at that."""
    try:
        return str(error)
    except BaseException:
        return ""


def shared_counts(number: int) -> memoryview:
    """So many int64, all 0, in memory that every later fork of this process shares."""
    return memoryview(mmap.mmap(-1, 8 * number)).cast("q")


def note(sentence: str, what: str = "") -> None:
    """Remember a sentence; a second time changes nothing, so a loop may say it at each turn.

    Args:
        what: One of the things that the sentence ends with; it then has no full stop of its own.
    """
    things = _sentences.setdefault(sentence, {})
    if what:
        things.setdefault(what)


def all_notes() -> tuple[str, ...]:
    """Every sentence of this process, in the order in which it was first said."""
    return tuple(f"{said} {', '.join(things)}." if things else said for said, things in _sentences.items())
