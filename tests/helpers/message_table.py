"""What students read, as the tables of grader/docs/messages.md, which running this file writes."""

import io
import re
import runpy
import sys
import tomllib
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from command import ROOT, SUBMISSIONS, expectation
from record_examples import ABSENT, SUBMISSION, check, entry

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from grader.assignment import load_assignment
from grader.judge.verdict import Judgement, judge
from grader.records import Deviation, Finding, Outcome, StopReason, Verdict
from grader.results.score import grade
from grader.worker.look.network import build, look_at

DOC = ROOT / "grader" / "docs" / "messages.md"
NETWORKS = SUBMISSIONS / "networks"
CHANGES = SUBMISSIONS / "changes"
TWO = (2, 2, 2, 2)
_INTRODUCTION = """# What do students read?

Here you can look a sentence up: when it is said, and of what. `python tests/helpers/message_table.py` writes this page
from the test cases, and tests hold it up to date.

"""
_ERROR = re.compile(r"\(\w+: .*?\)(?=[;,.]| and Id)")


def judged(script: Path) -> Judgement:
    """What is said of the network that a script's class makes."""
    torch.manual_seed(0)  # untrained weights may give all images one class
    make: Any = runpy.run_path(str(script), run_name="network")["IdentityResNet"]
    network, failure = build(make, TWO)
    if network is None:
        network = make(2, 2, 2)
    with redirect_stdout(io.StringIO()):
        return judge(look_at(network, failure, make), TWO)


def changes() -> dict[str, Any]:
    """What tests/submissions/changes promises of each change, by its name."""
    return tomllib.loads((CHANGES / "expect.toml").read_text(encoding="utf-8"))


def changed(expected: dict[str, Any], script: Path) -> Judgement:
    """What is said of the network that a change makes; `script` is where it is written to."""
    text = (CHANGES / "hw6.py").read_text(encoding="utf-8")
    for stood, stands in expected["changes"]:
        assert stood in text, stood
        text = text.replace(stood, stands)
    script.write_text(text, encoding="utf-8")
    return judged(script)


def rows_of_network(name: str, about: str, judgement: Judgement) -> list[str]:
    """A row for each finding and each note of a case in tests/submissions/networks or changes."""
    codes: dict[str, list[str]] = {}
    for finding in judgement.findings:
        codes.setdefault(finding.sentence, []).append(str(finding.code))
    findings = [(sentence, ", ".join(dict.fromkeys(each))) for sentence, each in codes.items()]
    said = [*findings, *((note, "note") for note in judgement.notes)]
    return [
        _row(name, str(judgement.verdict), code, _ERROR.sub("(its error)", sentence), about) for sentence, code in said
    ]


def rows_of_runs() -> list[str]:
    """A row for each way in which a run may end."""
    assignment = load_assignment()
    error = "RuntimeError: shape mismatch"
    graded = [(f"graded, {reason}", entry(stop_reason=reason)) for reason in StopReason]
    graded.append(("graded, without training", entry(samples=0)))
    finding = Finding(Deviation.EXTRA_LAYER, "linear layer", "")
    deviates = check(verdict=Verdict.DEVIATES, findings=(finding,), message="The main findings stand here, as below.")
    graded.append(("graded, another network", entry(check=replace(deviates, blanks_left=("Q4",)))))
    failed = [
        (str(outcome), entry(outcome=outcome, correct=None, stop_reason=StopReason.KILLED, samples=0, error=error))
        for outcome in Outcome
        if outcome not in (Outcome.GRADED, Outcome.PENDING, Outcome.NO_SUBMISSION)
    ]
    rows = [_row(name, grade(SUBMISSION, each, assignment).message) for name, each in (*graded, *failed)]
    rows.append(_row(str(Outcome.NO_SUBMISSION), grade(ABSENT, None, assignment).message))
    return rows


def rows_about(name: str) -> list[str]:
    """The rows of the page that begin with a name."""
    return [line for line in DOC.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {name} |")]


def names() -> set[str]:
    """The first cell of each row of the page."""
    lines = DOC.read_text(encoding="utf-8").splitlines()
    return {line.split("|")[1].strip() for line in lines if line.startswith("| ")}


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _table(header: tuple[str, ...], rows: Iterable[str]) -> str:
    return "\n".join([_row(*header), "|---" * len(header) + "|", *rows]) + "\n"


def main() -> None:
    """Write the page."""
    networks = []
    for case in sorted(NETWORKS.iterdir()):
        networks += rows_of_network(case.name, expectation(case)["about"], judged(case / "hw6.py"))
    with TemporaryDirectory() as folder:
        for name, expected in changes().items():
            judgement = changed(expected, Path(folder, "hw6.py"))
            networks += rows_of_network(name, expected["about"], judgement)
    runs = _table(("how it ended", "what the student reads"), rows_of_runs())
    of_networks = _table(("test case", "verdict", "code", "sentence", "the network"), networks)
    page = f"{_INTRODUCTION}## Of a run\n\n{runs}\n## Of a network\n\n{of_networks}"
    DOC.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
