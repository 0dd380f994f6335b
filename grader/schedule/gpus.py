"""GPUs: which there are, which slot gets which, and whether one still works.

A card is named as CUDA_VISIBLE_DEVICES names it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from grader.records import Outcome, Run, StopReason

# A job's card where it is to have none, even if the machine has some.
NO_CARD = "-1"
_TRIAL = (
    "import torch; x = torch.ones(256, 256, device='cuda'); assert (x @ x).sum().item() == 256.0**3; "
    "print(torch.cuda.mem_get_info()[1] >> 20)"
)
_TRIAL_SECONDS = 120
# How PyTorch and the driver begin what they say of a card, rightly or because of what a script did to it.
_ABOUT_A_CARD = (b"CUDA error", b"CUDA driver", b"CUDA-capable", b"cuDNN error", b"CUBLAS_STATUS", b"NVML")
# What they say of MPS besides, read in others' reports: "Unexpected error from cudaGetDeviceCount() [...] Error 805:
# MPS client failed to connect to the MPS control daemon or the MPS server" and "Error 807: MPS server is not ready to
# accept new MPS client requests". CUDA numbers such errors from 805 to 810.
_ABOUT_MPS = (b"MPS client", b"MPS server", b"cudaGetDeviceCount", *_ABOUT_A_CARD)
_LOG_END = 10_000  # bytes


def cards_here() -> dict[str, int]:
    """The cards that this process may use and that work, each with its memory in MB; takes as long as `memory_mb`."""
    found = visible_cards(_numbers(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    with ThreadPoolExecutor(max_workers=max(1, len(found))) as pool:
        return {card: memory for card, memory in zip(found, pool.map(memory_mb, found), strict=True) if memory}


def machine_has_cards() -> bool:
    """Whether the driver has cards, even if they are broken or hidden from this process."""
    return bool(_numbers())


def _numbers() -> list[int]:
    """The numbers of the driver's cards, whether they work or not."""
    devices = (re.fullmatch(r"nvidia(\d+)", path.name) for path in Path("/dev").glob("nvidia*"))
    return [int(device[1]) for device in devices if device]


def visible_cards(numbers: Iterable[int], chosen: str | None) -> tuple[str, ...]:
    """The cards that this process may use, whether they work or not.

    Args:
        numbers: Of the driver's cards.
        chosen: CUDA_VISIBLE_DEVICES, as a batch system may have set it; None: not set.
    """
    numbers = tuple(numbers)
    if chosen is None or not numbers:
        return tuple(str(number) for number in sorted(numbers))
    return tuple(name for part in chosen.split(",") if (name := part.strip()) and name != NO_CARD)


def spread(slots: int, cards: Sequence[str]) -> tuple[str, ...]:
    """The card of each slot, as evenly as can be; an empty name for each where there are none."""
    return tuple(cards[number % len(cards)] if cards else "" for number in range(slots))


def card_name(card: str, machine: str = "") -> str:
    """A card, or its machine where the name of the card is empty, as the teacher is told of it."""
    if not card:
        return machine or "this machine"
    return f"GPU {card} of {machine}" if machine else f"GPU {card}"


def in_doubt(run: Run, log: bytes) -> bool:
    """Whether a failed card may explain how a run ended, though mostly the script itself does.

    A run that saw no card is in doubt, too: PyTorch leaves out a card that does not answer.
    """
    failed = run.outcome is not Outcome.GRADED and _speaks_of(_ABOUT_A_CARD, _end_of(run, log))
    return failed or (bool(run.device) and not run.on_card)


def may_be_a_neighbours_fault(run: Run, log: bytes, check: str) -> bool:
    """Whether another run's fault may explain how a run ended that shared its card through MPS.

    One client's fault ends what all clients of the server compute, and keeps new ones waiting. A graded run is doubted,
    too, where such an error stopped its training early.

    Args:
        check: The message of its check, which shared the card as well.
    """
    if run.outcome is Outcome.INFRASTRUCTURE and not run.device:
        return True  # its process ended before it named its card
    if run.outcome is not Outcome.GRADED:
        said = _end_of(run, log)
    else:
        said = run.error.encode() if run.stop_reason is StopReason.ERROR else b""
    return _speaks_of(_ABOUT_MPS, said + check.encode())


def _end_of(run: Run, log: bytes) -> bytes:
    return run.error.encode() + b"\n" + log[-_LOG_END:]


def _speaks_of(words: Iterable[bytes], said: bytes) -> bool:
    return any(each in said for each in words)


def works(card: str) -> bool:
    """Whether torch computes on a card."""
    return memory_mb(card) > 0


def memory_mb(card: str) -> int:
    """The memory of a card on which torch computes; 0 of another one. It takes about four seconds (an H100)."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": card}
    command = [sys.executable, "-c", _TRIAL]
    try:
        tried = subprocess.run(command, env=environment, capture_output=True, timeout=_TRIAL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return 0
    return int(tried.stdout) if tried.returncode == 0 else 0
