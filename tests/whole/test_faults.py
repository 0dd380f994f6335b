"""Kills, full disks, sleeps and two graders at once: nothing computed is lost, nothing is graded twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from command import ROOT, SUBMISSIONS, read_table, run_grader, start_grader
from grader.errors import UserError
from grader.results.ledger import LOCK_NAME, RESERVE_NAME, open_ledger, read_ledger
from record_examples import entry
from small_class import hand_in_slow, hand_in_small

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("isolation")]

HOLD_THE_LEDGER = (
    "import sys; from pathlib import Path; from grader.results.ledger import open_ledger\n"
    "with open_ledger(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def class_of_two(tmp_path: Path) -> Path:
    hand_in_small(tmp_path / "class", "kim", "박지우")
    return tmp_path / "class"


@contextmanager
def small_disk(folder: Path, megabytes: float, *, read_only: bool = False) -> Iterator[Path]:
    """A disk of its own at `folder`; only root can make one."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder.mkdir()
    options = f"size={int(megabytes * (1 << 20))}{',ro' if read_only else ''}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def read_until(grader: subprocess.Popen[str], end: str) -> None:
    assert grader.stdout is not None
    assert any(line.endswith(end) for line in iter(grader.stdout.readline, "")), f"it ended without {end!r}"


def its_sandbox(grader: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of the sandbox that begins when a stage is told, a moment later."""
    while not (children := psutil.Process(grader.pid).children(recursive=True)):
        assert grader.poll() is None
        time.sleep(0.02)
    return children


def graded_at_all(out: Path) -> bool:
    return bool(read_ledger(out).entries())


def test_a_killed_run_goes_on_grades_nobody_twice_and_outlives_a_cut_ledger(
    class_of_two: Path, tiny_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    grader = start_grader(class_of_two, tiny_data, out, "--jobs", "1")
    while not graded_at_all(out) and grader.poll() is None:
        time.sleep(0.05)
    grader.kill()
    grader.communicate()
    survived = read_ledger(out).entries()
    assert len(survived) == 1
    assert (out / "work").exists()
    # As if it had been killed while it wrote the next line.
    written = (out / "ledger.jsonl").read_bytes()
    (out / "ledger.jsonl").write_bytes(written + written[:-100].splitlines()[-1])

    finished = run_grader("grade", class_of_two, "--data", tiny_data, "--out", out)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "skipped 1 line that an earlier interruption cut short" in finished.stdout
    assert "graded now: 1; graded before: 1" in finished.stdout
    entries = read_ledger(out).entries()
    assert entries[: len(survived)] == survived
    assert sorted(one.student_id for one in entries) == ["kim", "박지우"]
    assert all(row["outcome"] == "graded" for row in read_table(out / "grades.csv").values())
    assert not (out / "work").exists(), "what the killed one left is gone"


def test_ctrl_c_stops_in_order_and_says_what_is_done(tiny_data: Path, tmp_path: Path) -> None:
    hand_in_slow(tmp_path / "class", "lee", seconds=60)
    out = tmp_path / "out"
    grader = start_grader(tmp_path / "class", tiny_data, out)
    read_until(grader, "lee: training\n")
    children = its_sandbox(grader)
    grader.send_signal(signal.SIGINT)
    said, _ = grader.communicate(timeout=200)
    assert grader.returncode == 130
    assert "stopped; graded and kept: 0 of 1; the same command continues from there" in said
    assert "Traceback" not in said
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert not (out / "work").exists()
    assert read_table(out / "grades.csv")["lee"]["points"] == ""


def test_a_second_ctrl_c_ends_the_grader_and_its_sandbox_at_once(
    class_of_two: Path, tiny_data: Path, tmp_path: Path
) -> None:
    grader = start_grader(class_of_two, tiny_data, tmp_path / "out")
    read_until(grader, ": checking\n")
    children = its_sandbox(grader)
    grader.send_signal(signal.SIGINT)
    grader.send_signal(signal.SIGINT)
    grader.communicate(timeout=30)
    assert grader.returncode in (-signal.SIGINT, 130)
    assert psutil.wait_procs(children, timeout=30)[1] == []


def test_a_second_grader_on_one_folder_is_turned_away(class_of_two: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LEDGER, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        finished = run_grader("grade", class_of_two, "--data", "digits", "--out", out)
        first.kill()
    assert finished.returncode == 2
    assert f"process {first.pid}" in finished.stderr
    assert not (out / "collection.csv").exists(), "the second one changed nothing"


def test_a_disk_that_fills_up_costs_no_result(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1.5) as out:
        with open_ledger(out) as ledger:
            ledger.append(entry(student_id="s1"))
            (out / "filler").write_bytes(bytes(300_000))
            with pytest.raises(OSError, match="No space"):
                (out / "more").write_bytes(bytes(1 << 20))
            with pytest.raises(UserError, match="disk under OUT= is full; what is graded is kept"):
                ledger.append(entry(student_id="s2", error="x" * 9_000))
        assert not (out / RESERVE_NAME).exists()
        assert [one.student_id for one in read_ledger(out).entries()] == ["s1", "s2"]
        (out / "filler").unlink()
        (out / "more").unlink()
        with open_ledger(out):
            assert (out / RESERVE_NAME).stat().st_size == 1 << 20


def test_a_disk_without_room_for_the_data_is_one_sentence(class_of_two: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1.2) as out:
        finished = run_grader("grade", class_of_two, "--data", "digits", "--out", out)
        assert finished.returncode == 2
        assert "make room there" in finished.stderr
        assert not (out / "work").exists()


def test_a_folder_that_cannot_be_written_to_is_one_sentence(class_of_two: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1, read_only=True) as out:
        finished = run_grader("grade", class_of_two, "--data", "digits", "--out", out)
    assert finished.returncode == 2
    assert finished.stderr.strip().endswith("name another folder with OUT=")
    assert len(finished.stderr.strip().splitlines()) == 1


STAND_STILL = """
import sys, threading
from dataclasses import replace
from pathlib import Path
from grader.assignment import load_assignment
from grader.sandbox import Job, execute, find_isolation
rules = load_assignment()
isolation = find_isolation(rules.limits)
job = Job(Path(sys.argv[1]), rules.limits, ready_seconds=3)
print("begun", flush=True)
print(execute(isolation, job, threading.Event(), ("-c", "import time; time.sleep(10)")).ending, flush=True)
"""


@pytest.mark.slow
def test_the_time_in_which_the_machine_stood_still_is_nobodys(tmp_path: Path) -> None:
    """The job may take three seconds and takes ten, in eight of which the grader was stopped."""
    folder = tmp_path / "job"
    folder.mkdir(mode=0o755)
    with subprocess.Popen(
        [sys.executable, "-c", STAND_STILL, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as grader:
        assert grader.stdout is not None
        assert grader.stdout.readline() == "begun\n"
        time.sleep(0.7)
        grader.send_signal(signal.SIGSTOP)
        time.sleep(8)
        grader.send_signal(signal.SIGCONT)
        assert grader.stdout.read() == "exited\n"


def without_times(out: Path) -> dict[str, dict[str, str]]:
    table = read_table(out / "grades.csv")
    return {student: row | {"train_seconds": ""} for student, row in table.items()}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_class_killed_three_times_ends_in_the_same_table(tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "class"
    trained = ("module_level_training", "raises_after_training", "utf8_bom")
    # What is no Python ends at once: every third one trains, and is what the kills are to hit.
    for number in range(9):
        kind = SUBMISSIONS / ("broken/not_text" if number % 3 else f"habits/{trained[number // 3]}")
        (folder / f"s{number:03}").mkdir(parents=True)
        source = (kind / "hw6.py").read_bytes()
        (folder / f"s{number:03}" / "hw6.py").write_bytes(source + b"\n# %d\n" % number)
    through, killed = tmp_path / "through", tmp_path / "killed"
    arguments = ("grade", folder, "--data", tiny_data, "--jobs", "2", "--out")
    assert run_grader(*arguments, through).returncode == 0
    moments = random.Random(1)
    for round_ in range(3):
        grader = start_grader(folder, tiny_data, killed, "--jobs", "2")
        while len(read_ledger(killed).entries()) < 2 * (round_ + 1) and grader.poll() is None:
            time.sleep(0.1)
        time.sleep(moments.uniform(0, 4))
        grader.kill()
        grader.communicate()
    assert run_grader(*arguments, killed).returncode == 0
    assert without_times(killed) == without_times(through)
    assert len(read_ledger(killed).entries()) == 9
    assert (killed / LOCK_NAME).exists()
    assert not (killed / "work").exists()
