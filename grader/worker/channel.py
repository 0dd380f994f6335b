"""What leaves the worker: bytes through its pipes to the grader, notes for the student, and counts from its forks."""

import mmap
import os
import threading

from grader import text
from grader.protocol import TEXT_LIMIT, Event, to_json
from grader.records import IMAGE_BYTES

_READ_BYTES = 1 << 20

_sentences: dict[str, dict[str, None]] = {}


class Channel:
    """One byte to begin in; telemetry out; the ready byte out, images in, scores out."""

    def __init__(self, images: int, scores: int, report: int) -> None:
        self._images, self._scores, self._report = images, scores, report
        self._lock = threading.Lock()
        for descriptor in (images, scores, report):
            os.set_inheritable(descriptor, False)

    def wait_to_begin(self) -> None:
        """Read the byte that comes before all images."""
        if not os.read(self._images, 1):
            raise EOFError("the grader closed the images' pipe")

    def say(self, event: Event) -> None:
        """Send one line of telemetry."""
        with self._lock:
            _write_all(self._report, (to_json(event) + "\n").encode())

    def receive_images(self, count: int) -> bytearray:
        """Say ready, then read `count` images of 32 x 32 x 3 uint8, all of them before any score goes out."""
        _write_all(self._scores, b"R")
        images = bytearray(count * IMAGE_BYTES)
        rest = memoryview(images)
        while rest:
            received = os.read(self._images, min(len(rest), _READ_BYTES))
            if not received:
                raise EOFError("the grader closed the images' pipe")
            rest[: len(received)] = received
            rest = rest[len(received) :]
        return images

    def send_scores(self, scores: bytes) -> None:
        """Send the scores: images x 10 little-endian float32."""
        _write_all(self._scores, scores)


def one_line(error: BaseException) -> str:
    """`Type: message`, on one line and bounded."""
    return text.one_line(f"{type(error).__name__}: {message_of(error)}")[:TEXT_LIMIT].removesuffix(":")


def message_of(error: BaseException) -> str:
    """What an error says, which may be the script's own object and fail at that."""
    try:
        return str(error)
    except BaseException:
        return ""


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


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
