"""NVIDIA MPS without a card: its daemon is a stand-in, which is started, found by a job, and ended whatever happens."""

import os
import signal
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

import fake_mps
from command import ROOT
from fake_mps import AS_ROOT, CARDS, machine_with_a_card
from grader.assignment import Assignment, load_assignment
from grader.cli import look
from grader.errors import UserError
from grader.records import IsolationLevel
from grader.run.machine import default_jobs, shared_cards
from grader.sandbox import Job, fallback, rungs
from grader.sandbox.job import environment
from grader.schedule import Slot, mps
from sandboxed import run
from small_class import rules

# A grader that starts the daemon, says so, and is killed before it can end it.
KILLED = f"""
import sys
from grader.schedule import mps
with mps.server({CARDS!r}) as pipe:
    print(pipe, flush=True)
    sys.stdin.read()
"""


def daemons(pipe: Path) -> list[psutil.Process]:
    return list(mps._processes(pipe.parent))


@AS_ROOT
def test_a_daemon_of_our_own_serves_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_mps.install(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    with mps.server(CARDS) as pipe:
        assert len(daemons(pipe)) == 1
        assert mps.takes_clients(pipe)
        for folder in (pipe, pipe.parent, mps.PARENT):
            assert folder.stat().st_mode & 0o005 == 0o005, "another user must pass it"
        assert stat.S_IMODE(pipe.stat().st_mode) == 0o755
    assert calls.read_text().splitlines()[0] == f"['-multiuser-server', '-d'] None {pipe.parent / 'log'}"
    assert not pipe.parent.exists()
    assert not daemons(pipe)


@AS_ROOT
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_it_ends_with_whatever_ends_the_grader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    fake_mps.install(tmp_path / "bin", monkeypatch)
    with pytest.raises(error), mps.server(CARDS) as pipe:
        raise error
    assert not daemons(pipe)


@AS_ROOT
def test_a_daemon_that_does_not_quit_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_mps.install(tmp_path / "bin", monkeypatch, "deaf")
    monkeypatch.setattr(mps, "_QUIT_SECONDS", 0.2)
    with mps.server(CARDS) as pipe:
        assert len(daemons(pipe)) == 1
    assert not daemons(pipe)


@AS_ROOT
def test_what_a_killed_grader_left_is_ended_and_what_another_one_uses_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_mps.install(tmp_path / "bin", monkeypatch)
    program = KILLED.replace("with mps", f"mps.PREFIX = {mps.PREFIX!r}\nwith mps")
    grader = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with grader:
        assert grader.stdout is not None
        left = Path(grader.stdout.readline().strip())
        with mps.server(CARDS):
            assert mps.takes_clients(left), "its grader lives"
        grader.send_signal(signal.SIGKILL)
        grader.wait()
    assert len(daemons(left)) == 1
    with mps.server(CARDS) as pipe:
        assert not daemons(left)
        assert not left.parent.exists()
        assert mps.takes_clients(pipe)


@AS_ROOT
def test_what_does_not_start_is_one_sentence_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_mps.install(tmp_path / "bin", monkeypatch, "broken")
    with pytest.raises(UserError, match=r'already running.*sharing = "turns"'), mps.server(CARDS):
        pass


@AS_ROOT
@pytest.mark.parametrize("kind", ["faulty", "silent"])
def test_a_server_that_cannot_take_clients_is_given_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    fake_mps.install(tmp_path / "bin", monkeypatch, kind)
    monkeypatch.setattr(mps, "_ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(mps, "_QUIT_SECONDS", 0.2)
    with mps.server(CARDS) as pipe:
        assert not mps.takes_clients(pipe)


def test_doctor_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, assignment: Assignment) -> None:
    assert mps.why_not(()) == "no GPU works here"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not on the PATH" in mps.why_not(CARDS)
    fake_mps.install(tmp_path / "bin", monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "run the grader as root" in mps.why_not(CARDS)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert mps.why_not(CARDS) == ""
    wanted = assignment.model_copy(update={"sharing": "mps"})
    assert 'sharing = "mps" in the assignment' in look._sharing(assignment, "", has_cards=True)
    assert "as the assignment asks" in look._sharing(wanted, "", has_cards=True)
    assert "nothing can be graded here" in look._sharing(wanted, "no root", has_cards=True)
    assert "nothing can be graded" not in look._sharing(wanted, "no GPU works here", has_cards=False)


def test_the_assignment_says_how_a_card_is_shared(tmp_path: Path, assignment: Assignment) -> None:
    assert assignment.sharing == "turns"
    assert load_assignment(rules(tmp_path / "mps.toml", sharing='"mps"')).sharing == "mps"
    with pytest.raises(UserError, match="sharing"):
        load_assignment(rules(tmp_path / "other.toml", sharing='"all"'))


def test_how_a_card_is_shared_changes_no_run(tmp_path: Path, assignment: Assignment) -> None:
    shared = load_assignment(rules(tmp_path / "mps.toml", sharing='"mps"'))
    assert shared.run_key("data") == assignment.run_key("data")


def test_at_most_sixteen_share_a_card_through_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=512 << 30))
    assert default_jobs(64, {"0": 140_000}, fair_limit=True, sharing="mps") == 16
    assert default_jobs(64, {"0": 40_000}, fair_limit=True, sharing="mps") == 10
    assert default_jobs(1, {"0": 140_000}, fair_limit=True, sharing="mps") == 1


