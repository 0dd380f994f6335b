"""What the ledger holds, and what follows from it for one student: the grade and the table's row."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from grader.records import Check, Outcome, Reason, Run, Score, Submission


class RunReason(StrEnum):
    """Why a submission was trained."""

    FIRST = "first"
    ALONE = "alone"
    BORDERLINE = "borderline"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The conditions under which a result came about.

    Attributes:
        jobs: Runs among which the machine was divided, this one among them; a slot may have been empty.
        wall_seconds: The handout's training time, by the clock.
        calibrated_seconds: The same time stretched to this machine's speed; None where it was not measured.
        limit_seconds: The one of the two that was in force.
        machine: The name of the one that it ran on; empty where a run never ended.
        card: The GPU among several, as CUDA_VISIBLE_DEVICES named it; empty where there was none.
        lost: What failed while the same run was tried there before: machines, cards.
        beside_a_fault: It met an error of a card that it shared through MPS, which another one's fault may have caused.
    """

    grader_version: str
    assignment_hash: str
    data_name: str
    data_hash: str
    train_size: int
    seed: int
    isolation: str
    jobs: int
    wall_seconds: float
    calibrated_seconds: float | None
    limit_seconds: float
    machine: str = ""
    card: str = ""
    lost: tuple[str, ...] = ()
    beside_a_fault: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: one run of one submission, and everything that was found out in it.

    Points are not here: they follow from the score by the assignment's bands.

    Attributes:
        run_key: What the run depends on besides the submission (budget, limits, data, seed): same key, same work.
        reason: Why this run was made.
        score: None unless the outcome is `graded`.
        run_of: Whose run this is a copy of: somebody with the same files. Empty: the student's own run.
        version: Of what such a line holds. Lines of version 1, which named none, had all fields of a run in one row;
            those of version 2 had a flag's words alone.
    """

    student_id: str
    sha256: str
    run_key: str
    reason: RunReason
    finished_at: datetime
    evidence: Evidence
    check: Check
    run: Run
    score: Score | None = None
    run_of: str = ""
    version: Literal[3] = 3
    kind: Literal["run"] = "run"

    @property
    def outcome(self) -> Outcome:
        """How the run ended."""
        return self.run.outcome


@dataclass(frozen=True, slots=True)
class Regrade:
    """One line of the ledger: a person asked for this submission to be run again."""

    student_id: str
    sha256: str
    why: str
    who: str
    at: datetime
    kind: Literal["regrade"] = "regrade"


@dataclass(frozen=True, slots=True)
class Override:
    """One line of the ledger: a person set the points; it holds for this file until a regrade or another override.

    Attributes:
        sha256: Of the file; empty where nothing was handed in.
    """

    student_id: str
    sha256: str
    points: Decimal
    why: str
    who: str
    at: datetime
    kind: Literal["override"] = "override"


Line = Entry | Regrade | Override


@dataclass(frozen=True, slots=True)
class Change:
    """What a person changed, and what it did to the points.

    Attributes:
        before: Points; None where there were none.
        after: As `before`; where a regrade has no result yet, the points that still count.
    """

    what: Literal["regrade", "override"]
    why: str
    who: str
    at: datetime
    before: Decimal | None
    after: Decimal | None


@dataclass(frozen=True, slots=True)
class Grade:
    """What one student is told, worked out anew from the ledger's entry and the assignment each time.

    Attributes:
        points: None where there are none: a fault of ours never becomes points.
        accuracy: Percent of the test set, rounded down to two decimals; None unless the outcome is `graded`.
        happened: For the student: what happened and what to do.
        reasons: For the teacher: why a person should look.
        details: For the student: what the check and the run found, a sentence each; the pages show it in sections.
    """

    outcome: Outcome
    points: Decimal | None
    accuracy: Decimal | None
    happened: str
    reasons: tuple[Reason, ...]
    details: tuple[str, ...] = ()

    @property
    def review(self) -> tuple[str, ...]:
        """The words of each reason."""
        return tuple(reason.words for reason in self.reasons)

    @property
    def message(self) -> str:
        """All that the student is told, where there is room for one text."""
        return " ".join((self.happened, *self.details))


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the grade table.

    Attributes:
        entry: The run that counts; None: nothing yet.
        runs: All runs since the last regrade that has a result, oldest first, `entry` among them.
        changes: What persons changed, oldest first.
        overridden: Whether the points are those that a person set.
        due: Whether the next `make grade` runs it, be it once more.
    """

    submission: Submission
    entry: Entry | None
    grade: Grade
    runs: tuple[Entry, ...] = ()
    changes: tuple[Change, ...] = ()
    overridden: bool = False
    due: bool = False
