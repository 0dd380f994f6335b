"""What a class of thousands costs when its results are there: from Blackboard's archive to the file that goes back."""

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import gradebooks
from archives import attempt
from command import read_table
from grader.assignment import load_assignment
from grader.data import load_data
from grader.records import CurvePoint, Reason
from grader.results.ledger import LEDGER_NAME, open_ledger
from record_examples import entry
from results import RESULTS, Out, write_section

REFERENCE = Path(__file__).parents[2] / "reference" / "hw6.py"
ARCHIVE, GRADEBOOK, DATA, OUT = "gradebook.zip", "gradebook.xls", "images.npz", "out"
STEPS = {
    "grade": [ARCHIVE, "--roster", GRADEBOOK, "--deadline", "2026-11-21 23:59 Asia/Seoul", "--data", DATA],
    "export": ["blackboard", "--column", "Project 6"],
}
TARGET_SECONDS, TARGET_MB = 60, 1_000
_EARLIER, _LAST = "2026-11-20-10-00-00", "2026-11-21-10-00-00"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took: by the clock, of all cores together, and the memory of its largest process."""

    seconds: float
    processor_seconds: float
    megabytes: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, {self.processor_seconds:.1f} s of a processor, {self.megabytes:.0f} MB"


def many_students(
    students: Annotated[int, typer.Option(help="So many, each with a result.")] = 10_000, out: Out = RESULTS
) -> None:
    """Collect, look into the ledger, report and export a class of which everyone is graded."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        write_class(folder, students)
        costs = {}
        for step in STEPS:
            costs[step] = run(folder, step)
            typer.echo(f"{step}: {costs[step]}")
        table = read_table(folder / OUT / "grades.csv")
        if sum(row["outcome"] == "graded" for row in table.values()) != students:
            raise SystemExit("not everybody's result was found")
        if not (folder / OUT / "upload" / GRADEBOOK).exists():
            raise SystemExit("there is no file to upload")
    write_section(out, f"{students:,} students with finished results", _table(costs))
    typer.echo(f"results: {out}")


def run(folder: Path, step: str) -> Cost:
    """Give one of the grader's commands as a teacher does.

    Raises:
        SystemExit: It failed.
    """
    command = [sys.executable, "-m", "grader", step, *STEPS[step], "--out", OUT]
    measured = [sys.executable, str(Path(__file__).with_name("cost.py")), *command]
    finished = subprocess.run(measured, cwd=folder, capture_output=True, text=True, check=False)
    *said, cost = finished.stdout.splitlines()
    if finished.returncode:
        raise SystemExit("\n".join([*said[-20:], finished.stderr]))
    return Cost(**json.loads(cost))


def write_class(folder: Path, students: int) -> None:
    """Write the archive, the gradebook, images as many as CIFAR-10's, and a ledger that has a run of everyone."""
    x_train, x_test = (np.zeros((size, 32, 32, 3), np.uint8) for size in (50_000, 10_000))
    y_train, y_test = np.arange(50_000) % 10, np.arange(10_000) % 10
    np.savez_compressed(folder / DATA, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    rows = [(f"s{number:06}", "김민수", "") for number in range(students)]
    (folder / GRADEBOOK).write_bytes(gradebooks.blackboard(rows))
    source = REFERENCE.read_bytes()
    line = _first_line(folder)
    with (
        zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive,
        (folder / OUT / LEDGER_NAME).open("w", encoding="utf-8") as ledger,
    ):
        for number, (student, _, _) in enumerate(rows):
            script = source + f"# {student}\n".encode()
            # Every tenth handed in twice.
            for time in [_EARLIER, _LAST] if number % 10 == 0 else [_LAST]:
                for name, content in attempt(student, time, hw6__py=script).items():
                    archive.writestr(name, content)
            own = {"student_id": student, "sha256": hashlib.sha256(script).hexdigest()}
            ledger.write(json.dumps(line | own | _measured(line, number)) + "\n")


def _first_line(folder: Path) -> dict[str, Any]:
    """A run with all that a real one has, as the ledger writes it."""
    run_key = load_assignment().run_key(load_data(str(folder / DATA)).sha256)
    curve = tuple(CurvePoint(4_000 * point, 2.3 / point, 1 - 0.9 / point) for point in range(1, 61))
    with open_ledger(folder / OUT) as ledger:
        ledger.append(entry(run_key=run_key, curve=curve))
    line: dict[str, Any] = json.loads((folder / OUT / LEDGER_NAME).read_text(encoding="utf-8"))
    return line


def _measured(line: dict[str, Any], number: int) -> dict[str, Any]:
    """Counts in every band, none just below an edge, where a run would be repeated; every 20th is to be looked at."""
    flags = [asdict(Reason.of("inputs differ", "a word for the teacher"))] if number % 20 == 0 else []
    correct = (1_500, 5_000, 7_500)[number % 3] + number % 500
    return {"run": line["run"] | {"flags": flags}, "score": line["score"] | {"correct": correct}}


def _table(costs: dict[str, Cost]) -> list[str]:
    together = Cost(
        sum(cost.seconds for cost in costs.values()),
        sum(cost.processor_seconds for cost in costs.values()),
        max(cost.megabytes for cost in costs.values()),
    )
    return [
        "Blackboard's archive and gradebook, every tenth student with two attempts, and a ledger in which everyone has",
        "a run, so that nothing trains; as many images as CIFAR-10 has are loaded all the same. *Memory*: of the",
        f"largest process. Sought, together: {TARGET_SECONDS} s and {TARGET_MB:,} MB.",
        "",
        "| command | s | of a processor, s | memory, MB |",
        "|---|---|---|---|",
        *(
            f"| {command} | {cost.seconds:.1f} | {cost.processor_seconds:.1f} | {cost.megabytes:.0f} |"
            for command, cost in [*costs.items(), ("together", together)]
        ),
    ]