@AS_ROOT
def test_runs_share_where_the_teacher_says_so_and_several_use_one_card(
    assignment: Assignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_mps.install(tmp_path / "bin", monkeypatch)
    machine = machine_with_a_card(tmp_path)
    shared = assignment.model_copy(update={"sharing": "mps"})
    for unshared in (machine, replace(machine, jobs=1), replace(machine, cards=())):
        with shared_cards(unshared, assignment if unshared is machine else shared) as ready:
            assert ready.mps_pipe is None
    beside = Slot(2, False, "0", "GPU 0", threading.Event(), lambda _: None)
    with shared_cards(machine, shared) as ready:
        assert ready.equipped(beside).mps_pipe == ready.mps_pipe
        assert ready.equipped(replace(beside, alone=True)).mps_pipe is None
        assert ready.equipped(replace(beside, card="")).mps_pipe is None
    assert ready.equipped(beside).mps_pipe is None, "the daemon is gone: the card takes turns"


def test_a_job_is_told_of_the_server_only_where_it_shares_a_card(assignment: Assignment) -> None:
    job = Job(Path("job"), assignment.limits, ready_seconds=1, card="0", mps_pipe=Path("/tmp/mps/pipe"))
    assert environment(job, "code", "scratch", "tmp")["CUDA_MPS_PIPE_DIRECTORY"] == "/tmp/mps/pipe"
    assert "CUDA_MPS_PIPE_DIRECTORY" not in environment(replace(job, mps_pipe=None), "code", "scratch", "tmp")


REACHED = {"lists", "connects", "is answered", "opens the named pipe", "locks"}
# What a job does with the pipe directory; each line that fails is printed with a "no ".
IN_A_JOB = """
import fcntl, os, socket
pipe = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", {pipe!r})
asking = socket.socket(socket.AF_UNIX)
for name, attempt in {{
    "told": lambda: os.environ["CUDA_MPS_PIPE_DIRECTORY"],
    "lists": lambda: os.listdir(pipe),
    "connects": lambda: asking.connect(pipe + "/control"),
    "is answered": lambda: (asking.sendall(b"get_server_list"), int(asking.recv(10))),
    "opens the named pipe": lambda: os.open(pipe + "/log", os.O_RDWR | os.O_NONBLOCK),
    "locks": lambda: fcntl.flock(os.open(pipe + "/control_lock", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB),
    "writes to the lock": lambda: os.open(pipe + "/control_lock", os.O_WRONLY),
    "writes a pid": lambda: os.open(pipe + "/nvidia-cuda-mps-control.pid", os.O_WRONLY),
    "removes a file": lambda: os.unlink(pipe + "/control"),
    "makes a file": lambda: os.open(pipe + "/new", os.O_CREAT | os.O_WRONLY),
    "moves the folder": lambda: os.rename(os.path.dirname(pipe), os.path.dirname(pipe) + "-away"),
    "reads the server's log": lambda: os.listdir(os.path.dirname(pipe) + "/log"),
    "writes to its own folder": lambda: open(os.environ["TMPDIR"] + "/scratch", "w").close(),
}}.items():
    try:
        attempt()
        print(name)
    except (OSError, KeyError, ValueError):
        print("no", name)
"""


def succeeded(lines: list[str]) -> set[str]:
    return {line for line in lines if not line.startswith("no ")}


@AS_ROOT
@pytest.mark.sandbox
@pytest.mark.parametrize("level", [IsolationLevel.FULL, IsolationLevel.STRONG, IsolationLevel.PARTIAL])
def test_a_job_can_reach_the_daemon_and_change_nothing_of_it(
    level: IsolationLevel, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = {rung.level: rung for rung in rungs(job.limits)}
    isolation = offered[level].isolation
    if isolation is None:
        pytest.skip(f"no level {level} here: {offered[level].refusal}")
    fake_mps.install(tmp_path / "bin", monkeypatch)
    said = {}
    with mps.server(CARDS) as pipe:
        unshared = replace(job, card="0", slot=1)
        for shared in (replace(unshared, mps_pipe=pipe), unshared):
            execution = run(isolation, shared, IN_A_JOB.format(pipe=str(pipe)))
            said[shared.mps_pipe is not None] = execution.log.decode().splitlines()
        assert mps.takes_clients(pipe)
    assert succeeded(said[True]) == {"told", "writes to its own folder", *REACHED}
    if level is not IsolationLevel.PARTIAL:
        assert succeeded(said[False]) == {"writes to its own folder"}


@AS_ROOT
def test_landlock_lets_a_job_use_the_sockets_and_change_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why := fallback.landlock_missing():
        pytest.skip(why)
    fake_mps.install(tmp_path / "bin", monkeypatch)
    with mps.server(CARDS) as pipe:
        confined = f"""from types import SimpleNamespace
from grader.sandbox import supervisor
given = dict.fromkeys(("readable", "listable", "writable", "devices"), ())
supervisor.restrict(SimpleNamespace(**given, sockets=[{str(pipe)!r}]))
"""
        program = confined + IN_A_JOB.format(pipe=str(pipe))
        ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert succeeded(ran.stdout.splitlines()) == REACHED
