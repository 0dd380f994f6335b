"""Every frozen value that the stages hand to each other, and every enum.

Standard library only: the worker inside the sandbox and a student's self-check read this file too.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

CLASSES = 10
# What comes back for each image is one row of CLASSES scores of this dtype (DESIGN, rule 2).
SCORE_DTYPE = "<f4"


class Outcome(StrEnum):
    """How the grading of one student ended (DESIGN: four kinds of end that are never mixed up)."""

    GRADED = "graded"
    NO_SUBMISSION = "no_submission"
    INVALID = "invalid"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    INFRASTRUCTURE = "infrastructure"


class StopReason(StrEnum):
    """Why the student's script stopped training."""

    FINISHED = "finished"
    EPOCH_BUDGET = "epoch_budget"
    TIME_BUDGET = "time_budget"
    ERROR = "error"
    KILLED = "killed"


class RunReason(StrEnum):
    """Why a submission was trained."""

    FIRST = "first"
    ALONE = "alone"
    BORDERLINE = "borderline"


class Verdict(StrEnum):
    """What the architecture check says."""

    CONFORMING = "conforming"
    VARIANT = "variant"
    DEVIATES = "deviates"
    UNREADABLE = "unreadable"


class Deviation(StrEnum):
    """How a network can differ from the handout's section 3."""

    CONSTRUCTOR = "constructor"
    NOT_A_MODULE = "not-a-module"
    OUTPUT_SHAPE = "output-shape"
    WRONG_WIDTH = "wrong-width"
    WRONG_KERNEL = "wrong-kernel"
    MISSING_LAYER = "missing-layer"
    EXTRA_LAYER = "extra-layer"


class IsolationLevel(StrEnum):
    """How well a submission is kept from everything else, strongest first."""

    FULL = "full"
    STRONG = "strong"
    PARTIAL = "partial"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Submission:
    """What one student handed in, or that nothing came.

    Attributes:
        student_id: From the file's or folder's name, or from the roster.
        name: The roster's name; empty without a roster.
        file: The path below the submissions folder, as shown to the teacher; empty if nothing came.
        content: The file's bytes, exactly as handed in; None if nothing came or it could not be read.
        sha256: Of `content`, in hexadecimal; empty where `content` is None.
        submitted_at: Time zone aware; None if nothing came.
        unreadable: Why the file could not be read (a fault of ours or of the machine); empty otherwise.
        late: Which file came how long after the deadline, where nothing came in time; empty otherwise.
        remarks: What a teacher should look at, one sentence each.
    """

    student_id: str
    name: str = ""
    file: str = ""
    content: bytes | None = field(default=None, repr=False)
    sha256: str = ""
    submitted_at: datetime | None = None
    unreadable: str = ""
    late: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One deviation: where it is, and one sentence for the student."""

    code: Deviation
    where: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Check:
    """The architecture check of one submission.

    Attributes:
        outcome: INVALID or CRASHED where there is no network to train, INFRASTRUCTURE for a fault of ours; else None.
        blanks_left: The questions whose `...` still stands ("Q4"), or "line 12" where no question is named.
        parameters: The number of trainable scalars; None if no network could be built.
        output_shape: For an input of shape (4, 3, 32, 32); None if there was no output.
        message: One sentence for the student; empty if all is well.
    """

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    parameters: int | None = None
    output_shape: tuple[int, ...] | None = None
    blanks_left: tuple[str, ...] = ()
    outcome: Outcome | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One training run: what the student's script did, in the words of the worker beside it (display only).

    Attributes:
        scores: Images x 10 little-endian float32 in the order of the test set; None if none came.
        samples: Training images used, counted by the worker.
        train_seconds: From the first training forward to the stop.
        error: The exception that ended the script, or what else went wrong, in one line; empty if nothing did.
        own_seed: The script called `torch.manual_seed`, so that another seed of ours would change nothing.
        log: What the script printed, bounded.
    """

    outcome: Outcome
    stop_reason: StopReason
    scores: bytes | None = field(default=None, repr=False)
    samples: int = 0
    train_seconds: float = 0.0
    device: str = ""
    torch_version: str = ""
    error: str = ""
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    missing_module: str = ""
    own_seed: bool = False
    log: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Under which conditions a result came about.

    Attributes:
        jobs: Runs at the same time on this machine, this one among them.
        wall_seconds: The handout's training time, by the clock.
        calibrated_seconds: The same time stretched to this machine's speed; None where it was not measured.
        limit_seconds: The one of the two that was in force.
    """

    grader_version: str
    assignment_hash: str
    data_name: str
    data_hash: str
    train_size: int
    seed: int
    isolation: str
    device: str
    torch_version: str
    jobs: int
    wall_seconds: float
    calibrated_seconds: float | None
    limit_seconds: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: one run of one submission, and everything that was found out in it.

    Points are not here: they follow from `correct` and `total` by the assignment's bands.

    Attributes:
        run_key: What the run depends on besides the submission (budget, limits, data, seed): same key, same work.
        correct: Test images classified right; None unless the outcome is `graded`.
        total: Test images.
        reason: Why this run was made.
        own_seed: As in `Run`.
    """

    student_id: str
    sha256: str
    run_key: str
    outcome: Outcome
    finished_at: datetime
    evidence: Evidence
    check: Check
    stop_reason: StopReason | None = None
    correct: int | None = None
    total: int | None = None
    samples: int = 0
    train_seconds: float = 0.0
    error: str = ""
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    missing_module: str = ""
    reason: RunReason = RunReason.FIRST
    own_seed: bool = False
    kind: Literal["run"] = "run"


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
        message: For the student: what happened and what to do.
        review: For the teacher: why a person should look, reasons joined by "; "; empty if there is no reason.
    """

    outcome: Outcome
    points: Decimal | None
    accuracy: Decimal | None
    message: str
    review: str


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the grade table.

    Attributes:
        entry: The run that counts; None: nothing yet.
        runs: All runs since the last regrade that has a result, oldest first, `entry` among them.
        changes: What persons changed, oldest first.
    """

    submission: Submission
    entry: Entry | None
    grade: Grade
    runs: tuple[Entry, ...] = ()
    changes: tuple[Change, ...] = ()


class Status(StrEnum):
    """What became of one entry of the submissions folder."""

    TAKEN = "taken"
    SUPERSEDED = "superseded"
    LATE = "late"
    UNREADABLE = "unreadable"
    UNRECOGNISED = "unrecognised"
    BESIDE = "beside"


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one entry of the submissions folder, and why.

    Attributes:
        file: The path below the submissions folder; a folder's ends with a slash.
        student_id: Empty where the name names no student.
        reason: For the teacher, without a full stop.
    """

    file: str
    student_id: str
    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class Collection:
    """Everyone to be graded or reported, sorted by student_id, and what became of every file, sorted by path.

    Attributes:
        notices: How it was collected, where the teacher must know: one sentence each, without a full stop.
    """

    submissions: tuple[Submission, ...]
    decisions: tuple[Decision, ...]
    notices: tuple[str, ...] = ()
