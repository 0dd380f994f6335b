"""grader/docs/slurm.sbatch as its page says to use it, on Slurm's own daemons: one node, which is this machine."""

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from command import ROOT, read_table, wait_until
from grader.results.ledger import read_ledger
from small_class import hand_in_small

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.sandbox,
    pytest.mark.usefixtures("isolation"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start Slurm's daemons"),
]

SCRIPT = "grader/docs/slurm.sbatch"
PROGRAMS = ("slurmctld", "slurmd", "sbatch")
# Jobs are numbered from a number of this test's own: the script names a folder of the node and a port after it.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/none
CredType=cred/none
FirstJobId={first_job}
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
NodeName={host} NodeAddr=127.0.0.1 Port={ports[1]}
PartitionName=all Nodes=ALL Default=YES
"""


@dataclass(frozen=True)
class Slurm:
    """A controller and a node; what their jobs print is left in `folder`."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def answers(self) -> bool:
        ping = subprocess.run(("scontrol", "ping"), env=self.environment, capture_output=True, check=False)
        return ping.returncode == 0

    def submit(self, *settings: str) -> str:
        sbatch = ("sbatch", "--parsable", "--nodes=1", f"--output={self.folder}/%j.out", SCRIPT)
        return self.run(*sbatch, *settings).strip()

    def idle(self) -> bool:
        return not self.run("squeue", "--noheader")

    def printed(self, job: str) -> str:
        return (self.folder / f"{job}.out").read_text(encoding="utf-8")

    def state(self, job: str) -> str:
        found = re.search(r"JobState=(\w+)", self.run("scontrol", "show", "job", job))
        assert found
        return found[1]


def free_ports(count: int) -> list[int]:
    with ExitStack() as opened:
        sockets = [opened.enter_context(closing(socket.socket())) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def daemon(slurm: Slurm, *command: str) -> Iterator[None]:
    with (slurm.folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, env=slurm.environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    """Slurm on this machine, as long as a test runs."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        reason = f"Slurm is not installed ({', '.join(missing)}): make slurm"
        if os.environ.get("REQUIRE_SANDBOX"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path / "slurm"
    for name in ("controller", "node"):
        (folder / name).mkdir(parents=True)
    file = folder / "slurm.conf"
    host = platform.node().split(".")[0]
    file.write_text(CONFIGURATION.format(host=host, ports=free_ports(2), first_job=os.getpid(), folder=folder))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    slurm = Slurm(folder, os.environ | {"SLURM_CONF": str(file), "PATH": path})
    with daemon(slurm, "slurmctld", "-D"):
        wait_until(slurm.answers)
        with daemon(slurm, "slurmd", "-D", "-N", host):
            yield slurm
            slurm.run("scancel", "--user=root")
            wait_until(slurm.idle)


def test_the_documented_script_stops_in_order_and_the_next_one_goes_on(
    slurm: Slurm, tiny_data: Path, tmp_path: Path
) -> None:
    students = ["kim", "lee"]
    hand_in_small(tmp_path / "class", *students)
    out = tmp_path / "out"
    settings = (f"SUBMISSIONS={tmp_path / 'class'}", f"DATA={tiny_data}", f"OUT={out}")

    first = slurm.submit(*settings)
    wait_until(lambda: read_ledger(out).entries() or slurm.idle())
    slurm.run("scancel", "--batch", "--signal=INT", first)
    wait_until(slurm.idle)
    assert "nodes that joined: 1 of 1" in slurm.printed(first)
    assert "stopped; graded and kept: " in slurm.printed(first), slurm.printed(first)
    survived = read_ledger(out).entries()
    assert {row["outcome"] for row in read_table(out / "grades.csv").values()} == {"graded", "pending"}

    second = slurm.submit(*settings)
    wait_until(slurm.idle)
    assert slurm.state(second) == "COMPLETED", slurm.printed(second)
    assert {row["outcome"] for row in read_table(out / "grades.csv").values()} == {"graded"}
    entries = read_ledger(out).entries()
    assert entries[: len(survived)] == survived
    assert sorted(entry.student_id for entry in entries) == students
    assert not list(Path("/tmp").glob(f"grade-{first}-*")), "what Ray needed on the node is gone"
