"""What the benchmark on a GPU found, as a table that can be read again: a later run fills in what one did not reach."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TITLE = "On a GPU: bare, alone, and many at once"
BARE = "bare"
_CELLS = 8
_ABOUT = (
    "Random images, 100 for testing; one epoch of the steps that each row needs. *A step*: of each script by its",
    "own clock, with its first steps and the capture of graphs, which the bare script's number leaves out. *In",
    "all*: of all that train at once. *Ratio*: the time of a step in a class, as a part of the bare scripts' one by",
    "one. *Together*: the part of the row's training in which every script trained. *Beside*: seconds of the whole",
    "command without that training. *In use*: the least share of the steps that each optimization worked on.",
    "",
    "| scripts | way | a step, ms | in all, steps/s | ratio | together | beside, s | in use |",
    "|---|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One way to train one kind of script.

    Attributes:
        step_ms: Of each script.
        in_all: Steps a second of all that train at the same time.
        together: The part of the training, 0 to 1, in which all of them did.
        beside: Seconds of the command without training.
        in_use: Optimizations and their shares, in words.
    """

    scripts: str
    way: str
    step_ms: float
    in_all: float
    together: float
    beside: float
    in_use: str

    @property
    def key(self) -> tuple[str, str]:
        """What a later measurement replaces."""
        return self.scripts, self.way

    def line(self, bare: "Row | None") -> str:
        """As a row of the table; without the bare script, the ratio stays empty."""
        ratio = f"{bare.in_all / self.in_all:.3f}" if bare else ""
        cells = [self.scripts, self.way, f"{self.step_ms:.2f}", f"{self.in_all:.1f}", ratio]
        return f"| {' | '.join([*cells, f'{self.together:.0%}', f'{self.beside:.1f}', self.in_use])} |"


def read_rows(path: Path, device: str) -> dict[tuple[str, str], Row]:
    """The rows that the table has from this device; none where there is no such table."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    section = re.search(rf"^## {re.escape(TITLE)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None or f"On {device}." not in section[1]:
        return {}
    lines = (line.strip().strip("|").split("|") for line in section[1].splitlines() if line.startswith("| "))
    cells = ([cell.strip() for cell in line] for line in lines)
    rows = [_row(each) for each in cells if len(each) == _CELLS and each[0] != "scripts"]
    return {row.key: row for row in rows}


def _row(cells: list[str]) -> Row:
    scripts, way, step_ms, in_all, _, together, beside, in_use = cells
    share = float(together.rstrip("%")) / 100
    return Row(scripts, way, float(step_ms), float(in_all), share, float(beside), in_use)


def table(rows: Iterable[Row], device: str) -> list[str]:
    """The lines of the section, in the order of the rows."""
    rows = list(rows)
    bare = {row.scripts: row for row in rows if row.way == BARE}
    return [f"On {device}.", *_ABOUT, *(row.line(bare.get(row.scripts)) for row in rows)]


def device_name() -> str:
    """Of the first card, asked without torch, whose CUDA context would take memory beside what is measured."""
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        if said:
            return said.splitlines()[0]
    return "no GPU"
