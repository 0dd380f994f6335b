"""The corpus of networks: right ones in many styles are not flagged, and each fault is called by its own name."""

import csv
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from command import SUBMISSIONS, expectation, run_grader
from grader.judge.verdict import Judgement
from grader.records import Deviation, Verdict
from grader.sandbox import Isolation
from grader.worker.standins.compiler import not_scripted
from message_table import changed, changes, judged, names, rows_about, rows_of_network, rows_of_runs

CASES = sorted((SUBMISSIONS / "networks").iterdir())
PAIRS = sorted((SUBMISSIONS / "pairs").iterdir())
# Of the pairs and changes, those that need most of the trace: the others are as slow, and nearer to the networks above.
QUICK = ("channels_one_by_one", "copied_skip", "einsum_and_unfold", "relu_by_its_formula", "three_and_one")
# Beside tests/test_pipeline.py, which checks the reference and two that deviate in the sandbox.
THROUGH_THE_SANDBOX = ("right_reads_values", "not_a_module")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_network_is_judged_as_it_promises(case: Path) -> None:
    expected = expectation(case)
    judgement = judged(case / "hw6.py")
    said = [finding.sentence for finding in judgement.findings]
    assert {str(finding.code) for finding in judgement.findings} == set(expected["deviations"]), said
    assert judgement.verdict == expected["verdict"], said
    assert all(re.search(r"section \d|sections \d|Figure \d", sentence) for sentence in said), "where to read on"
    assert judgement.flags == ()
    if place := expected.get("where"):
        assert any(finding.where.startswith(place) for finding in judgement.findings), said
    if judgement.verdict is Verdict.CONFORMING:
        silent = expected.get("counts_honoured", True) and not expected.get("computed_twice", False)
        assert bool(judgement.notes) is not silent, judgement.notes
    written = "python tests/helpers/message_table.py writes the page of messages anew"
    assert rows_of_network(case.name, expected["about"], judgement) == rows_about(case.name), written


def test_the_page_of_messages_names_no_network_that_is_gone() -> None:
    ended = {row.split("|")[1].strip() for row in rows_of_runs()}
    assert names() - ended - {"how it ended", "test case"} <= {case.name for case in CASES} | changes().keys()


def marked(name: str, value: object) -> Any:
    return pytest.param(value, marks=[] if name in QUICK else [pytest.mark.slow], id=name)


@pytest.mark.parametrize("expected", [marked(name, each) for name, each in changes().items()])
def test_a_change_of_a_right_network_is_judged_as_it_promises(
    expected: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    judgement = changed(expected, tmp_path / "hw6.py")
    said = [finding.sentence for finding in judgement.findings]
    assert judgement.verdict == expected["verdict"], said
    assert {str(finding.code) for finding in judgement.findings} == set(expected.get("deviations", ())), said
    assert judgement.flags == ()
    name = request.node.callspec.id
    assert rows_of_network(name, expected["about"], judgement) == rows_about(name)


@pytest.mark.parametrize("pair", [marked(pair.name, pair) for pair in PAIRS])
def test_a_right_network_and_a_wrong_one_that_differ_in_one_place_are_told_apart(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.jit, "script", not_scripted)  # as in the sandbox
    expected = expectation(pair)
    wrong = expected["wrong"]
    text = (pair / "hw6.py").read_text(encoding="utf-8")
    assert text.count(wrong["instead_of"]) == 1
    script = tmp_path / "hw6.py"
    script.write_text(text.replace(wrong["instead_of"], wrong["stands"]), encoding="utf-8")
    assert judged(pair / "hw6.py") == Judgement(Verdict(expected["verdict"]))
    judgement = judged(script)
    said = [finding.sentence for finding in judgement.findings]
    assert judgement.verdict == wrong["verdict"], said
    assert {str(finding.code) for finding in judgement.findings} == set(wrong["deviations"]), said
    if place := wrong.get("where"):
        assert any(finding.where.startswith(place) for finding in judgement.findings), said


def test_every_code_has_a_case_and_fourteen_networks_are_right() -> None:
    promised = [expectation(case) for case in CASES]
    codes = {code for expected in promised for code in expected["deviations"]}
    assert codes == {str(code) for code in Deviation}
    assert sum(expected["verdict"] == "conforming" for expected in promised) >= 14
    single = [expected["deviations"][0] for expected in promised if len(expected["deviations"]) == 1]
    assert set(single) == codes, "a code that no single fault shows by itself"


@pytest.mark.sandbox
def test_the_sandboxed_check_says_the_same(isolation: Isolation, tmp_path: Path) -> None:
    handed_in = tmp_path / "handed-in"
    for name in THROUGH_THE_SANDBOX:
        shutil.copytree(SUBMISSIONS / "networks" / name, handed_in / name)
    finished = run_grader("check", handed_in, "--out", tmp_path / "out")
    assert finished.returncode == 0, finished.stderr
    with (tmp_path / "out" / "checks.csv").open(encoding="utf-8-sig", newline="") as table:
        rows = {row["student_id"]: row for row in csv.DictReader(table)}
    for name in THROUGH_THE_SANDBOX:
        expected = expectation(SUBMISSIONS / "networks" / name)
        assert rows[name]["verdict"] == expected["verdict"], rows[name]
        codes = {said.split(":")[0] for said in rows[name]["deviations"].split("; ") if said}
        assert codes == set(expected["deviations"]), rows[name]
