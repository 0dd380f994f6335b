"""NVIDIA MPS on a card: the daemon begins and ends, two submissions share it, neither fault nor malice costs others.

Each test prints what was seen, for grader/docs/mps.md and .github/SECURITY.md: run them with `-s`.
"""

import base64
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch

from command import ROOT, read_table, run_grader_apart
from grader.records import Outcome
from grader.results.entries import Entry, RunReason
from grader.results.ledger import read_ledger
from grader.schedule import mps
from small_class import SMALL_SCRIPT, rules

WHY_NOT = mps.why_not(("0",)) if torch.cuda.is_available() else "this machine has no GPU"
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]

FIRST_USER = 64000
# Eight seconds of training. What looks at a script beforehand gives it twelve batches and few more, so it does not get
# as far as to the twentieth step.
STEPS = 20
A_CLIENT = "import torch; print(torch.ones(4, device='cuda').sum().item())"
KILLED = """
import sys
from grader.schedule import mps
with mps.server(("0",)) as pipe:
    print(pipe, flush=True)
    sys.stdin.read()
"""
FAULTS = """
def attack():
    print("ATTEMPT reads beyond a tensor on the GPU", flush=True)
    torch.zeros(4, device=device)[torch.tensor([1 << 20], device=device)]
    torch.cuda.synchronize()
"""
HARMS_THE_DAEMON = """
import base64, fcntl, os, socket, subprocess

PROGRAM = base64.b64decode({program!r})


def attempt(what, action):
    try:
        print("ATTEMPT", what, "->", repr(action())[:400], flush=True)
    except BaseException as error:
        print("ATTEMPT", what, "failed:", repr(error)[:200], flush=True)


def command(text):
    said = subprocess.run(["./control"], input=text + chr(10), capture_output=True, text=True, timeout=2)
    return said.returncode, said.stdout + said.stderr


def say(path, sent):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.settimeout(2)
        asking.connect(path)
        asking.sendall(sent)
        return asking.recv(200)


def fill(path):
    descriptor, written = os.open(path, os.O_WRONLY | os.O_NONBLOCK), 0
    try:
        while written < 1 << 22:
            written += os.write(descriptor, bytes(4096))
    except BlockingIOError:
        return "full after", written
    return "took", written


def attack():
    pipe = os.environ.get("CUDA_MPS_PIPE_DIRECTORY")
    if pipe is None:
        print("ATTEMPT nothing: this run shares no card", flush=True)
        return
    kept = []
    for name in sorted(os.listdir(pipe)):
        path = os.path.join(pipe, name)
        attempt("removes " + name, lambda: os.unlink(path))
        attempt("renames " + name, lambda: os.rename(path, path + "-away"))
        attempt("opens to write " + name, lambda: kept.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK)))
    attempt("makes a file", lambda: open(os.path.join(pipe, "new"), "w"))
    with open("control", "wb") as file:
        file.write(PROGRAM)
    os.chmod("control", 0o755)
    for text in (
        *("ps", "get_server_list", "get_default_active_thread_percentage", "set_default_active_thread_percentage 1"),
        *("get_default_active_thread_percentage", "set_default_device_pinned_mem_limit 0 64M"),
    ):
        attempt("commands " + text, lambda: command(text))
    print("ATTEMPT now: to end it", flush=True)
    end(pipe)
    hold(pipe, kept)


def hold(pipe, kept):
    lock = os.path.join(pipe, "control_lock")

    def locked(by, how):
        kept.append(os.open(lock, os.O_RDONLY))
        by(kept[-1], how | fcntl.LOCK_NB)

    def connect():
        while len(kept) < 300:
            asking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            asking.settimeout(1)
            asking.connect(os.path.join(pipe, "control"))
            kept.append(asking)
        return "held"

    attempt("holds the lock, flock", lambda: locked(fcntl.flock, fcntl.LOCK_EX))
    attempt("holds the lock, fcntl", lambda: locked(fcntl.lockf, fcntl.LOCK_SH))
    attempt("fills the named pipe", lambda: fill(os.path.join(pipe, "log")))
    attempt("holds 300 connections", connect)
    time.sleep({seconds})
    for each in kept:
        os.close(each) if isinstance(each, int) else each.close()
    kept.clear()


def end(pipe):
    for name in ("control", "control_privileged"):
        attempt("says quit to " + name, lambda: say(os.path.join(pipe, name), b"quit\\n"))
    try:
        servers = [line for line in command("get_server_list")[1].split() if line.isdigit()]
        clients = [line.split()[0] for line in command("ps")[1].splitlines() if line[:1].isdigit()]
    except Exception as error:
        print("ATTEMPT asks for servers failed:", repr(error)[:200], flush=True)
        servers = clients = []
    for server in servers:
        for client in clients:
            attempt("ends a client", lambda: command("terminate_client " + server + " " + client))
        attempt("ends the server", lambda: command("shutdown_server " + server + " -f"))
    for text in ("quit -t 0", "quit"):
        attempt("commands " + text, lambda: command(text))
    attempt("commands ps", lambda: command("ps"))
"""


