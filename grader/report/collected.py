"""What was collected, for the terminal: which file counts for whom, and why."""

from collections.abc import Iterator

from grader.records import Collection, Submission
from grader.report.terminal import one_line


def collection_lines(collection: Collection) -> Iterator[str]:
    """Give one line for each student: the file that counts, its time, and why it does; or that there is none."""
    reasons = {(decision.student_id, decision.file): decision.reason for decision in collection.decisions}
    for submission in collection.submissions:
        who = f"{submission.student_id} ({submission.name})" if submission.name else submission.student_id
        yield one_line(f"{who}: {_what(submission, reasons.get((submission.student_id, submission.file), ''))}")


def _what(submission: Submission, reason: str) -> str:
    if submission.unreadable:
        return f"cannot be graded: {submission.unreadable}"
    if submission.content is None:
        if submission.late:
            return f"nothing in time: {submission.late}"
        return (
            "; ".join(["nothing that could be graded", *submission.remarks]) if submission.remarks else "nothing came"
        )
    when = f", {submission.submitted_at.isoformat(' ', 'seconds')}" if submission.submitted_at else ""
    names = [companion.name for companion in submission.companions]
    beside = f", with {', '.join(names)}" if names else ""
    return f"{submission.file}{when}{beside}: {reason}"
