"""Whole programs that try to buy points or to do harm: each gets what its honest part earns, and harms nobody."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from command import broken_promises, doubted, expectation, read_table
from hostile_corpus import CASES, HONEST, TEN_HONEST, grade_class, honest_id, promises

pytestmark = [pytest.mark.slow, pytest.mark.sandbox, pytest.mark.timeout(3000), pytest.mark.usefixtures("isolation")]


@dataclass(frozen=True)
class Class:
    """A class that was graded: where, its table, and what the command said."""

    out: Path
    table: dict[str, dict[str, str]]
    said: str


@pytest.fixture(scope="module")
def among_hostile_ones(tmp_path_factory: pytest.TempPathFactory) -> Class:
    out, finished = grade_class(tmp_path_factory.mktemp("among"), CASES)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return Class(out, read_table(out / "grades.csv"), finished.stdout + finished.stderr)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Class:
    out, finished = grade_class(tmp_path_factory.mktemp("alone"), [])
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return Class(out, read_table(out / "grades.csv"), finished.stdout + finished.stderr)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_file_gets_what_its_honest_part_earns(case: Path, among_hostile_ones: Class) -> None:
    table, out = among_hostile_ones.table, among_hostile_ones.out
    row = table[case.name]
    log = (out / "logs" / f"{case.name}.log").read_text(encoding="utf-8", errors="replace")
    assert not broken_promises(case, row, log)
    if same := expectation(case).get("accuracy_of"):
        assert row["accuracy"] == table[honest_id(HONEST / same)]["accuracy"]


@pytest.mark.parametrize("case", TEN_HONEST, ids=honest_id)
def test_an_honest_file_gets_the_same_with_and_without_hostile_ones(
    case: Path, among_hostile_ones: Class, alone: Class
) -> None:
    same = ("outcome", "architecture", "accuracy", "points", "epochs", "stop_reason", "runs", "review", "message")
    among, by_itself = (graded.table[honest_id(case)] for graded in (among_hostile_ones, alone))
    assert {key: among[key] for key in same} == {key: by_itself[key] for key in same}
    assert among["outcome"] == "graded"


def test_whoever_is_noticed_is_flagged_and_no_honest_one_is(among_hostile_ones: Class) -> None:
    flagged = doubted(among_hostile_ones.table)
    assert {case.name for case in CASES if promises(case, holds="noticed")} <= flagged
    assert not {honest_id(case) for case in TEN_HONEST} & flagged


def test_no_hostile_file_shows_a_traceback_of_ours_or_writes_into_the_page(among_hostile_ones: Class) -> None:
    assert "Traceback" not in among_hostile_ones.said
    page = (among_hostile_ones.out / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\x1b" not in (among_hostile_ones.out / "grades.csv").read_text(encoding="utf-8-sig")


def test_every_case_says_what_it_tries_and_there_are_enough() -> None:
    assert all(expectation(case)["about"] and expectation(case)["must_not_gain"] for case in CASES)
    assert {expectation(case)["holds"] for case in CASES} == {"prevented", "noticed", "neither"}
    assert len(CASES) >= 30
    assert sum(promises(case, tries="points") for case in CASES) >= 15
    assert sum(promises(case, tries="harm") for case in CASES) >= 10