class Watcher:
    """Asks the daemon of a grader that runs here, again and again, who its clients are and how its server is."""

    def __init__(self) -> None:
        self.together: Counter[tuple[int, ...]] = Counter()
        self.listings: list[str] = []
        self.states: Counter[str] = Counter()

    def look(self) -> None:
        for pipe in mps.PARENT.glob(f"{mps.PREFIX}*/{mps.PIPE}"):
            with suppress(OSError, subprocess.SubprocessError):
                listed = mps.ask(pipe, "ps", 3)
                pids = [int(line.split()[0]) for line in listed.splitlines() if line[:1].isdigit()]
                users = set()
                for pid in pids:
                    with suppress(psutil.Error):
                        users.add(psutil.Process(pid).uids().real)
                self.together[tuple(sorted(users))] += 1
                if len(users) > 1:
                    self.listings.append(listed)
                for server in mps.ask(pipe, "get_server_list", 3).split():
                    self.states[mps.ask(pipe, f"get_server_status {server}", 3).strip()] += 1

    def say(self) -> None:
        print(f"users who were clients at the same time, and how often that was seen: {dict(self.together)}")
        print(f"states of the server: {dict(self.states)}")
        print(*self.listings[-1:], sep="\n")


@contextmanager
def watching() -> Iterator[Watcher]:
    watcher, over = Watcher(), threading.Event()

    def watch() -> None:
        while not over.wait(0.3):
            watcher.look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield watcher
    finally:
        over.set()
        thread.join()


def processes() -> dict[int, str]:
    """Those that compute or could; one that ended and that nobody asked about yet does neither."""
    living = (each.info for each in psutil.process_iter(["pid", "name", "status"]) if each.info["status"] != "zombie")
    return {each["pid"]: each["name"] for each in living if (each["name"] or "").startswith("nvidia-cuda-mps")}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = processes()
    yield
    assert processes().keys() <= before.keys(), "a daemon or a server was left"
    assert not list(mps.PARENT.glob(f"{mps.PREFIX}*"))


def hand_in(folder: Path, student: str, attack: str = "def attack():\n    pass\n") -> None:
    """The small script, slowed down, which attacks in the middle of its training."""
    source = SMALL_SCRIPT.read_text(encoding="utf-8")
    for before, after in (
        ("import torch\n", "import time\n\nimport torch\n"),
        ("batch_size=50, shuffle=True", "batch_size=10, shuffle=True"),
        ("net = IdentityResNet", f"{attack}\nsteps = 0\nnet = IdentityResNet"),
        (
            "        running_loss += loss.item()\n",
            "        running_loss += loss.item()\n        time.sleep(0.2)\n        steps += 1\n"
            f"        if steps == {STEPS}:\n            attack()\n",
        ),
    ):
        assert before in source
        source = source.replace(before, after, 1)
    (folder / student).mkdir(parents=True)
    (folder / student / "hw6.py").write_text(f"{source}# {student}\n", encoding="utf-8")


def grade(home: Path, data: Path) -> tuple[dict[str, dict[str, str]], dict[str, list[Entry]], Watcher]:
    """Grade the class two at a time through MPS; the table, everyone's runs, and what was seen meanwhile."""
    out, began = home / "out", time.monotonic()
    shared = rules(home / "rules.toml", sharing='"mps"')
    with watching() as watcher:
        finished = run_grader_apart(
            *("grade", home / "class", "--data", data, "--out", out, "--jobs", 2, "--assignment", shared)
        )
    print(f"\n{time.monotonic() - began:.0f} s\n{finished.stdout[-3000:]}\n{finished.stderr[-2000:]}")
    watcher.say()
    runs: dict[str, list[Entry]] = {}
    for entry in read_ledger(out).entries():
        runs.setdefault(entry.student_id, []).append(entry)
        kind = "beside a fault" if entry.evidence.beside_a_fault else entry.run.device
        print(
            f"{entry.student_id}: {entry.reason}, {entry.outcome}, {kind}, check {entry.check.verdict}, "
            f"{entry.run.error}"
        )
    for log in sorted((out / "logs").iterdir()):
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()
        attempts = [line[:500] for line in said if line.startswith("ATTEMPT")]
        print(f"--- {log.name}", *(attempts or said[-4:]), sep="\n")
    assert "sharing: submissions use a GPU at the same time, through NVIDIA MPS" in finished.stdout, finished.stderr
    return read_table(out / "grades.csv"), runs, watcher


