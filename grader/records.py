"""Every frozen value that the stages hand to each other, and every enum.

Standard library only: the worker inside the sandbox and a student's self-check read this file too.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

CLASSES = 10
# CIFAR-10's, in the order of their numbers.
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# What comes back for each image is one row of CLASSES scores of this dtype.
SCORE_DTYPE = "<f4"
ROW_BYTES = 4 * CLASSES
# One image on its way through the pipe: 32 x 32 pixels, three bytes each.
IMAGE_BYTES = 32 * 32 * 3
# What makes training faster, by the names that the assignment and the ledger use. Only batched-draws (other random
# numbers) and bfloat16 (other precision) change numbers.
BATCHED_TRANSFORMS, OWN_LOADING, BATCHED_DRAWS = "batched-transforms", "own-loading", "batched-draws"
FUSED_STEPS = "fused-steps"
CHANNELS_LAST, CUDA_GRAPHS, BFLOAT16 = "channels-last", "cuda-graphs", "bfloat16"
OPTIMIZATIONS = (BATCHED_TRANSFORMS, OWN_LOADING, BATCHED_DRAWS, CHANNELS_LAST, CUDA_GRAPHS, FUSED_STEPS, BFLOAT16)


class Outcome(StrEnum):
    """How the grading of one student ended."""

    GRADED = "graded"
    NO_SUBMISSION = "no_submission"
    INVALID = "invalid"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_PROCESSOR_TIME = "out_of_processor_time"
    OUT_OF_PROCESSES = "out_of_processes"
    OUT_OF_DISK = "out_of_disk"
    OUT_OF_DESCRIPTORS = "out_of_descriptors"
    TOO_MUCH_OUTPUT = "too_much_output"
    INFRASTRUCTURE = "infrastructure"
    # Nothing has ended yet: in the table of a run that was interrupted, never in the ledger.
    PENDING = "pending"


class StopReason(StrEnum):
    """Why a script stopped training."""

    FINISHED = "finished"
    EPOCH_BUDGET = "epoch_budget"
    TIME_BUDGET = "time_budget"
    ERROR = "error"
    KILLED = "killed"


class IsolationLevel(StrEnum):
    """How well a submission is kept apart, the strongest level first."""

    FULL = "full"
    STRONG = "strong"
    PARTIAL = "partial"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Companion:
    """A Python file that was handed in beside the script, which may import it: its name, without a folder."""

    name: str
    content: bytes = field(repr=False)


# The one remark on a submission that is a kind of its own among the reasons to look.
NOT_ON_ROSTER = "not on the roster"


@dataclass(frozen=True, slots=True)
class Submission:
    """What one student handed in, or that nothing came.

    Attributes:
        student_id: From the file's or folder's name, or from the roster.
        name: The roster's name; empty without a roster.
        on_roster: Whether the student is on the roster, where there is one.
        file: The path below the submissions folder, as shown to the teacher; empty if nothing came.
        original: The name that the student gave the file, where a learning system gave it another; else empty.
        content: The file's bytes, exactly as handed in; None if nothing came or it could not be read.
        companions: What lay beside the file, sorted by name.
        sha256: Of `content`, in hexadecimal; with companions, of the hashes and names of all files. Empty where
            `content` is None.
        submitted_at: Time zone aware; None if nothing came.
        unreadable: Why the file could not be read; empty otherwise.
        spoilt: Whether it is unreadable as the student handed it in; else the fault is ours or the machine's.
        late: Where nothing came in time: which file came how long after the deadline; else empty.
        remarks: What a teacher should look at, one sentence for each.
    """

    student_id: str
    name: str = ""
    on_roster: bool = True
    file: str = ""
    original: str = ""
    content: bytes | None = field(default=None, repr=False)
    companions: tuple[Companion, ...] = ()
    sha256: str = ""
    submitted_at: datetime | None = None
    unreadable: str = ""
    spoilt: bool = False
    late: str = ""
    remarks: tuple[str, ...] = ()


class CurvePoint(NamedTuple):
    """A part of a training curve, as the script's own process told it. A tuple is short in the ledger.

    Attributes:
        samples: Training images used by its end.
        loss: Mean over its batches; None where it is not known.
        accuracy: Share of its images, 0 to 1, that were classified right in their training step; None as `loss`.
    """

    samples: int
    loss: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Training:
    """What the worker measured of a training, told when it is over. A new measurement is a field here.

    The worker makes it and the ledger keeps it. Between them only worker_client.plausible names its fields: it bounds
    what a forged number could break.

    Attributes:
        samples: Training images used.
        seconds: From the first training forward to the stop.
        batches: From which the network learned.
        targets: Rows of targets in torch's losses from which a gradient flowed back, into whatever network.
        own_seed: The script called `torch.manual_seed`, so another seed of ours would change nothing.
        acceleration: Each of `OPTIMIZATIONS`, and the share of images or batches for which it was in use.
        missing_module: The module that an ImportError named, if that ended the script.
    """

    samples: int = 0
    seconds: float = 0.0
    batches: int = 0
    targets: int = 0
    own_seed: bool = False
    acceleration: tuple[tuple[str, float], ...] = ()
    missing_module: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a person should look at a submission: no sentence is read to find out what it has in common with others.

    Attributes:
        kind: What it shares with the reasons of other students; the report counts and filters by it.
        words: What is said of this submission, on one line.
    """

    kind: str
    words: str

    @classmethod
    def of(cls, kind: str, particulars: str = "") -> "Reason":
        """The kind's own words, and what is particular."""
        return cls(kind, f"{kind}: {particulars}" if particulars else kind)


