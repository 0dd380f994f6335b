"""What is in the ledger stays there, and a killed grader loses only the line that it was writing."""

import errno
import fcntl
import json
import os
import re
import resource
import stat
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from grader.errors import InfrastructureError, UserError
from grader.records import CurvePoint, Deviation, Finding, Outcome, Reason, StopReason, Verdict
from grader.report.page import write_feedback
from grader.results.entries import Entry, Override, Regrade, Result
from grader.results.ledger import LEDGER_NAME, LOCK_NAME, log_of, open_ledger, read_ledger, record_run
from grader.results.score import grade
from record_examples import ENTRY, check, entry, submission
from submission_folders import ASSIGNMENT

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from grader.results.ledger import open_ledger
with open_ledger(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""

LINE = json.dumps(TypeAdapter(Entry).dump_python(ENTRY, mode="json"))
APPEND_UNTIL_KILLED = """
import itertools, sys
from pathlib import Path
from grader.results.ledger import open_ledger
from record_examples import entry
with open_ledger(Path(sys.argv[1])) as ledger:
    for number in itertools.count():
        ledger.append(entry(samples=number))
        print(number, flush=True)
"""

# How a run began in ledgers before entries held runs.


def append(out: Path, *entries: Entry) -> None:
    with open_ledger(out) as ledger:
        for one in entries:
            ledger.append(one)


def lines(out: Path) -> list[bytes]:
    return (out / LEDGER_NAME).read_bytes().splitlines()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let every write fail that would make a file larger than `size` bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def another_grader(out: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a second process that holds the ledger of `out`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "locked\n"
            yield other
        finally:
            other.kill()


def test_entries_come_back_as_they_were_written(tmp_path: Path) -> None:
    finding = Finding(Deviation.WRONG_WIDTH, "stage 2, block 1", "It has 64 channels instead of 128.")
    full = entry(
        check=check(verdict=Verdict.DEVIATES, findings=(finding,), notes=("a note",), blanks_left=("Q4",)),
        stop_reason=StopReason.EPOCH_BUDGET,
        error='ValueError: "한글"\n\u2028\x00 end',
        notes=("one", "two"),
        flags=(Reason("a kind", "its words"),),
        curve=(CurvePoint(100, 2.25, None), CurvePoint(200, None, 0.5)),
        missing_module="cv2",
    )
    bare = entry(student_id="s2", outcome=Outcome.CRASHED, correct=None)
    append(tmp_path, full, bare)
    assert read_ledger(tmp_path).entries() == (full, bare)
    assert read_ledger(tmp_path).unreadable == 0


def test_each_entry_is_one_line_of_json_that_a_person_can_read(tmp_path: Path) -> None:
    append(tmp_path, entry(student_id="김민수", error="a\nb"), ENTRY)
    assert [json.loads(line)["run"]["outcome"] for line in lines(tmp_path)] == ["graded", "graded"]
    assert "김민수".encode() in lines(tmp_path)[0]


@pytest.mark.parametrize("text", ["lone \udc80 surrogate", "\ud800", "nul \x00", "line \u2028 separator", "\\udc80"])
def test_no_text_of_a_student_can_keep_an_entry_out(tmp_path: Path, text: str) -> None:
    append(tmp_path, entry(error=text), ENTRY)
    assert read_ledger(tmp_path).entries() == (entry(error=text), ENTRY)


@pytest.mark.parametrize("seconds", [float("inf"), float("nan")])
def test_a_time_that_is_no_number_cannot_keep_an_entry_out(tmp_path: Path, seconds: float) -> None:
    append(tmp_path, entry(seconds=seconds))
    (read,) = read_ledger(tmp_path).entries()
    assert repr(read.run.training.seconds) == repr(seconds)


def test_an_entry_is_on_the_disk_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    with open_ledger(tmp_path) as ledger:
        monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.pread(descriptor, 100_000, 0)))
        ledger.append(ENTRY)
    assert synced == [(tmp_path / LEDGER_NAME).read_bytes()]


def test_a_killed_grader_keeps_every_entry_that_it_had_appended(tmp_path: Path) -> None:
    helpers = Path(__file__).parents[1] / "helpers"
    command = [sys.executable, "-c", APPEND_UNTIL_KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=helpers) as grader:
        try:
            assert grader.stdout is not None
            said = [int(grader.stdout.readline()) for _ in range(20)]
        finally:
            grader.kill()
    assert said == list(range(20))
    append(tmp_path, entry(samples=-1))
    samples = [one.run.training.samples for one in read_ledger(tmp_path).entries()]
    assert samples == [*range(len(samples) - 1), -1]
    assert len(samples) >= len(said) + 1


