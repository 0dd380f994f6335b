"""The sentences that a worker can say about itself, as JSON lines. Standard library only: both sides read it.

Student code shares the worker's process, so all of it may be forged. It is shown, and it explains; scores are not
among it.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Literal

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
    """The worker's own set-up is done; the next thing to run is the student's script."""

    device: str
    torch_version: str
    event: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class SourceRead:
    """What was found in the file before it ran.

    Attributes:
        blanks: Questions whose `...` still stands, or their lines.
        prepared_sha256: Of the text that runs, where it is not the file as handed in; else empty.
        fault: Why the file is not Python; empty if it is.
    """

    blanks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    prepared_sha256: str = ""
    fault: str = ""
    event: Literal["source"] = "source"


@dataclass(frozen=True, slots=True)
class Progress:
    """Training went on.

    Attributes:
        samples: Training images used so far.
        seconds: Since the first training forward.
        loss: Cross entropy of the last batch; None where the script computes its loss in another way.
    """

    samples: int
    seconds: float
    loss: float | None = None
    event: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer that computed something in a forward.

    Attributes:
        kind: "conv" or "linear".
        inputs: Channels or features that came in.
        outputs: Channels or features that went out.
        kernel: Height and width; empty for a linear layer.
        stride: As `kernel`.
        size: Height of the output; 1 for a linear layer.
    """

    kind: str
    inputs: int
    outputs: int
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    size: int = 1


@dataclass(frozen=True, slots=True)
class NetworkSeen:
    """What the check found in one network, or why it found none.

    Attributes:
        constructor_error: Why `IdentityResNet(2, 2, 2, 2)` failed; empty if it did not.
        forward_error: Why a forward of (4, 3, 32, 32) failed; empty if it did not.
        output_shape: None if the output is not a tensor, or there is none.
    """

    is_module: bool
    layers: tuple[Layer, ...] = ()
    parameters: int = 0
    output_shape: tuple[int, ...] | None = None
    constructor_error: str = ""
    forward_error: str = ""
    event: Literal["network"] = "network"


@dataclass(frozen=True, slots=True)
class Stopped:
    """Training is over.

    Attributes:
        reason: A records.StopReason.
        samples: Training images used.
        seconds: Since the first training forward.
        error: The exception that ended the script, one line; empty if none did.
        missing_module: The module that an ImportError named, if that ended the script.
        own_seed: The script called `torch.manual_seed`.
    """

    reason: str
    samples: int = 0
    seconds: float = 0.0
    error: str = ""
    missing_module: str = ""
    own_seed: bool = False
    event: Literal["stopped"] = "stopped"


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


Event = Started | SourceRead | Progress | NetworkSeen | Stopped | Evaluated


@dataclass(frozen=True, slots=True)
class Task:
    """What the worker is to do; written to the job's folder as task.json.

    Attributes:
        mode: "check" stops before the first training forward and looks at the network; "train" goes on to predictions.
        epochs: Times the size of the training set: the training images that may be used.
        train_seconds: Wall time from the first training forward.
        setup_seconds: Wall time until the first training forward.
        images: Test images that will be asked for; 0: none, only the training is timed.
    """

    mode: Literal["check", "train"]
    class_name: str
    blocks: tuple[int, ...]
    seed: int
    epochs: int
    train_seconds: float
    setup_seconds: float
    images: int
    processes: int
    open_files: int
    scratch_bytes: int
    memory_bytes: int


def to_json(record: "Event | Task") -> str:
    """One line of JSON."""
    return json.dumps(asdict(record))
