"""What a layout finds: somebody's attempt, somebody without a file, or an entry that was set aside."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from grader.lms.files import Stored
from grader.records import Decision

_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Attempt:
    """A file that stands where a student's file belongs; it may still be unreadable.

    Attributes:
        moment: When it was handed in, in nanoseconds since 1970; None if that cannot be known.
        companions: What the script could import, handed in with it: module's file name to file, by name.
        timed: Whether there should be a moment. Some systems' archives have none at all.
        by_system: A learning system keeps attempts apart, so that an earlier one is nothing to look at.
        how: By which rule it was taken for the student's file, where its name is another; empty otherwise.
        remarks: What a teacher should look at if this attempt counts.
    """

    student_id: str
    stored: Stored
    moment: int | None
    companions: dict[str, Stored] = field(default_factory=dict)
    timed: bool = True
    by_system: bool = False
    how: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Its path, as shown."""
        return self.stored.shown


@dataclass(frozen=True, slots=True)
class WithoutFile:
    """A student's folder or attempt in which the file is missing: a person must look."""

    student_id: str
    remark: str


Found = Attempt | WithoutFile | Decision


def listed(names: Sequence[str]) -> str:
    """Name some of many."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
