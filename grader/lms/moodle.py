"""Moodle's "Download all submissions": `<Full name>_<id>_assignsubmission_file_/<file>`; older ones have no folder.

The id is that of `Participant <id>` in Moodle's grading worksheet. There is one attempt each, and there are no times.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from grader.lms.archive import Handed
from grader.lms.attempts import SystemAttempt
from grader.records import Decision, Status

_NAME = re.compile(r"(?P<who>[^/]+?)_(?P<id>\d+)_assignsubmission_(?P<kind>[a-z]+)_?/?(?P<file>.*)", re.DOTALL)


def fits(name: str) -> bool:
    """Whether an entry's name is of this form."""
    return _NAME.fullmatch(name) is not None


def attempts(files: Sequence[Handed]) -> Iterator[SystemAttempt | Decision]:
    """Give everybody's one attempt, and every entry that belongs to none."""
    held: dict[str, list[Handed]] = defaultdict(list)
    texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for file in files:
        name = _NAME.fullmatch(file.name)
        if name is None:
            yield Decision(file.stored.shown, "", Status.UNRECOGNISED, "its name is not one that Moodle gives")
            continue
        entries = held[name["id"]]
        if name["kind"] == "file":
            entries.append(Handed(name["file"], file.stored))
        else:
            texts[name["id"]].append((file.stored.shown, "what the student wrote into Moodle"))
    for student_id, entries in held.items():
        yield SystemAttempt(student_id, "the attempt", tuple(entries), None, False, tuple(texts[student_id]))