def test_a_daemon_is_found_with_its_server_and_ended_also_where_its_grader_was_killed() -> None:
    program = [sys.executable, "-c", KILLED]
    with subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as grader:
        assert grader.stdout is not None
        left = Path(grader.stdout.readline().strip())
        environment = os.environ | {"CUDA_MPS_PIPE_DIRECTORY": str(left)}
        client = subprocess.run([sys.executable, "-c", A_CLIENT], env=environment, capture_output=True, text=True)
        found = {process.pid: process.name() for process in mps._processes(left.parent)}
        servers = mps.ask(left, "get_server_list", 5)
        states = [mps.ask(left, f"get_server_status {server}", 5) for server in servers.split()]
        print(
            f"\nclient: {client.stdout}{client.stderr[-500:]}\nprocesses: {found}\nservers: {servers}states: {states}"
        )
        print(subprocess.run(["ls", "-la", left], capture_output=True, text=True, check=False).stdout)
        assert client.stdout.strip() == "4.0"
        assert len(found) >= 2, "the daemon and its server"
        assert mps.takes_clients(left)
        grader.send_signal(signal.SIGKILL)
    assert mps._processes(left.parent), "a killed grader leaves them"
    began = time.monotonic()
    with mps.server(("0",)) as pipe:
        print(f"the one that was left ended, another began: {time.monotonic() - began:.1f} s")
        assert not mps._processes(left.parent)
        assert not left.parent.exists()
        assert mps.takes_clients(pipe)


def test_a_fault_on_the_card_costs_a_neighbour_nothing_in_the_end(tmp_path: Path, tiny_data: Path) -> None:
    hand_in(tmp_path / "class", "faulty", FAULTS)
    hand_in(tmp_path / "class", "neighbour")
    table, runs, _ = grade(tmp_path, tiny_data)
    first, last = runs["faulty"][0], runs["faulty"][-1]
    assert first.evidence.beside_a_fault, "its first run is in doubt, too: whose fault it was cannot be told"
    assert first.outcome is Outcome.INFRASTRUCTURE
    assert (last.reason, last.outcome) == (RunReason.ALONE, Outcome.CRASHED), "alone it is its own fault"
    assert table["faulty"]["outcome"] == "crashed"
    assert table["neighbour"]["outcome"] == "graded"
    hit = any(run.evidence.beside_a_fault for run in runs["neighbour"])
    print(f"the neighbour {'was hit, and ran again alone' if hit else 'was not hit'}")
    assert runs["neighbour"][-1].reason is (RunReason.ALONE if hit else RunReason.FIRST)


def card_settings() -> str:
    asked = ["nvidia-smi", "--query-gpu=compute_mode,persistence_mode,mig.mode.current", "--format=csv,noheader"]
    with suppress(OSError):
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return ""


@dataclass(frozen=True)
class Attacked:
    """A class of three in which one attacks the daemon; the third begins while the daemon is held.

    Attributes:
        together: The users whose processes were seen to be clients at the same time.
        attempts: What the attack tried, and what came of it.
        settings: The card's, before and after.
    """

    table: dict[str, dict[str, str]]
    together: set[int]
    attempts: list[str]
    settings: tuple[str, str]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Attacked:
    control, home, before = shutil.which(mps.PROGRAM), tmp_path_factory.mktemp("attacked"), card_settings()
    assert control is not None
    program = base64.b64encode(Path(control).read_bytes()).decode()
    hand_in(home / "class", "hostile", textwrap.dedent(HARMS_THE_DAEMON).format(program=program, seconds=6))
    # Two places, in the order of the names.
    for student in ("early", "late"):
        hand_in(home / "class", student)
    table, _, watcher = grade(home, tiny_data)
    together = {user for users in watcher.together if len(users) > 1 for user in users}
    said = (home / "out" / "logs" / "hostile.log").read_text(encoding="utf-8", errors="replace")
    attempts = [line for line in said.splitlines() if line.startswith("ATTEMPT")]
    return Attacked(table, together, attempts, (before, card_settings()))


def test_two_submissions_share_the_card_at_the_same_time(attacked: Attacked) -> None:
    assert {FIRST_USER, FIRST_USER + 1} <= attacked.together, "the two places' users were never clients together"


def test_the_cards_settings_stay_as_they_are(attacked: Attacked) -> None:
    before, after = attacked.settings
    assert after == before


def test_a_script_cannot_change_the_daemons_folder(attacked: Attacked) -> None:
    assert attacked.attempts, "it never came to its attack"
    changes = ("ATTEMPT removes", "ATTEMPT renames", "ATTEMPT makes")
    changed = [line for line in attacked.attempts if line.startswith(changes)]
    assert changed, "it saw no pipe directory"
    assert all(" failed: " in line for line in changed), changed


def test_a_script_that_attacks_the_daemon_through_its_pipe_costs_nobody_a_grade(attacked: Attacked) -> None:
    assert {student: attacked.table[student]["outcome"] for student in ("early", "late")} == {
        "early": "graded",
        "late": "graded",
    }
