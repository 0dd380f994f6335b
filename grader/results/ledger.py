"""The ledger: `OUT/ledger.jsonl`, one appended line for each run and each change by a person.

Nothing in it is ever rewritten. A grader that is killed loses only the line that it was writing. The next one leaves
that half line where it is, starts a line of its own, and goes on.
"""

import errno
import fcntl
import json
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from grader.errors import InfrastructureError, UserError
from grader.records import Reason, Submission
from grader.results.entries import Entry, Line
from grader.results.reruns import NextRun, known_run
from grader.text import file_key, printable_log, write_private

LEDGER_NAME = "ledger.jsonl"
LOCK_NAME = ".lock"
RESERVE_NAME = ".reserve"

_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])
_ON_EVERY_LINE = {"student_id", "sha256"}
# What a disk answers that lacks a function which others have, such as a network share.
_LACKING = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
# Room for some hundred lines, held back so that a disk that fills up costs no result.
_RESERVE_BYTES = 1 << 20


class Ledger:
    """What is known so far, in the order in which it was found out.

    Attributes:
        unreadable: Lines that are none of ours: half-written, or damaged. They are skipped and stay in the file.
    """

    def __init__(self, content: bytes, path: Path) -> None:
        self.unreadable = 0
        self._entries: list[Entry] = []
        self._of_student: dict[str, list[Line]] = defaultdict(list)
        self._of_files: dict[str, list[Line]] = defaultdict(list)
        for number, line in enumerate(content.split(b"\n"), start=1):
            if line and not self._read(line):
                raise UserError(
                    f"another version of the grader wrote line {number} of {path}: grade into a new folder with OUT=, "
                    "or use the version that wrote it"
                )

    def entries(self) -> tuple[Entry, ...]:
        """Return every run, oldest first."""
        return tuple(self._entries)

    def lines(self, student_id: str, sha256: str | None = None) -> tuple[Line, ...]:
        """Return a student's lines, oldest first; with `sha256`, those about that one file."""
        lines = self._of_student.get(student_id, ())
        return tuple(line for line in lines if sha256 is None or line.sha256 == sha256)

    def lines_about(self, sha256: str) -> Sequence[Line]:
        """Return everyone's lines about these files, oldest first; for reading, at this moment."""
        return self._of_files.get(sha256, ())

    def _read(self, line: bytes) -> bool:
        """Take a line in, or count it as damaged; False where it is whole and not as this version writes it."""
        # Not `validate_json`: it refuses the lone surrogates that a student's traceback or file name may hold.
        record: object = None
        try:
            record = json.loads(line)
            # To ignore an unknown field would lose a measurement.
            self._remember(_LINE.validate_python(record, extra="forbid"))
        except (ValueError, RecursionError):
            self.unreadable += 1
            return not (isinstance(record, dict) and record.keys() >= _ON_EVERY_LINE)
        return True

    def _remember(self, line: Line) -> None:
        if isinstance(line, Entry):
            self._entries.append(line)
        self._of_student[line.student_id].append(line)
        self._of_files[line.sha256].append(line)


class OpenLedger(Ledger):
    """A ledger that this process alone may add to; see `open_ledger`."""

    def __init__(self, content: bytes, path: Path, descriptor: int, reserve: Path) -> None:
        super().__init__(content, path)
        self._descriptor = descriptor
        self._reserve = reserve
        self._one_writer = threading.Lock()

    def append(self, record: Line) -> None:
        """Add one line and wait until the disk has it. Threads may share the ledger.

        Raises:
            InfrastructureError: The line could not be written. The record is then not remembered either.
            UserError: The line is written, but into the room that was held back: the disk is full.
        """
        line = _line(record)
        with self._one_writer:
            try:
                full = self._append(line)
            except OSError as error:
                raise InfrastructureError(f"cannot write to the ledger: {error.strerror}") from error
            self._remember(record)
        if full:
            raise UserError("the disk under OUT= is full; what is graded is kept: make room, then run the same command")

    def _append(self, line: bytes) -> bool:
        """Whether the disk was full, and the room that was held back had to be used."""
        if not _ends_a_line(self._descriptor):
            line = b"\n" + line
        try:
            _write_all(self._descriptor, line)
            os.fsync(self._descriptor)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._reserve.exists():
                raise
        else:
            return False
        self._reserve.unlink()
        # A part of the line may be there already: it stays, as after a crash, and is skipped when it is read.
        _write_all(self._descriptor, line if _ends_a_line(self._descriptor) else b"\n" + line)
        os.fsync(self._descriptor)
        return True


def read_ledger(out: Path) -> Ledger:
    """Read the ledger in the folder `out`; it is empty where there is none yet.

    No lock is taken, so a line that a grader is writing at this moment may count as unreadable.

    Raises:
        UserError: The file is there and cannot be read, or another version of the grader wrote it.
    """
    path = out / LEDGER_NAME
    try:
        return Ledger(path.read_bytes(), path)
    except FileNotFoundError:
        return Ledger(b"", path)
    except OSError as error:
        raise UserError(f"cannot read {out / LEDGER_NAME}: {error.strerror}; check OUT= and its permissions") from None


