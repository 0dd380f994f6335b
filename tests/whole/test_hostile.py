"""Whole programs that try to buy points or to do harm: each gets what its honest part earns, and harms nobody."""

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from command import broken_promises, doubted, expectation, read_table
from grader.assignment import load_assignment
from grader.data import DataSet
from grader.records import Submission, Verdict
from grader.run.check import check_architecture
from grader.sandbox import Isolation
from hostile_corpus import (
    BY_LEVEL,
    CASES,
    FURTHER_WAYS,
    HONEST,
    HOSTILE,
    LIMITS,
    STRONGEST,
    TEN_HONEST,
    THREE_HONEST,
    grade_class,
    honest_id,
    promises,
)
from one_run import only_slot
from other_user import UID, Way
from small_class import rules
from witnesses import Witnesses, witnesses

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.sandbox,
    pytest.mark.timeout(3000),
    pytest.mark.usefixtures("isolation"),
]
WAYS = (STRONGEST, *FURTHER_WAYS)
# Whose success without isolation costs this machine nothing, and can be told from outside.
SEEN_TO_HARM = ("calls_home", "plants_start_files", "reads_other_submissions", "searches_the_disk_for_labels")
Place = Callable[[int], tuple[Path, Witnesses]]


@dataclass(frozen=True)
class Class:
    """A class that was graded: where, what the command said, and what was to be left alone."""

    out: Path
    finished: subprocess.CompletedProcess[str]
    witnesses: Witnesses

    @property
    def said(self) -> str:
        return self.finished.stdout + self.finished.stderr

    @cached_property
    def table(self) -> dict[str, dict[str, str]]:
        if "the assignment asks for isolation of at least" in self.said and not os.environ.get("REQUIRE_SANDBOX"):
            pytest.skip(self.said)
        assert self.finished.returncode == 0, self.said
        return read_table(self.out / "grades.csv")

    def log(self, student: str) -> str:
        return (self.out / "logs" / f"{student}.log").read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="module")
def place(digits: DataSet) -> Iterator[Place]:
    """Make a folder that everyone may pass, owned by whoever grades in it, with the witnesses in it."""
    with ExitStack() as stack:

        def make(uid: int) -> tuple[Path, Witnesses]:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hostile-")))
            home.chmod(0o755)
            return home, stack.enter_context(witnesses(home, digits, uid))

        yield make


@pytest.fixture(scope="module")
def graded(place: Place) -> Callable[[Way], Class]:
    """A class in one way, graded when it is first asked for; further ways have the cases that the level matters to."""

    @functools.cache
    def grade(way: Way) -> Class:
        all_of_them = way == STRONGEST
        return grade_in(place, way, TEN_HONEST if all_of_them else THREE_HONEST, CASES if all_of_them else BY_LEVEL)

    return grade


@pytest.fixture(scope="module")
def alone(place: Place) -> Class:
    return grade_in(place, STRONGEST, TEN_HONEST, [])


def grade_in(place: Place, way: Way, honest: Sequence[Path], hostile: Sequence[Path]) -> Class:
    if way != STRONGEST and os.geteuid() != 0:
        pytest.skip("only root can become another user, and have jobs be others")
    home, seeing = place(UID if way.user else os.geteuid())
    return Class(home / "out", grade_class(way, home, honest, hostile, seeing), seeing)


def label(value: Way | Path) -> str:
    return value.name if isinstance(value, Path) else str(value)


IN_EACH_WAY = [(way, case) for way in WAYS for case in (CASES if way == STRONGEST else BY_LEVEL)]
HONEST_IN_EACH_WAY = [(way, case) for way in WAYS for case in (TEN_HONEST if way == STRONGEST else THREE_HONEST)]


@pytest.mark.parametrize(("way", "case"), IN_EACH_WAY, ids=label)
def test_a_hostile_file_gets_what_its_honest_part_earns(way: Way, case: Path, graded: Callable[[Way], Class]) -> None:
    among = graded(way)
    row = among.table[case.name]
    watched = way.level == "partial"
    assert not broken_promises(case, row, among.log(case.name), watched=watched)
    if same := expectation(case, watched=watched).get("accuracy_of"):
        assert row["accuracy"] == among.table[honest_id(HONEST / same)]["accuracy"]


