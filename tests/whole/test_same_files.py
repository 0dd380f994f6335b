"""Equal files of several students are run once: everyone has the result, and only the teacher reads of the others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from grader.assignment import load_assignment
from grader.cli.grade import copies_among
from grader.data import load_data
from grader.pipeline import DueRun, Grading, due, grade_due, results
from grader.progress import Watch
from grader.records import Outcome, StopReason, Submission
from grader.results.entries import Regrade
from grader.results.ledger import OpenLedger, log_of, open_ledger, read_ledger
from grader.run.machine import Machine
from grader.schedule import Finished
from record_examples import ENTRY, entry, submission

ASSIGNMENT = load_assignment()
DATA = load_data("digits")
KEY = ASSIGNMENT.run_key(DATA.sha256)
KIM, LEE, PARK = (submission(student_id=student, name="") for student in ("kim", "lee", "park"))
OTHER = submission(student_id="choi", sha256="cd" * 32)
LOW, CUT = {"correct": 2_950}, {"stop_reason": StopReason.TIME_BUDGET, "correct": 100}


class Canned:
    """A scheduler whose runs end at once as they are told to, each with a log of its own; remembers what it ran."""

    machines: Sequence[Machine] = ()

    def __init__(self, **ends: Any) -> None:
        self.ends = ends
        self.ran: list[str] = []

    def run_all(
        self, tasks: Sequence[DueRun], work: Callable[..., object], watch: Watch, *, alone: bool = False
    ) -> Iterator[tuple[DueRun, Finished[Any]]]:
        for task in tasks:
            who, run = task
            self.ran.append(f"{who.student_id} {run.reason} {run.seed}")
            evidence = replace(ENTRY.evidence, seed=run.seed, jobs=1 if alone else 2)
            ended = entry(student_id=who.student_id, sha256=who.sha256, run_key=KEY, reason=run.reason, **self.ends)
            yield task, Finished((replace(ended, evidence=evidence), f"log {len(self.ran)}".encode()), ())


def graded(out: Path, *students: Submission, **ends: Any) -> list[str]:
    """Grade these; what was run, in that order."""
    canned = Canned(**ends)
    with open_ledger(out) as ledger:
        told = [one.submission.student_id for one in grade(canned, ledger, out, *students) if one.again is None]
        left = [task.submission for task in due(students, ASSIGNMENT, ledger, KEY)]
    assert sorted(told) == sorted(student.student_id for student in students), "each is told once, copies too"
    assert left == [] or ends["outcome"] is Outcome.INFRASTRUCTURE
    return canned.ran


def grade(canned: Canned, ledger: OpenLedger, out: Path, *students: Submission) -> Iterator[Any]:
    grading = Grading(ASSIGNMENT, DATA, canned, ledger, out)  # type: ignore[arg-type]
    return grade_due(students, grading, print)


def regrade(out: Path, *students: str) -> None:
    with open_ledger(out) as ledger:
        for student in students:
            ledger.append(Regrade(student, KIM.sha256, "asked", "teacher", datetime.now(UTC)))


def copies(out: Path) -> list[tuple[str, str]]:
    return [(one.student_id, one.run_of) for one in read_ledger(out).entries()]


def logs(out: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (out / "logs").iterdir()}


def review(out: Path, *students: Submission) -> list[str]:
    return ["; ".join(row.grade.review) for row in results(students, ASSIGNMENT, read_ledger(out), KEY)]


def test_equal_files_are_run_once_and_everyone_has_an_entry_and_a_log(tmp_path: Path) -> None:
    assert graded(tmp_path, KIM, LEE, OTHER, PARK) == ["kim first 1", "choi first 1"]
    assert copies(tmp_path) == [("kim", ""), ("lee", "kim"), ("park", "kim"), ("choi", "")]
    assert logs(tmp_path) == {"kim.log": "log 1", "lee.log": "log 1", "park.log": "log 1", "choi.log": "log 2"}
    kim, lee, *_ = read_ledger(tmp_path).entries()
    assert replace(lee, student_id="kim", run_of="") == kim
    assert log_of(lee, read_ledger(tmp_path), tmp_path / "logs").name == "lee.log"


def test_whoever_hands_in_the_same_later_gets_the_result_that_is_there(tmp_path: Path) -> None:
    graded(tmp_path, KIM)
    assert graded(tmp_path, LEE) == []
    assert graded(tmp_path, PARK) == []
    assert copies(tmp_path) == [("kim", ""), ("lee", "kim"), ("park", "kim")]


@pytest.mark.parametrize(
    ("ends", "ran"),
    [
        (LOW, ["kim first 1", "kim borderline 2", "kim borderline 3"]),
        (CUT, ["kim first 1", "kim alone 1"]),
    ],
    ids=["just below an edge", "out of time in company"],
)
def test_what_is_repeated_is_repeated_once_for_all(tmp_path: Path, ends: dict[str, Any], ran: list[str]) -> None:
    assert graded(tmp_path, KIM, LEE, **ends) == ran
    done = read_ledger(tmp_path).entries()
    of_kim, of_lee = ([one for one in done if one.student_id == who] for who in ("kim", "lee"))
    assert [replace(one, student_id="kim", run_of="") for one in of_lee] == of_kim
    # Also for whoever comes later.
    assert graded(tmp_path, PARK, **ends) == []


def test_a_fault_of_ours_is_not_copied(tmp_path: Path) -> None:
    assert graded(tmp_path, KIM, LEE, outcome=Outcome.INFRASTRUCTURE) == ["kim first 1", "lee first 1"]
    assert copies(tmp_path) == [("kim", ""), ("lee", "")]
    assert graded(tmp_path, KIM, LEE) == ["kim first 1"]


def test_a_regrade_of_one_runs_that_one_again_and_leaves_the_other(tmp_path: Path) -> None:
    graded(tmp_path, KIM, LEE)
    regrade(tmp_path, "lee")
    assert graded(tmp_path, LEE) == ["lee first 1"]
    assert logs(tmp_path) == {"kim.log": "log 1", "lee.log": "log 1", "lee~2.log": "log 1"}
    assert copies(tmp_path) == [("kim", ""), ("lee", "kim"), ("lee", "")]


def test_a_regrade_of_all_runs_one_again(tmp_path: Path) -> None:
    graded(tmp_path, KIM, LEE)
    regrade(tmp_path, "kim", "lee")
    assert graded(tmp_path, KIM, LEE) == ["kim first 1"]


def test_a_run_that_is_to_be_made_again_counts_for_nobody_new(tmp_path: Path) -> None:
    graded(tmp_path, KIM, LEE)
    regrade(tmp_path, "kim")
    assert graded(tmp_path, PARK) == ["park first 1"]


def test_a_run_under_other_conditions_counts_for_nobody_new(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.append(entry(student_id="kim", run_key="other"))
    assert graded(tmp_path, LEE) == ["lee first 1"]


def test_a_run_whose_log_is_gone_is_made_again(tmp_path: Path) -> None:
    graded(tmp_path, KIM)
    (tmp_path / "logs" / "kim.log").unlink()
    assert graded(tmp_path, LEE) == ["lee first 1"]


def test_the_teacher_reads_of_the_others_at_each_of_them(tmp_path: Path) -> None:
    graded(tmp_path, KIM, LEE, PARK, OTHER)
    assert review(tmp_path, KIM, LEE, PARK, OTHER) == [
        "the same files as others: lee, park",
        "result copied: kim handed in the same files; the same files as others: kim, park",
        "result copied: kim handed in the same files; the same files as others: kim, lee",
        "",
    ]


def test_a_second_run_and_a_student_whose_id_ends_in_a_number_have_logs_of_their_own(tmp_path: Path) -> None:
    again, other = submission(student_id="kim", name=""), submission(student_id="kim.2", sha256="ef" * 32, name="")
    graded(tmp_path, again, **LOW)
    regrade(tmp_path, "kim")
    graded(tmp_path, again, **LOW)
    graded(tmp_path, other, **LOW)
    assert len(logs(tmp_path)) == sum(len(read_ledger(tmp_path).lines(student)) for student in ("kim", "kim.2")) - 1


def test_the_plan_counts_who_will_get_a_copy_be_it_of_a_run_of_before(tmp_path: Path) -> None:
    graded(tmp_path, KIM)
    regrades = [KIM, LEE, PARK]
    with open_ledger(tmp_path) as ledger:
        assert copies_among([LEE, PARK], ASSIGNMENT, ledger, KEY, regraded=False) == 2
        assert copies_among([LEE, PARK, OTHER], ASSIGNMENT, ledger, KEY, regraded=False) == 2
        assert copies_among(regrades, ASSIGNMENT, ledger, KEY, regraded=True) == 2
    with open_ledger(tmp_path / "new") as ledger:
        assert copies_among([KIM, LEE, OTHER], ASSIGNMENT, ledger, KEY, regraded=False) == 1
