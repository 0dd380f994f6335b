"""Every attack fails at every level that this machine offers, and works where its defence is missing."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

import attack_table
from command import ROOT
from grader.sandbox.cgroup import Refused, find_cgroup
from other_user import UID, Way, as_user, delegated, open_python
from run_attacks import ATTACKS, program

RUNNER = ROOT / "tests" / "helpers" / "run_attacks.py"
NAMES = sorted(path.stem for path in ATTACKS.glob("*.py"))
# How an attack ends where the sandbox has to end it.
ENDINGS = {
    "floods_the_log": "output_limit",
    "hoards_memory": "memory_limit",
    "stops_itself": "wall_limit",
    "hangs_in_c_code": "wall_limit",
    "forks_and_kills_again": "wall_limit",
}
# A tmpfs is full; a disk is watched.
ENDINGS_WHEN_WATCHED = ENDINGS | {"fills_the_disk": "disk_limit"}
# What only a limit holds, and what works without one.
BOUNDED = (
    *("forks_many", "starts_threads", "hoards_memory", "hides_memory", "fills_the_disk", "makes_a_huge_sparse_file"),
    *("opens_files", "floods_the_log", "makes_a_device", "becomes_root_by_a_file"),
)
# What hurts the grader of an ordinary user where nothing but limits is there.
WITHOUT_ISOLATION = (
    *("asks_io_uring", "follows_a_link", "hides_memory_in_old_shared_memory", "lists_other_processes"),
    *("plants_a_start_file", "reads_hidden_labels", "reads_the_parents_memory", "signals_its_parents"),
    *("uses_other_sockets", "uses_the_keyring"),
)
# Their success is no sentence of theirs: what is left, or how they end, shows it.
SILENT = {"leaves_a_daemon", "leaves_traps_for_the_cleaner", "stops_itself", "hangs_in_c_code", "forks_and_kills_again"}
QUICK = ("leaves_a_daemon", "leaves_traps_for_the_cleaner", "opens_files", "forks_many", "follows_a_link")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.sandbox,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="the attacks are run as root and as a user that only root can be"),
]


def attack(way: Way, *names: str) -> tuple[list[dict[str, Any]], int]:
    """What came of each attack, and how the runner ended."""
    with tempfile.TemporaryDirectory(prefix="attacks-") as name:
        folder = Path(name)
        os.chown(folder, UID if way.user else 0, -1)
        command = [*open_python(), str(RUNNER), way.level, str(folder / "out"), *names]
        if way.user:
            with _group_of_the_users() if way.level == "full" else nullcontext() as group:
                finished = as_user(folder, *command, group=group)
        else:
            finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        out = folder / "out"
        lines = out.read_text().splitlines() if out.exists() else []
        assert lines or finished.returncode < 0, finished.stderr
    found = [json.loads(line) for line in lines]
    if found and not found[0]["attack"]:
        pytest.skip(found[0]["log"])
    return found, finished.returncode


@contextmanager
def _group_of_the_users() -> Iterator[Path]:
    try:
        tree = find_cgroup()
    except Refused as refused:
        pytest.skip(str(refused))
    with delegated(tree) as group:
        yield group


WAYS = [Way(level, user) for level in ("full", "strong", "partial") for user in (False, True)]


@pytest.fixture(scope="module", params=WAYS, ids=str)
def attacked(request: pytest.FixtureRequest) -> tuple[Way, dict[str, dict[str, Any]]]:
    """All attacks in one way."""
    found, code = attack(request.param, *NAMES)
    assert code == 0
    attack_table.keep(str(request.param), found)
    return request.param, {result["attack"]: result for result in found}


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_is_held(attacked: tuple[Way, dict[str, dict[str, Any]]], name: str) -> None:
    way, results = attacked
    result = results[name]
    assert "SUCCEEDED" not in result["log"]
    expected = ENDINGS_WHEN_WATCHED if way.level == "partial" else ENDINGS
    assert result["ending"] == expected.get(name, "exited"), result["log"]
    assert result["survivors"] == 0
    assert result["witness_kept"]
    assert result["folders_left"] == []


@pytest.fixture(scope="module")
def unprotected() -> dict[str, dict[str, Any]]:
    """The attacks on an ordinary user's grader at the level `none`."""
    found, _ = attack(Way("none", user=True), *WITHOUT_ISOLATION)
    return {result["attack"]: result for result in found}


@pytest.mark.parametrize("name", WITHOUT_ISOLATION)
def test_an_attack_works_without_isolation(unprotected: dict[str, dict[str, Any]], name: str) -> None:
    assert "SUCCEEDED" in unprotected[name]["log"]


def test_without_isolation_a_submission_can_kill_the_grader() -> None:
    found, code = attack(Way("none", user=True), "kills_everyone")
    assert (found, code) == ([], -9)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="bare-"))
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("name", BOUNDED)
def test_an_attack_works_without_limits(name: str, folder: Path) -> None:
    """Each is bounded by itself: 200 processes, 1 GB of memory, 160 MB of disk."""
    text = program(name, {"pid": os.getpid()}, processes=None)
    command = 'ulimit -n 4096; ulimit -t 20; "$0" -c "$1" 2>&1 | tail -c 500'
    finished = subprocess.run(
        ["setsid", "bash", "-c", command, sys.executable, text],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "SUCCEEDED" in finished.stdout


def test_every_attack_was_seen_to_work_where_it_can_say_so() -> None:
    assert {*BOUNDED, *WITHOUT_ISOLATION, *SILENT, "kills_everyone"} == set(NAMES)


@pytest.mark.parametrize(
    ("way", "times"),
    [(Way("full", True), 12), (Way("strong", False), 40), (Way("partial", False), 12), (Way("partial", True), 12)],
    ids=str,
)
def test_hundreds_of_hostile_jobs_leave_no_more_than_ten(way: Way, times: int) -> None:
    results, _ = attack(way, *QUICK * times)
    early, late = results[9], results[-1]
    for what in ("descriptors", "children", "folders_left"):
        assert late[what] == early[what], what
    assert late["memory"] < early["memory"] + (8 << 20)
    assert len(results) == times * len(QUICK)