@pytest.mark.parametrize(("way", "case"), HONEST_IN_EACH_WAY, ids=label)
def test_an_honest_file_gets_the_same_with_and_without_hostile_ones(
    way: Way, case: Path, graded: Callable[[Way], Class], alone: Class
) -> None:
    same = ("outcome", "architecture", "accuracy", "points", "epochs", "stop_reason", "runs", "review", "message")
    among, by_itself = (row.table[honest_id(case)] for row in (graded(way), alone))
    assert {key: among[key] for key in same} == {key: by_itself[key] for key in same}
    assert among["outcome"] == "graded"


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_nothing_outside_is_reached_changed_ended_or_left(way: Way, graded: Callable[[Way], Class]) -> None:
    among = graded(way)
    assert among.table
    assert among.witnesses.seen(among.out / "logs") == []


@pytest.mark.parametrize("way", FURTHER_WAYS, ids=str)
def test_the_class_was_graded_in_the_way_that_is_named(way: Way, graded: Callable[[Way], Class]) -> None:
    among = graded(way)
    assert among.table
    line = next(line for line in among.said.splitlines() if line.startswith("isolation: "))
    assert line.startswith("isolation: partial (") == (way.level == "partial")
    assert ("separate user for each slot" in line) == (not way.user)


def test_whoever_is_noticed_is_flagged_and_no_honest_one_is(graded: Callable[[Way], Class]) -> None:
    flagged = doubted(graded(STRONGEST).table)
    assert {case.name for case in CASES if promises(case, holds="noticed")} <= flagged
    assert not {honest_id(case) for case in TEN_HONEST} & flagged


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_no_hostile_file_shows_a_traceback_of_ours(way: Way, graded: Callable[[Way], Class]) -> None:
    among = graded(way)
    assert among.table
    assert "Traceback" not in among.said


def test_no_hostile_file_writes_into_the_page(graded: Callable[[Way], Class]) -> None:
    among = graded(STRONGEST)
    assert among.table
    page = (among.out / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\x1b" not in (among.out / "grades.csv").read_text(encoding="utf-8-sig")


def test_without_isolation_the_programs_reach_what_they_are_after(place: Place) -> None:
    cases = [HOSTILE / name for name in SEEN_TO_HARM]
    among = grade_in(place, Way("none", user=True), THREE_HONEST[:1], cases)
    assert {case.name for case in cases if among.table[case.name]["outcome"] == "graded"} == set(SEEN_TO_HARM)
    seen = among.witnesses.seen(among.out / "logs")
    assert {f"somebody reached {name}" for name in ("tcp", "udp", "abstract")} <= set(seen)
    assert "a file appeared: sitecustomize.py" in seen
    assert "it was read by reads_other_submissions" in seen
    assert "REACHED" in among.log("calls_home")
    assert "PLANTED" in among.log("plants_start_files")
    assert "STOLEN" in among.log("reads_other_submissions")
    assert among.table["searches_the_disk_for_labels"]["points"] == "20"


def test_who_is_stopped_and_what_is_left_is_seen(place: Place, tmp_path: Path) -> None:
    _, seeing = place(os.geteuid())
    assert seeing.seen(tmp_path) == []
    daemon = f"import ctypes; ctypes.CDLL(None).prctl(15, b'{seeing.title}'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", daemon], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as left:
        assert left.stdout is not None
        left.stdout.readline()
        assert seeing.seen(tmp_path) == [f"process {left.pid} is left"]
        left.kill()
    seeing.bystander.kill()
    seeing.bystander.wait()
    assert seeing.seen(tmp_path) == ["the bystander was stopped or killed"]


def test_a_check_that_hangs_ends_at_its_limit(isolation: Isolation, digits: DataSet, tmp_path: Path) -> None:
    text = (HOSTILE / "hangs_when_it_is_asked" / "hw6.py").read_text(encoding="utf-8")
    hangs_at_once = text.replace("if self.trained and not", "if not")
    assert hangs_at_once != text
    limits = load_assignment(rules(tmp_path / "rules.toml", **LIMITS | {"check_seconds": 30}))
    with only_slot(digits, isolation, tmp_path) as (slot, _):
        check = check_architecture(Submission("kim", content=hangs_at_once.encode()), limits, slot)
    assert (check.verdict, check.outcome) == (Verdict.UNREADABLE, None)
    assert "30 seconds" in check.message


def test_every_case_says_what_it_tries_and_there_are_enough() -> None:
    assert all(expectation(case)["about"] and expectation(case)["must_not_gain"] for case in CASES)
    assert {expectation(case)["holds"] for case in CASES} == {"prevented", "noticed", "neither"}
    assert len(CASES) >= 30
    assert sum(promises(case, tries="points") for case in CASES) >= 15
    assert sum(promises(case, tries="harm") for case in CASES) >= 10
