"""What a worker and the grader say to each other. Standard library only: both sides read it.

The worker tells of itself in JSON lines. Student code shares its process, so all of it may be forged: it is shown, it
explains, and no score is in it. Single bytes on two other pipes keep both in step; sandbox/conversation.py says how.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal, get_args

from grader.records import Answer, Question, Training

# The grader has the worker begin. The worker's training is over; it is ready for the images, or it offers its network.
BEGIN, OVER, READY, NETWORK = b"B", b"O", b"R", b"N"
# Of the length, little-endian, that stands before a network and whatever else is not the only one in its pipe.
LENGTH_BYTES = 8
TEXT_LIMIT = 2000


class Fault(StrEnum):
    """Why there was no network whose predictions could be taken."""

    SOURCE = "source"
    SCRIPT = "script"
    NO_NETWORK = "no-network"
    NOT_SCORES = "not-scores"
    EVALUATION = "evaluation"
    MEMORY = "memory"
    PROCESSES = "processes"
    DISK = "disk"
    DESCRIPTORS = "descriptors"
    MISSING_MODULE = "missing-module"


@dataclass(frozen=True, slots=True)
class Started:
    """The worker's own set-up is done; the next thing to run is the student's script.

    Attributes:
        device: Its name, for the record.
        on_card: It is a GPU.
    """

    device: str
    torch_version: str
    on_card: bool = False
    event: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class SourceRead:
    """What was found in the file before it ran.

    Attributes:
        blanks: Questions ("Q4") or lines ("line 12") at which `...` still stands for a value or a statement.
        notes: What was set aside.
        prepared_sha256: Of the text that runs, where it is not the file as handed in; else empty.
        fault: Why the file is not Python, in one sentence; empty if it is.
        suspicions: What unpacks data that a source may carry, or such data; for a person.
        lines: Those of the blanks, or the one at which the file is no Python.
    """

    blanks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    prepared_sha256: str = ""
    fault: str = ""
    suspicions: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()
    event: Literal["source"] = "source"


@dataclass(frozen=True, slots=True)
class Progress:
    """Training went on.

    Attributes:
        samples: Training images used so far.
        seconds: Since the first training forward.
        loss: Mean cross entropy of the batches since the last progress; None where the script computes its own.
        accuracy: Share of those batches' images, 0 to 1, whose largest score was at their label; None where the loss
            was not of scores (N, C) and integer labels (N,).
    """

    samples: int
    seconds: float
    loss: float | None = None
    accuracy: float | None = None
    event: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class Node:
    """One operation that depends on the images, in its canonical form (see worker/look/trace.py).

    Attributes:
        op: "input", "conv", "batch_norm", "relu", "add", "max_pool", "avg_pool", "zero_channels", "linear", or torch's
            own name of any other operation.
        inputs: Indices of earlier nodes.
        shape: Of the output.
        weight: Name of the parameter that makes the layer what it is; empty where there is none.
        registered: Whether that parameter belongs to the network, so that an optimizer gets it.
        kernel: Height and width of a filter or pooling window.
        stride: As `kernel`.
        padding: As `kernel`.
        plain: No groups, no dilation, not transposed.
        random: A random number had a part in it.
        gradient: A gradient comes back to all that it was computed from.
    """

    op: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    weight: str = ""
    registered: bool = True
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    plain: bool = True
    random: bool = False
    gradient: bool = True


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a network did when it was tried; a field is None where its try did not come about.

    Attributes:
        images_matter: In eval mode, another image gets other scores.
        single_image: Shape of the output for one image in eval mode, or the error.
        batch_dependent: In eval mode, an image's scores change with the other images of the batch.
        nondeterministic: In eval mode, two calls with the same image differ.
        identities: With every 3 x 3 convolution set to zero: for each addition in order, whether it returns its input.
        trace_differs: The traced graph and the network give different scores for random images in eval mode.
        counts: For each try, block counts asked for, then those found, or the error.
    """

    images_matter: bool | None = None
    single_image: tuple[int, ...] | str | None = None
    batch_dependent: bool | None = None
    nondeterministic: bool | None = None
    identities: tuple[bool, ...] | None = None
    trace_differs: bool | None = None
    counts: tuple[tuple[tuple[int, ...], tuple[int, ...] | str], ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkSeen:
    """What the check found in one network, or why it found none.

    Attributes:
        nodes: What ran in a forward of four images in train mode, in order; the first is the input.
        output: Index of the output's node; None if the output is no tensor or does not depend on the images.
        unused: Modules with parameters of which none had a part in the forward.
        without_gradient: Parameters to which no gradient flows back from the output.
        output_shape: None if the output is not a tensor, or there is none.
        constructor_error: Why `IdentityResNet(2, 2, 2, 2)` failed; empty if it did not.
        forward_error: Why a forward failed; empty if it did not.
        image_seconds: Processor time of one image's forward in train mode; None on a GPU.

    Raises:
        ValueError: An index does not point to an earlier node, the first node is no batch, or a convolution has no
            channels.
    """

    is_module: bool
    nodes: tuple[Node, ...] = ()
    output: int | None = None
    unused: tuple[str, ...] = ()
    without_gradient: tuple[str, ...] = ()
    parameters: int = 0
    output_shape: tuple[int, ...] | None = None
    constructor_error: str = ""
    forward_error: str = ""
    behaviour: Behaviour = field(default_factory=Behaviour)
    image_seconds: float | None = None
    event: Literal["network"] = "network"

    def __post_init__(self) -> None:
        for index, node in enumerate(self.nodes):
            if any(not 0 <= each < index for each in node.inputs) or (index > 0 and not node.inputs):
                raise ValueError(f"node {index} has no place in a graph")
            if len(node.shape) < (2 if node.op == "conv" else 1 if index == 0 else 0):
                raise ValueError(f"node {index} has no such shape")
        if self.output is not None and not 0 <= self.output < len(self.nodes):
            raise ValueError("the output is no node")


def nodes_before(nodes: Sequence[Node], output: int | None) -> set[int]:
    """Indices of the output and of all that it was computed from; none without an output."""
    found: set[int] = set()
    ahead = [] if output is None else [output]
    while ahead:
        node = ahead.pop()
        if node not in found:
            found.add(node)
            ahead.extend(nodes[node].inputs)
    return found


@dataclass(frozen=True, slots=True)
class QuestionsSeen:
    """What a run on a few batches showed of the script's questions.

    Raises:
        ValueError: It is not about each of the nine.
    """

    questions: tuple[Question, ...]
    event: Literal["questions"] = "questions"

    def __post_init__(self) -> None:
        if [question.name for question in self.questions] != [f"Q{number}" for number in range(1, 10)]:
            raise ValueError("not the nine questions")


@dataclass(frozen=True, slots=True)
class Stopped:
    """Training is over.

    Attributes:
        reason: A records.StopReason.
        error: The exception that ended the script, one line; empty if none did.
        training: Whatever was measured.
        line: The script's line that the exception comes from; 0 where there is none.
    """

    reason: str
    error: str = ""
    training: Training = field(default_factory=Training)
    line: int = 0
    event: Literal["stopped"] = "stopped"


@dataclass(frozen=True, slots=True)
class Exported:
    """The trained network was written down, or could not be; said before any test image is there.

    Attributes:
        detail: Why it could not be, a clause without a full stop; empty if it was.
        notes: What will be done that the script did not ask for.
        flags: What a person should look at.
    """

    detail: str = ""
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    event: Literal["exported"] = "exported"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """How predictions were made, or why none could be.

    Attributes:
        fault: A `Fault`; empty if scores were sent.
        detail: One line about the fault.
        notes: What was done that the script did not ask for.
        flags: What a person should look at.
    """

    fault: str = ""
    detail: str = ""
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    event: Literal["evaluated"] = "evaluated"


Event = Started | SourceRead | Progress | NetworkSeen | QuestionsSeen | Stopped | Exported | Evaluated


@dataclass(frozen=True, slots=True)
class Task:
    """What the worker is to do; written to the job's folder as task.json.

    Attributes:
        mode: "check" stops before the first training forward and looks at the network; "train" goes on to predictions.
        epochs: Times the size of the training set: the training images that may be used.
        train_seconds: Wall time from the first training forward.
        setup_seconds: Wall time until the first training forward.
        images: Test images that will be asked for; 0: none, only the training is timed.
        learning_rates: The smallest and the largest that make sense.
        acceleration: Names of the optimizations that may be used.
        precision: "script", or "bfloat16" for training forwards.
        limited: Whether the five limits that follow hold; on a student's own machine they do not.
        card_share: The part of a GPU's memory that may be used; 1 is all that torch may have.
    """

    mode: Literal["check", "train"]
    class_name: str
    blocks: tuple[int, ...]
    seed: int
    epochs: int
    train_seconds: float
    setup_seconds: float
    images: int
    learning_rates: tuple[float, float]
    acceleration: tuple[str, ...]
    precision: str
    limited: bool
    processes: int
    open_files: int
    scratch_bytes: int
    memory_bytes: int
    card_share: float


def to_json(record: "Event | Task") -> str:
    """One line of JSON; half a surrogate pair, which an error's text may have and no reader takes, becomes a `?`."""
    text = json.dumps(asdict(record), ensure_ascii=False).encode("utf-8", "replace")
    return json.dumps(json.loads(text))


def from_json(line: str) -> Event:
    """What a self-check or a trial said; not for what comes out of a sandbox, which is validated elsewhere."""
    kinds: dict[str, type[Event]] = {kind.__dataclass_fields__["event"].default: kind for kind in get_args(Event)}
    values = json.loads(line, object_hook=lambda table: {name: _tuple(value) for name, value in table.items()})
    if values["event"] == "network":
        values["nodes"] = tuple(Node(**node) for node in values["nodes"])
        values["behaviour"] = Behaviour(**values["behaviour"])
    if values["event"] == "stopped":
        values["training"] = Training(**values["training"])
    if values["event"] == "questions":
        values["questions"] = tuple(
            Question(**question | {"answer": Answer(question["answer"])}) for question in values["questions"]
        )
    return kinds[values["event"]](**values)


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