@dataclass(frozen=True, slots=True)
class Run:
    """One training run, as the worker beside the script tells it: for display, never for points.

    Attributes:
        device: What it ran on; empty where no worker reached the script.
        torch_version: As `device`.
        on_card: It ran on a GPU.
        error: The exception that ended the script, or what else went wrong, on one line; else empty.
        error_line: The script's line that the exception comes from; 0 where there is none.
        curve: Its training curve, from its first second to its last; at most 60 points.
        job_seconds: Wall time from the script's first line to the test, measured outside its process; 0: not known.
        processor_seconds: Of all processes of the job in that time, measured outside them.
    """

    outcome: Outcome
    stop_reason: StopReason
    training: Training = Training()
    device: str = ""
    torch_version: str = ""
    on_card: bool = False
    error: str = ""
    error_line: int = 0
    notes: tuple[str, ...] = ()
    flags: tuple[Reason, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    job_seconds: float = 0.0
    processor_seconds: float = 0.0

    @property
    def began(self) -> bool:
        """Whether a worker reached the script."""
        return bool(self.device)

    @property
    def filled_its_card(self) -> bool:
        """Whether PyTorch's own error says that the GPU's memory was full: the name of its class tells."""
        return self.on_card and self.error.startswith("OutOfMemoryError:")


@dataclass(frozen=True, slots=True)
class Score:
    """How many test images the network classified right, counted by the grader.

    Attributes:
        correct: Images classified right.
        total: Images.
    """

    correct: int
    total: int


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
        notices: What the teacher must know of how it was collected: one sentence for each, without a full stop.
    """

    submissions: tuple[Submission, ...]
    decisions: tuple[Decision, ...]
    notices: tuple[str, ...] = ()


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
    NOT_DIFFERENTIABLE = "not-differentiable"
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


@dataclass(frozen=True, slots=True)
class Finding:
    """One deviation from the handout. Deviations with the same cause share the sentence, which is for the student.

    Attributes:
        where: The first place that has it.
        also: Every other place.
    """

    code: Deviation
    where: str
    sentence: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """How one question of the script is answered.

    Attributes:
        name: "Q1" to "Q9".
        reason: One sentence; empty for a right answer of which nothing is to be said.
    """

    name: str
    answer: Answer
    reason: str = ""


def still_blank(blanks: tuple[str, ...], questions: tuple[Question, ...]) -> tuple[str, ...]:
    """The blanks whose question is not answered beside them, as by a line of its own below the dots."""
    right = {each.name for each in questions if each.answer is Answer.OK}
    return tuple(each for each in blanks if each not in right)


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of a network beside the handout's.

    Attributes:
        place: Where it is, in the handout's words.
        asked: What the handout has there; "nothing" for a layer too many.
        ran: What ran there; "missing" where nothing did.
    """

    place: str
    asked: str
    ran: str
    differs: bool


@dataclass(frozen=True, slots=True)
class Check:
    """The architecture check of one submission.

    Attributes:
        outcome: INVALID or CRASHED where there is no network to train, INFRASTRUCTURE for a fault of ours; else None.
        blanks_left: The questions whose `...` still stands ("Q4"), or "line 12" where no question is named.
        parameters: The number of trainable scalars; None if no network could be built.
        output_shape: For an input of shape (4, 3, 32, 32); None if there was no output.
        message: One sentence for the student; empty if all is well.
        lines: The script's lines that something is said of here.
        flags: Why a person should look at the network besides the findings.
        questions: All nine, or none where the script was not watched.
        layers: The network beside the handout's; none where it has no output, or where the ledger does not need them.
        prepared_sha256: Of the text that ran, where that is not the file itself: a notebook's code, or a script without
            its IPython lines; else empty.
        image_seconds: Processor time of one training image, as a forward on the processor shows it; None on a GPU, or
            where there was none.
    """

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    parameters: int | None = None
    output_shape: tuple[int, ...] | None = None
    blanks_left: tuple[str, ...] = ()
    outcome: Outcome | None = None
    message: str = ""
    lines: tuple[int, ...] = ()
    flags: tuple[Reason, ...] = ()
    questions: tuple[Question, ...] = ()
    layers: tuple[Layer, ...] = ()
    prepared_sha256: str = ""
    image_seconds: float | None = None

    @property
    def open_questions(self) -> tuple[str, ...]:
        """A line for each reason why answers are wrong, one for all that are unclear; blanks are named elsewhere."""
        wrong = [_said(names, "wrong", {reason: names}) for reason, names in self._alike(Answer.WRONG).items()]
        unclear = self._alike(Answer.UNKNOWN)
        names = [each.name for each in self.questions if each.answer is Answer.UNKNOWN]
        return (*wrong, *([_said(names, "unclear", unclear)] if unclear else []))

    def _alike(self, answer: Answer) -> dict[str, list[str]]:
        """The questions with this answer, by its reason."""
        alike: dict[str, list[str]] = {}
        for each in self.questions:
            if each.answer is answer:
                alike.setdefault(each.reason, []).append(each.name)
        return alike


def _said(names: list[str], word: str, reasons: dict[str, list[str]]) -> str:
    """What is said of some questions; where there are several reasons, each with the questions that it is about."""
    whole = [
        reason if len(reasons) == 1 else f"{reason.removesuffix('.')} ({_questions(own)})."
        for reason, own in reasons.items()
    ]
    return f"{_questions(names)} {'are' if len(names) > 1 else 'is'} {word}: {' '.join(whole)}"


def _questions(names: list[str]) -> str:
    """Questions in order, as in "Q4 to Q9" or "Q5, Q6 and Q8"."""
    if len(names) > 2 and int(names[-1][1:]) - int(names[0][1:]) == len(names) - 1:
        return f"{names[0]} to {names[-1]}"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def exact_percent(correct: int, total: int) -> Fraction:
    """Return `correct` of `total` in percent, exactly: never a float, so that no rounding crosses a band's edge.

    Raises:
        ValueError: There are no test images, or the count does not fit them.
    """
    if not 0 <= correct <= total or total == 0:
        raise ValueError(f"{correct} of {total} is not a count of test images")
    return Fraction(100 * correct, total)


def accuracy_percent(correct: int, total: int) -> Decimal:
    """Return `correct` of `total` in percent, rounded down to two decimals.

    Raises:
        ValueError: As `exact_percent`.
    """
    # Rounded down: 69.999 shows as 69.99, because 70.00 would claim an edge that was not reached.
    return Decimal(int(exact_percent(correct, total) * 100)).scaleb(-2)


def in_band(percent: Fraction, above: Decimal | None, at_least: Decimal | None) -> bool:
    """Whether an exact accuracy, in percent, is on a band's side of its edge: `above` leaves the edge out."""
    return (above is None or percent > Fraction(above)) and (at_least is None or percent >= Fraction(at_least))
