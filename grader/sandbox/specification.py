"""What a keeper is told: the job's command, its user, its limits, and which files it may touch."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Specification:
    """What a keeper starts, as JSON on its command line.

    Attributes:
        uid: The job's user and group; None: the keeper's own.
        control: A descriptor whose other end the grader holds.
        confined: Landlock and the filter of system calls; without it only limits and another user hold.
        hidden_memory: Allow memory that no process maps.
    """

    command: list[str]
    environment: dict[str, str]
    folder: str
    uid: int | None
    control: int
    kept_descriptors: list[int]
    processes: int
    file_bytes: int
    confined: bool
    hidden_memory: bool
    readable: list[str]
    listable: list[str]
    writable: list[str]
    devices: list[str]

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))