@contextmanager
def open_ledger(out: Path) -> Iterator[OpenLedger]:
    """Open the ledger in the folder `out` for adding, and keep every other grader out until the end.

    The folder is made if need be, readable by its owner alone, and so are the files.

    Raises:
        UserError: Another grader works in this folder, nothing can be written there, or another version of the grader
            wrote what is there.
    """
    descriptors: list[int] = []
    try:
        try:
            out.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptors.append(_locked(out))
            descriptors.append(os.open(out / LEDGER_NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600))
            _sync_folder(out)
            content = (out / LEDGER_NAME).read_bytes()
            _hold_back(out / RESERVE_NAME)
        except OSError as error:
            raise UserError(
                f"cannot write to {out}: {error.strerror}; make room there or name another folder with OUT="
            ) from None
        yield OpenLedger(content, out / LEDGER_NAME, descriptors[-1], out / RESERVE_NAME)
    finally:
        for descriptor in reversed(descriptors):
            os.close(descriptor)


def _locked(out: Path) -> int:
    """Take the folder's lock, write our process id into it, and return its descriptor.

    The lock belongs to the open descriptor and ends with the process, however it ends; so the file itself stays, since
    removing it would let a third grader lock a new file while a second one still waits on the old.
    """
    descriptor = os.open(out / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        _write_all(descriptor, str(os.getpid()).encode())
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace") or "unknown"
        os.close(descriptor)
        raise UserError(
            f"another grader (process {holder}) is working in {out}; "
            "wait until it ends or name another folder with OUT="
        ) from None
    except OSError as error:
        os.close(descriptor)
        if error.errno not in _LACKING:
            raise
        raise UserError(
            f"the disk of {out} has no locks ({error.strerror}), so two graders could spoil each other's results: "
            "name a folder on a disk of this machine with OUT=, and copy it when the grading is over"
        ) from None
    return descriptor


def _hold_back(reserve: Path) -> None:
    """Take room on the disk that only `OpenLedger.append` gives back, if the disk can hold any back."""
    descriptor = os.open(reserve, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with _where_the_disk_can():
            os.posix_fallocate(descriptor, 0, _RESERVE_BYTES)
    finally:
        os.close(descriptor)


@contextmanager
def _where_the_disk_can() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _LACKING:
            raise


def _line(record: Line) -> bytes:
    # A lone surrogate has no UTF-8 form; Python's backslash escape for it is at the same time JSON's.
    text = json.dumps(_LINE.dump_python(record, mode="json"), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _ends_a_line(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # A share may not know how to wait for a folder.
        with _where_the_disk_can():
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def record_run(entry: Entry, log: bytes, ledger: OpenLedger, logs: Path) -> Entry:
    """Write the log, then the entry; where the log cannot be written, the entry says so, and nothing stops.

    What would steer a terminal is written out in the log: a teacher reads it with whatever is at hand.

    Returns:
        The entry as it was kept.

    Raises:
        UserError: The disk is full; the entry is kept.
        InfrastructureError: The entry could not be written.
    """
    runs = _runs(ledger, entry.student_id)
    try:
        write_private(logs / _log_name(entry.student_id, 1 + len(runs)), printable_log(log))
    except UserError as error:
        flags = (*entry.run.flags, Reason.of("the log of the run is missing", str(error)))
        entry = replace(entry, run=replace(entry.run, flags=flags))
    ledger.append(entry)
    return entry


def record_copy(submission: Submission, planned: NextRun, run_key: str, ledger: OpenLedger, logs: Path) -> Entry | None:
    """Record for this student what the same run of another student's same files left: the same work is not done twice.

    Returns:
        The copy; None where there is no such run, or its log is gone: then it must be made.

    Raises:
        UserError: As `record_run`.
        InfrastructureError: As `record_run`.
    """
    known = known_run(ledger.lines_about(submission.sha256), submission.student_id, run_key, planned)
    if known is None:
        return None
    try:
        log = log_of(known, ledger, logs).read_bytes()
    except OSError:
        return None
    entry = replace(known, student_id=submission.student_id, run_of=known.run_of or known.student_id)
    return record_run(entry, log, ledger, logs)


def log_of(entry: Entry, ledger: Ledger, logs: Path) -> Path:
    """Where the log of a run that is in the ledger was written."""
    return logs / _log_name(entry.student_id, 1 + _runs(ledger, entry.student_id).index(entry))


def _runs(ledger: Ledger, student_id: str) -> list[Entry]:
    return [line for line in ledger.lines(student_id) if isinstance(line, Entry)]


def _log_name(student_id: str, number: int) -> str:
    # An id may hold dots: "kim.2" is another student. A mark that `file_key` sets after a tilde is never a number, as a
    # run's is.
    name = file_key(student_id)
    return f"{name}.log" if number == 1 else f"{name}~{number}.log"
