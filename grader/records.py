"""Every frozen value that the stages hand to each other, and every enum.

Standard library only: the worker inside the sandbox and a student's self-check read this file too.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

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


class Verdict(StrEnum):
    """What the architecture check says."""

    CONFORMING = "conforming"
    VARIANT = "variant"
    DEVIATES = "deviates"
    UNREADABLE = "unreadable"


class Deviation(StrEnum):
    """How a network can differ from the handout's section 3."""

    SHARED_WEIGHTS = "shared-weights"
    DEAD_LAYER = "dead-layer"
    UNUSED_MODULE = "unused-module"
    UNREGISTERED_MODULE = "unregistered-module"
    MISSING_RELU = "missing-relu"
    MISSING_BATCH_NORM = "missing-batch-norm"
    RELU_AFTER_ADD = "relu-after-add"
    SKIP_MISSING = "skip-missing"
    SKIP_EXTRA_LAYER = "skip-extra-layer"
    WRONG_WIDTH = "wrong-width"
    WRONG_STRIDE = "wrong-stride"
    WRONG_KERNEL = "wrong-kernel"
    EXTRA_LAYER = "extra-layer"
    MISSING_LAYER = "missing-layer"
    OUTPUT_SHAPE = "output-shape"
    SINGLE_IMAGE = "single-image"
    BATCH_DEPENDENT = "batch-dependent"
    NONDETERMINISTIC = "nondeterministic"
    CONSTRUCTOR = "constructor"
    NOT_A_MODULE = "not-a-module"


class Answer(StrEnum):
    """Whether one of the script's nine questions is answered."""

    OK = "ok"
    BLANK = "blank"
    WRONG = "wrong"
    UNKNOWN = "unknown"


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
        remarks: What a teacher should look at, one sentence each.
    """

    student_id: str
    name: str = ""
    file: str = ""
    content: bytes | None = field(default=None, repr=False)
    sha256: str = ""
    submitted_at: datetime | None = None
    unreadable: str = ""
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
        flags: Why a person should look at the network besides the findings.
    """

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    parameters: int | None = None
    output_shape: tuple[int, ...] | None = None
    blanks_left: tuple[str, ...] = ()
    outcome: Outcome | None = None
    message: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One training run: what the student's script did, in the words of the worker beside it (display only).

    Attributes:
        scores: Images x 10 little-endian float32 in the order of the test set; None if none came.
        samples: Training images used, counted by the worker.
        train_seconds: From the first training forward to the stop.
        error: The exception that ended the script, or what else went wrong, in one line; empty if nothing did.
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
    log: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Under which conditions a result came about."""

    grader_version: str
    assignment_hash: str
    data_name: str
    data_hash: str
    train_size: int
    seed: int
    isolation: str
    device: str
    torch_version: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: everything that was found out about one submission.

    Points are not here: they follow from `correct` and `total` by the assignment's bands.

    Attributes:
        run_key: What the run depends on besides the submission (budget, limits, data, seed): same key, same work.
        correct: Test images classified right; None unless the outcome is `graded`.
        total: Test images.
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
    """One row of the grade table: a submission, what the ledger says of it (None: nothing yet), and the grade."""

    submission: Submission
    entry: Entry | None
    grade: Grade


class Status(StrEnum):
    """What became of one entry of the submissions folder."""

    TAKEN = "taken"
    SUPERSEDED = "superseded"
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
    """Everyone to be graded or reported, sorted by student_id, and what became of every file, sorted by path."""

    submissions: tuple[Submission, ...]
    decisions: tuple[Decision, ...]