def test_a_line_cut_at_any_byte_is_skipped_and_never_glued_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # hundreds of cuts
    first, cut, next_one = entry(student_id="s1"), entry(student_id="s2"), entry(student_id="s3")
    append(tmp_path, first, cut)
    whole = (tmp_path / LEDGER_NAME).read_bytes()
    start = whole.index(b"\n") + 1
    for length in range(start, len(whole)):
        out = tmp_path / str(length)
        out.mkdir()
        (out / LEDGER_NAME).write_bytes(whole[:length])
        append(out, next_one)
        ledger = read_ledger(out)
        # Without the line's last byte, its newline, the entry itself is still complete.
        complete = length == len(whole) - 1
        assert ledger.entries() == ((first, cut, next_one) if complete else (first, next_one))
        assert ledger.unreadable == (0 if complete or length == start else 1)
        assert (out / LEDGER_NAME).read_bytes().startswith(whole[:length])


@pytest.mark.parametrize(
    "damage",
    [
        b"not json",
        b"{}",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b"\x00\x00\x00",
        b'{"student_id": 1}',
        b"[" * 100_000,
    ],
    ids=["text", "empty", "list", "null", "bytes", "zeros", "fields", "deep"],
)
def test_an_unreadable_line_is_counted_and_the_others_are_read(tmp_path: Path, damage: bytes) -> None:
    append(tmp_path, entry(student_id="s1"))
    with (tmp_path / LEDGER_NAME).open("ab") as file:
        file.write(damage + b"\n")
    append(tmp_path, entry(student_id="s2"))
    ledger = read_ledger(tmp_path)
    assert [one.student_id for one in ledger.entries()] == ["s1", "s2"]
    assert ledger.unreadable == 1


