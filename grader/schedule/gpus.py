"""GPUs: which there are, which place gets which, and whether one still works.

A card is named as CUDA_VISIBLE_DEVICES names it. Written without a GPU at hand: the choice is tested with made-up
names, `works` was never asked about a real card.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from grader.records import Outcome, Run

_TRY_SECONDS = 120
_TRY = (
    "import torch; x = torch.ones(256, 256, device='cuda'); assert (x @ x).sum().item() == 256.0**3; "
    "print(torch.cuda.mem_get_info()[1] >> 20)"
)
# How PyTorch and the driver begin what they say of a card, rightly or because of what a script did to it.
_ABOUT_A_CARD = (b"CUDA error", b"CUDA driver", b"CUDA-capable", b"cuDNN error", b"CUBLAS_STATUS", b"NVML")
_LOG_END = 10_000  # bytes


def cards_here() -> dict[str, int]:
    """The cards that this process may use and that work, each with its memory in MB; takes seconds for each."""
    devices = (re.fullmatch(r"nvidia(\d+)", path.name) for path in Path("/dev").glob("nvidia*"))
    found = visible_cards((int(device[1]) for device in devices if device), os.environ.get("CUDA_VISIBLE_DEVICES"))
    return {card: memory for card in found if (memory := memory_mb(card))}


def visible_cards(numbers: Iterable[int], chosen: str | None) -> tuple[str, ...]:
    """The cards that this process may use, whether they work or not.

    Args:
        numbers: Of the cards that the driver has.
        chosen: CUDA_VISIBLE_DEVICES, as a batch system may have set it; None: not set.
    """
    numbers = tuple(numbers)
    if chosen is None or not numbers:
        return tuple(str(number) for number in sorted(numbers))
    return tuple(name for part in chosen.split(",") if (name := part.strip()) and name != "-1")


def spread(places: int, cards: Sequence[str]) -> tuple[str, ...]:
    """The card of each place, so that no card has two more than another; an empty name each where there are none."""
    return tuple(cards[number % len(cards)] if cards else "" for number in range(places))


def memory_share(card: str, places: Sequence[str]) -> float:
    """The part of its card's memory that one run may have, where all places work at once.

    Args:
        places: The card of each, from `spread`.
    """
    return 1 / max(1, places.count(card))


def card_name(card: str, machine: str = "") -> str:
    """What the teacher is told."""
    if not card:
        return machine or "this machine"
    return f"GPU {card} of {machine}" if machine else f"GPU {card}"


def in_doubt(run: Run, log: bytes) -> bool:
    """Whether a run may have ended as it did because its card failed; most such runs are the script's own doing.

    A run that met no card at all is in doubt, too: PyTorch leaves out a card that does not answer.
    """
    said = run.error.encode() + log[-_LOG_END:]
    failed = run.outcome is not Outcome.GRADED and any(words in said for words in _ABOUT_A_CARD)
    return failed or run.device.startswith("CPU")


def works(card: str) -> bool:
    """Whether a card computes."""
    return memory_mb(card) > 0


def memory_mb(card: str) -> int:
    """Multiply two matrices there, in a process of our own without any student's code; 0 where that fails."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": card}
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _TRY], env=environment, capture_output=True, timeout=_TRY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return 0
    return int(tried.stdout) if tried.returncode == 0 else 0
