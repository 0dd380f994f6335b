"""Canvas' submissions.zip: `<name>[_LATE]_<user id>_<attachment id>_<file>`, after canvas-lms, content_zipper.rb.

It holds each student's last attempt only, and no times. An anonymous assignment has `anon_<id>` for the user.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from grader.lms.archive import Handed
from grader.lms.attempts import SystemAttempt
from grader.records import Decision, Status

_NAME = re.compile(
    r"(?:(?P<who>.*?)_)?(?:(?P<late>LATE)_)?(?P<user>\d+|anon_\w+?)_"
    r"(?:(?P<attachment>\d+)_(?P<file>.+)|(?P<text>(?:text|link)\.html))"
)
_RENAMED = re.compile(r"(?P<stem>.+)-\d+(?P<suffix>\.\w+)")
_MARKED_LATE = (
    "Canvas marks it as late; its archive holds last attempts only, so look there whether an earlier one came in time"
)


def fits(name: str) -> bool:
    """Whether an entry's name is of this form."""
    return "/" not in name and _NAME.fullmatch(name) is not None


def attempts(files: Sequence[Handed]) -> Iterator[SystemAttempt | Decision]:
    """Give everybody's one attempt, and every entry that belongs to none."""
    held: dict[str, list[Handed]] = defaultdict(list)
    texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    late: set[str] = set()
    for file in files:
        name = _NAME.fullmatch(file.name)
        if name is None or "/" in file.name:
            yield Decision(file.stored.shown, "", Status.UNRECOGNISED, "its name is not one that Canvas gives")
            continue
        entries = held[name["user"]]
        if name["late"]:
            late.add(name["user"])
        if name["text"]:
            texts[name["user"]].append((file.stored.shown, "what the student wrote into Canvas"))
        else:
            entries.append(Handed(name["file"], file.stored))
    for user, entries in held.items():
        remarks = (_MARKED_LATE,) if user in late else ()
        own_names = {file.name for file in entries}
        named = tuple(Handed(_as_handed_in(file.name, own_names), file.stored) for file in entries)
        yield SystemAttempt(user, "the attempt", named, None, False, tuple(texts[user]), remarks)


def _as_handed_in(name: str, others: set[str]) -> str:
    """Canvas adds -1, -2, ... to a file's name when it is handed in again; a companion must have its own name back."""
    renamed = _RENAMED.fullmatch(name)
    original = f"{renamed['stem']}{renamed['suffix']}" if renamed else name
    return name if original in others else original