def other_version(**changes: object) -> bytes:
    """A line as another version of the grader wrote it; None takes a field away."""
    fields = json.loads(LINE) | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": None},
        {"kind": "rescore"},
        {"evidence": None},
        {"outcome": "failed"},
        {"lever": "batched-transforms"},
        {"run": None, "outcome": "graded", "correct": 1, "total": 2},
        {"evidence": {**json.loads(LINE)["evidence"], "node": "a"}},
    ],
    ids=[
        "no kind",
        "another kind",
        "a field less",
        "another value",
        "a field more",
        "version 1",
        "a field more inside",
    ],
)
def test_a_ledger_of_another_version_is_one_sentence_with_the_way_out(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    append(tmp_path, ENTRY)
    with (tmp_path / LEDGER_NAME).open("ab") as file:
        file.write(other_version(**changes) + b"\n")
    said = rf"another version of the grader wrote line 2 of {re.escape(str(tmp_path))}.*OUT="
    with pytest.raises(UserError, match=said):
        read_ledger(tmp_path)
    with pytest.raises(UserError, match=said), open_ledger(tmp_path):
        pass


def test_nothing_is_ever_rewritten(tmp_path: Path) -> None:
    append(tmp_path, ENTRY)
    before = (tmp_path / LEDGER_NAME).read_bytes()
    append(tmp_path, entry(correct=1))
    assert (tmp_path / LEDGER_NAME).read_bytes().startswith(before)
    assert len(lines(tmp_path)) == 2


def test_a_students_lines_come_back_in_their_order(tmp_path: Path) -> None:
    now = ENTRY.finished_at
    regrade = Regrade("20230001", ENTRY.sha256, "asked for", "kim", now)
    override = Override("20230001", ENTRY.sha256, Decimal("12.5"), "handed in by mail", "kim", now)
    with open_ledger(tmp_path) as ledger:
        for line in (ENTRY, entry(student_id="s2"), regrade, override):
            ledger.append(line)
    assert read_ledger(tmp_path).lines("20230001") == (ENTRY, regrade, override)


def test_lines_about_another_file_can_be_told_apart(tmp_path: Path) -> None:
    append(tmp_path, ENTRY, entry(sha256="cd" * 32))
    assert read_ledger(tmp_path).lines(ENTRY.student_id, ENTRY.sha256) == (ENTRY,)
    assert read_ledger(tmp_path).lines("nobody") == ()


def test_what_was_appended_is_known_at_once(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.append(ENTRY)
        assert ledger.lines(ENTRY.student_id) == (ENTRY,)
        assert read_ledger(tmp_path).entries() == ledger.entries() == (ENTRY,)


def test_a_folder_without_a_ledger_reads_as_empty(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "missing").entries() == ()
    assert not (tmp_path / "missing").exists()


def test_the_folder_and_its_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    out = tmp_path / "results"
    before = os.umask(0)
    try:
        append(out, ENTRY)
    finally:
        os.umask(before)
    assert (mode(out), mode(out / LEDGER_NAME), mode(out / LOCK_NAME)) == (0o700, 0o600, 0o600)


def test_a_second_grader_is_turned_away_with_the_first_ones_process_id(tmp_path: Path) -> None:
    with another_grader(tmp_path) as other:
        with pytest.raises(UserError, match=rf"process {other.pid}\).*OUT="), open_ledger(tmp_path):
            pass
        assert read_ledger(tmp_path).entries() == ()


def test_a_killed_grader_leaves_no_lock(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("4194304 of long ago")
    with another_grader(tmp_path) as other:
        other.kill()
        other.wait()
        append(tmp_path, ENTRY)
    assert (tmp_path / LOCK_NAME).read_text() == str(os.getpid())


def test_a_grader_that_was_turned_away_does_not_free_the_lock(tmp_path: Path) -> None:
    with another_grader(tmp_path):
        for _ in range(2):
            with pytest.raises(UserError), open_ledger(tmp_path):
                pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_share_without_locks_is_one_sentence_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", lacks(code))
    with pytest.raises(UserError, match=r"has no locks \(.*\).*this machine with OUT="), open_ledger(tmp_path):
        pass
    assert not (tmp_path / LEDGER_NAME).exists()


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_share_that_cannot_hold_room_back_or_wait_for_a_folder_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fsync = os.fsync
    monkeypatch.setattr(os, "posix_fallocate", lacks(code))
    for_folders = lacks(code)
    monkeypatch.setattr(
        os, "fsync", lambda file: (for_folders if stat.S_ISDIR(os.fstat(file).st_mode) else fsync)(file)
    )
    append(tmp_path, ENTRY)
    assert read_ledger(tmp_path).entries() == (ENTRY,)


def lacks(code: int) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


def test_students_whose_ids_differ_in_case_share_no_file_where_case_is_folded(tmp_path: Path) -> None:
    students = ("Kim", "kim", "KIM", "straße", "STRASSE", "jos\u00e9", "jose\u0301")
    with open_ledger(tmp_path) as ledger:
        for student in students:
            for _ in range(2):
                record_run(entry(student_id=student), b"log", ledger, tmp_path / "logs")
    rows = [
        Result(submission(student_id=student), None, grade(submission(), ENTRY, ASSIGNMENT)) for student in students
    ]
    write_feedback(rows, ASSIGNMENT, tmp_path / "feedback")
    for folder in ("logs", "feedback"):
        names = [unicodedata.normalize("NFC", name) for name in os.listdir(tmp_path / folder)]
        folded = {unicodedata.normalize("NFC", name.upper().casefold()) for name in names}
        assert len(folded) == len(names) == 2 * len(students)


def test_a_place_that_cannot_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write to .*OUT="), open_ledger(tmp_path / "file"):
        pass


def test_a_disk_that_is_full_at_the_start_is_one_sentence(tmp_path: Path) -> None:
    with largest_file(0), pytest.raises(UserError, match="cannot write to"), open_ledger(tmp_path):
        pass
    append(tmp_path, ENTRY)


def test_a_ledger_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / LEDGER_NAME).mkdir()
    with pytest.raises(UserError, match="cannot read"):
        read_ledger(tmp_path)


def test_a_disk_that_fills_up_loses_one_entry_and_no_other(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.append(entry(student_id="s1"))
        size = (tmp_path / LEDGER_NAME).stat().st_size
        with largest_file(size + 20), pytest.raises(InfrastructureError, match="ledger"):
            ledger.append(entry(student_id="s2"))
        assert (tmp_path / LEDGER_NAME).stat().st_size == size + 20
        ledger.append(entry(student_id="s3"))
        remembered = ledger.entries()
    assert [one.student_id for one in remembered] == ["s1", "s3"]
    assert read_ledger(tmp_path).entries() == remembered


@pytest.mark.parametrize("other", ["kim~2", "KIM", "../../kim", "/etc/kim", "x" * 250, "가" * 200, "", "a\0b"])
def test_no_student_writes_into_another_one_s_log_or_outside_the_folder(tmp_path: Path, other: str) -> None:
    runs = [entry(student_id=student, samples=number) for number, student in enumerate(["kim", "kim", other, other])]
    logs = tmp_path / "out" / "logs"
    with open_ledger(tmp_path / "out") as ledger:
        for run in runs:
            assert record_run(run, f"log {run.run.training.samples}".encode(), ledger, logs) == run
        paths = [log_of(run, ledger, logs) for run in runs]
    assert [path.read_text() for path in paths] == ["log 0", "log 1", "log 2", "log 3"]
    assert len({path.name.casefold() for path in paths}) == len(list(logs.iterdir())) == 4
    assert sorted(tmp_path.iterdir()) == [tmp_path / "out"]


def test_a_log_that_cannot_be_written_costs_no_result_and_the_teacher_is_told(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    with open_ledger(tmp_path) as ledger:
        kept = [record_run(entry(student_id=student), b"log", ledger, tmp_path / "logs") for student in ("kim", "lee")]
    assert read_ledger(tmp_path).entries() == tuple(kept)
    assert all("the log of the run is missing: cannot write" in one.run.flags[-1].words for one in kept)
