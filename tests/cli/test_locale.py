"""A locale that cannot print a name: the character is replaced, and nothing stops; files stay UTF-8."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from command import ROOT, read_table
from grader.cli.options import Inputs, remember, remembered
from grader.results.ledger import open_ledger
from record_examples import entry
from small_class import SMALL_SCRIPT
from submission_folders import hand_in

STUDENTS = ("josé", "김민수", "a")


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two locales that are no UTF-8."""
    folder = tmp_path_factory.mktemp("locales")
    for language, codec, name in (("ko_KR", "EUC-KR", "ko_KR.euckr"), ("en_US", "ISO-8859-1", "en_US.iso88591")):
        if shutil.which("localedef") is None:
            pytest.skip("no localedef")
        made = subprocess.run(["localedef", "-i", language, "-f", codec, folder / name], capture_output=True)
        if made.returncode:
            pytest.skip("localedef has no sources of locales")
    return folder


def grader_in(variables: dict[str, str], *arguments: str | Path) -> tuple[int, bytes]:
    """Run a command in a locale: its exit code, and what it printed."""
    env = {name: value for name, value in os.environ.items() if name not in ("LC_ALL", "LANG", "PYTHONUTF8")}
    command = [sys.executable, "-m", "grader", *map(str, arguments)]
    finished = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env | variables, check=False
    )
    return finished.returncode, finished.stdout


def test_tables_and_pages_are_written_where_the_locale_lacks_a_name(locales: Path, tmp_path: Path) -> None:
    for student in STUDENTS:
        hand_in(tmp_path / "in" / student / "hw6.py")
    with open_ledger(tmp_path / "out") as ledger:
        ledger.append(entry())
    in_latin = {"LOCPATH": str(locales), "LC_ALL": "en_US.iso88591"}
    code, printed = grader_in(in_latin, "report", tmp_path / "in", "--out", tmp_path / "out")
    assert code == 0, printed
    assert "josé".encode("latin-1") in printed
    assert b"???" in printed
    assert sorted(read_table(tmp_path / "out" / "grades.csv")) == sorted(STUDENTS)
    pages = {os.fsdecode(name) for name in os.listdir(os.fsencode(tmp_path / "out" / "feedback"))}
    assert {f"{student}.html" for student in STUDENTS} <= pages


def test_an_encoding_that_was_asked_for_is_kept_and_what_it_lacks_is_replaced(tmp_path: Path) -> None:
    hand_in(tmp_path / "in" / "josé김" / "hw6.py")
    code, printed = grader_in({"PYTHONIOENCODING": "euc_kr"}, "collect", tmp_path / "in", "--out", tmp_path / "out")
    assert (code, "jos?김: ".encode("euc_kr") in printed) == (0, True), printed


@pytest.mark.slow
@pytest.mark.sandbox
@pytest.mark.usefixtures("isolation")
def test_a_class_is_graded_to_its_end_where_the_locale_lacks_a_name(
    locales: Path, tiny_data: Path, tmp_path: Path
) -> None:
    for student in STUDENTS:
        hand_in(tmp_path / "in" / student / "hw6.py", SMALL_SCRIPT.read_bytes())
    in_korean = {"LOCPATH": str(locales), "LC_ALL": "ko_KR.euckr"}
    arguments = (tmp_path / "in", "--out", tmp_path / "out", "--data", tiny_data)
    code, printed = grader_in(in_korean, "grade", *arguments)
    assert code == 0, printed
    assert "김민수: graded".encode("euc_kr") in printed
    assert b"jos?: graded" in printed
    logs = {os.fsdecode(name) for name in os.listdir(os.fsencode(tmp_path / "out" / "logs"))}
    assert {f"{student}.log" for student in STUDENTS} <= logs


def test_a_path_of_other_bytes_than_utf_8_is_remembered(tmp_path: Path) -> None:
    inputs = Inputs(submissions=os.fsdecode(b"/class/\xb1\xe8"), deadline="2026-12-01T23:59Z", format="folder")
    remember(inputs, tmp_path)
    assert remembered(tmp_path, Inputs()) == inputs
