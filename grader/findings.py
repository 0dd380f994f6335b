"""What the check finds out about a submission: its network beside the handout's, and its answers."""

from dataclasses import dataclass
from enum import StrEnum

from grader.records import Outcome


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
    """One deviation: where it is, and one sentence for the student."""

    code: Deviation
    where: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Question:
    """How one question of the script is answered.

    Attributes:
        name: "Q1" to "Q9".
        answer: An `Answer`.
        reason: One sentence; empty for a right answer.
    """

    name: str
    answer: str
    reason: str = ""


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
        flags: Why a person should look at the network besides the findings.
        questions: All nine, or none where the script was not watched.
        layers: The network beside the handout's; none where it has no output, or where a ledger has no use for them.
        prepared_sha256: Of the text that ran, where it is not the file as handed in (a notebook's code, IPython's lines
            set aside); else empty.
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
    questions: tuple[Question, ...] = ()
    layers: tuple[Layer, ...] = ()
    prepared_sha256: str = ""

    @property
    def open_questions(self) -> tuple[str, ...]:
        """What is wrong or unclear about an answer, a line for each; blanks are named elsewhere."""
        named = (Answer.WRONG, Answer.UNKNOWN)
        return tuple(f"{each.name} {each.answer}: {each.reason}" for each in self.questions if each.answer in named)
