"""What a run leaves: its log beside those of earlier runs, and its line in the ledger; once more for equal files."""

from dataclasses import replace
from pathlib import Path

from grader.records import Submission
from grader.report.table import write_private
from grader.results.entries import Entry
from grader.results.ledger import Ledger, OpenLedger
from grader.results.reruns import NextRun, known_run


def keep(entry: Entry, log: bytes, ledger: OpenLedger, logs: Path) -> None:
    """Write the log, then the entry; a log that cannot be written costs no result.

    Raises:
        Mistake: The disk is full; the entry is kept.
        InfrastructureError: The entry could not be written.
    """
    runs = _runs(ledger, entry.student_id)
    try:
        write_private(logs / _log_name(entry.student_id, 1 + len(runs)), log)
    finally:
        ledger.append(entry)


def keep_copy(submission: Submission, planned: NextRun, run_key: str, ledger: OpenLedger, logs: Path) -> Entry | None:
    """Keep for this student what the same run of another student's same files left: the same work is not done twice.

    Returns:
        The copy; None where there is no such run, or its log is gone: then it must be made.

    Raises:
        Mistake: As `keep`.
        InfrastructureError: As `keep`.
    """
    known = known_run(ledger.lines_about(submission.sha256), submission.student_id, run_key, planned)
    if known is None:
        return None
    try:
        log = log_of(known, ledger, logs).read_bytes()
    except OSError:
        return None
    entry = replace(known, student_id=submission.student_id, run_of=known.run_of or known.student_id)
    keep(entry, log, ledger, logs)
    return entry


def log_of(entry: Entry, ledger: Ledger, logs: Path) -> Path:
    """Where the log of a run that is in the ledger was written."""
    return logs / _log_name(entry.student_id, 1 + _runs(ledger, entry.student_id).index(entry))


def _runs(ledger: Ledger, student_id: str) -> list[Entry]:
    return [line for line in ledger.lines(student_id) if isinstance(line, Entry)]


def _log_name(student_id: str, number: int) -> str:
    # An id may hold dots: "kim.2" is another student.
    return f"{student_id}.log" if number == 1 else f"{student_id}~{number}.log"
