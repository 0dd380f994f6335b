"""Watch one hw6.py in a process of its own: what the self-check and the check at upload both ask about."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from grader.protocol import Event, NetworkSeen, QuestionsSeen, SourceRead, Stopped, from_json
from grader.records import Question

_CODE = Path(__file__).parents[2]
_KILLED = 9  # Windows has no name for it
# What the template's questions ask for, Q1 first.
ASKED = (
    "The script takes a GPU if there is one.",
    "The loader of the training images has a batch size.",
    "The network is on the same device as the images.",
    "The optimizer is SGD with momentum 0.9 and a proper learning rate.",
    "Each backward starts without old gradients.",
    "The outputs are what the network makes of the images.",
    "The gradients of the loss are computed.",
    "The parameters change in each step.",
    "The test builds no graph.",
)
NO_LAYERS = "The class has no layers that lead from the images to an output yet: complete __init__ and forward."


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of a file, as far as it came.

    Attributes:
        fault: Why the file could not be read or run to its end, in one sentence; empty where it could.
        blanks: The questions or lines at which `...` still stands.
        notes: What was set aside.
        questions: All nine, or none where it did not come to that.
        network: None where there is no network of the class, or it did not come to that.
    """

    fault: str = ""
    blanks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    network: NetworkSeen | None = None

    @property
    def without_layers(self) -> bool:
        """Whether the class is still as the template has it."""
        seen = self.network
        if seen is None or seen.constructor_error or seen.forward_error:
            return False
        return seen.is_module and seen.output is None


def beside(file: Path) -> list[Path]:
    """The Python files that the script may import, as those beside a file that is handed in."""
    return sorted(path for path in file.parent.glob("*.py") if path.name != file.name and path.is_file())


def observe(file: Path, seconds: float) -> Observed:
    """Run a file on a few images of noise, and look at its network.

    Args:
        seconds: Of work: what others do on the same machine does not count.
    """
    if not file.is_file():
        return Observed(f"There is no file {file}.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        answer, late = Path(folder, "answer.jsonl"), Path(folder, "late.txt")
        # A copy, as in the grader: of the files beside it, the script sees Python files, and it may write.
        copy = Path(folder, "work", "hw6.py")
        copy.parent.mkdir()
        for companion in beside(file):
            shutil.copyfile(companion, copy.with_name(companion.name))
        shutil.copyfile(file, copy)
        arguments = (copy, answer, late, seconds)
        finished = subprocess.run(
            [sys.executable, "-m", "grader.student.self_check", *map(str, arguments)],
            # Not beside the file: Python would import what lies there in place of the check's own modules.
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(_CODE)},
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # A process that was ended in the middle of a line leaves a part of it behind.
        *whole, _ = _read(answer).split("\n")
        where = _read(late)
    observed = _put_together([from_json(line) for line in whole])
    if where:
        line = re.search(r'File "hw6\.py", line (\d+)', where)
        at = f"at line {line[1]}" if line else "running"
        return replace(observed, fault=f"After {seconds:g} seconds the script is still {at}: is there an endless loop?")
    if finished.returncode and not observed.fault:
        return replace(observed, fault=_ended(finished.returncode))
    return observed


def _put_together(events: list[Event]) -> Observed:
    observed = Observed()
    for event in events:
        match event:
            case SourceRead():
                observed = replace(observed, fault=event.fault, blanks=event.blanks, notes=event.notes)
            case Stopped() if event.error:
                observed = replace(observed, fault=f"The script stopped: {event.error}.")
            case QuestionsSeen():
                observed = replace(observed, questions=event.questions)
            case NetworkSeen():
                observed = replace(observed, network=event)
    return observed


def _ended(code: int) -> str:
    """Say what ended the process; a signal has a negative code."""
    if code < 0:
        why = ": it may need more memory than there is" if -code == _KILLED else ""
        return f"The system ended the script (signal {-code}){why}."
    return f"The script ended Python itself (exit code {code}) before the check was done."


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
