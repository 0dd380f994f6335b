"""What the sandbox promises: it holds what it says it holds, and nothing of a job is left afterwards."""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from grader.errors import Cancelled
from grader.sandbox import Ending, Execution, Isolation, Job, execute, started
from grader.sandbox.job import gpu_devices
from grader.sandbox.ladder import PROBES, probe_program
from grader.sandbox.processes import first_process
from other_user import UID, as_user, open_python
from sandboxed import PIPES, run

pytestmark = pytest.mark.sandbox

# Each child works for half a second and is forgotten by the kernel.
FORKS_FOR_TIME = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if os.fork() == 0:
        end = time.process_time() + 0.5
        while time.process_time() < end:
            pass
        os._exit(0)
    time.sleep(0.5)
"""


def text(execution: Execution) -> str:
    return execution.log.decode().strip()


def test_every_probe_that_the_sandbox_holds_succeeds_without_it(tmp_path: Path) -> None:
    """A defence counts only against an attack that works; as root, mounts go into a namespace that ends with it."""
    (tmp_path / "job").mkdir()
    command = [sys.executable, "-c"]
    as_root = os.geteuid() == 0
    with probe_program() as program:
        bare = subprocess.run(
            [*(("unshare", "--mount", "--propagation", "private") if as_root else ()), *command, program, "job", ""],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
    if as_root:
        Path("/witness").unlink(missing_ok=True)
    succeeded = set(bare.stdout.splitlines()) - {"done"}
    assert succeeded == PROBES.keys() if as_root else len(succeeded) >= 10


def test_the_description_says_what_was_tried_and_what_is_not_held(isolation: Isolation) -> None:
    assert isolation.description.startswith(f"{isolation.level} (")
    assert f"{len(PROBES)} of {len(PROBES)} probes held" in isolation.description or gpu_devices()
    assert ("is not bounded" in isolation.description) == (isolation.cgroup is None and not isolation.filtered)


@pytest.mark.parametrize(
    ("attempt", "refusal"),
    [
        ("open('/job/submission', 'w')", "OSError"),
        ("open('/code/grader/records.py', 'w')", "OSError"),
        ("open('/etc/shadow').read()", "FileNotFoundError"),
        ("os.listdir('/var')", "FileNotFoundError"),
        ("os.setuid(0)", "PermissionError"),
        ("__import__('socket').create_connection(('127.0.0.1', 9), 2)", "OSError"),
        ("__import__('sklearn.datasets').datasets.load_digits()", "FileNotFoundError"),
    ],
)
def test_what_is_not_given_cannot_be_had(isolation: Isolation, job: Job, attempt: str, refusal: str) -> None:
    program = (
        f"import os\ntry:\n    print({attempt})\nexcept OSError as error:\n    print('OSError', type(error).__name__)"
    )
    assert refusal in text(run(isolation, job, program))


def test_the_workers_code_is_not_compiled_anew_in_each_job(isolation: Isolation, job: Job) -> None:
    program = """
import pathlib, sys
import grader.worker.look.network, grader.worker.budget
modules = [module for name, module in sys.modules.items() if name.startswith("grader.worker.")]
print(len(modules) > 10, [module.__name__ for module in modules if not pathlib.Path(module.__cached__).exists()])
"""
    assert text(run(isolation, job, program)) == "True []"


def test_a_job_cannot_kill_its_sandbox(isolation: Isolation, job: Job) -> None:
    program = "import os\ntry:\n    os.kill(1, 9)\nexcept PermissionError:\n    pass\nprint('still there')"
    assert text(run(isolation, job, program)) == "still there"


def test_a_job_is_not_root_and_has_no_capability(isolation: Isolation, job: Job) -> None:
    said = text(run(isolation, job, "import os; print(os.getuid()); print(open('/proc/self/status').read())"))
    assert int(said.split()[0]) > 0
    assert "CapEff:\t0000000000000000" in said
    assert "CapBnd:\t0000000000000000" in said or os.geteuid() != 0
    assert "NoNewPrivs:\t1" in said


def test_the_scratch_is_writable_and_bounded(isolation: Isolation, job: Job) -> None:
    small = replace(job, limits=job.limits.model_copy(update={"scratch_mb": 8}))
    program = "open('a', 'wb').write(b'x' * 1000); print('wrote')\nopen('b', 'wb').write(b'x' * (9 << 20))"
    assert "wrote" in text(run(isolation, small, program))
    assert "No space left" in text(run(isolation, small, program))


@pytest.mark.parametrize(
    ("program", "limits", "ending"),
    [
        ("while True: pass", {}, Ending.WALL_LIMIT),
        ("import signal; signal.signal(15, signal.SIG_IGN); signal.pause()", {}, Ending.WALL_LIMIT),
        ("import os; os.closerange(0, 100)\nwhile True: pass", {}, Ending.WALL_LIMIT),
        ("kept = [bytearray(b'x' * (8 << 20)) for _ in range(10_000)]", {"memory_mb": 200}, Ending.MEMORY_LIMIT),
        ("while True: print('x' * 10_000)", {"output_mb": 1}, Ending.OUTPUT_LIMIT),
        ("while True: pass", {"processor_share": 0.02}, Ending.PROCESSOR_LIMIT),
        (FORKS_FOR_TIME, {"processor_share": 0.03}, Ending.PROCESSOR_LIMIT),
        ("print('done')", {}, Ending.EXITED),
    ],
    ids=[
        *("loops", "ignores-sigterm", "closes-every-descriptor", "memory", "output", "processor-time"),
        *("processor-time-of-children-that-nobody-waits-for", "ends"),
    ],
)
def test_each_limit_has_its_own_ending(
    isolation: Isolation, job: Job, program: str, limits: dict[str, float], ending: Ending
) -> None:
    bounded = replace(job, ready_seconds=3 if ending is Ending.WALL_LIMIT else 30)
    bounded = replace(bounded, limits=job.limits.model_copy(update=limits))
    assert run(isolation, bounded, program).ending is ending


# The grader looks once, when the job begins.
LOOKS_ONCE = """
import sys, threading
from pathlib import Path
from grader.assignment import load_assignment
from grader.sandbox import Job, execute, rungs
sys.modules["grader.sandbox.execute"]._TICK_SECONDS = 30
limits = load_assignment().limits.model_copy(update={"scratch_mb": 8})
watched = next(rung.isolation for rung in rungs(limits) if rung.level == "partial")
Path("job").mkdir()
job = Job(Path("job"), limits, ready_seconds=60, network_bytes=1)
print(execute(watched, job, threading.Event(), ("-c", sys.argv[1])).ending.value if watched else "cannot be had")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_files_count_that_were_made_between_two_looks_and_before_a_network_is_offered() -> None:
    offer = r"os.write(scores, b'N\1\0\0\0\0\0\0\0x'); time.sleep(60)"
    program = f"{PIPES}for name in 'ab': open(name, 'wb').write(b'x' * (5 << 20))\n{offer}"
    with tempfile.TemporaryDirectory(prefix="looks-once-") as home:
        os.chown(home, UID, -1)
        finished = as_user(Path(home), *open_python(), "-c", LOOKS_ONCE, program)
    if finished.stdout.strip() == "cannot be had":
        pytest.skip("there is no level partial here")
    assert finished.stdout.strip() == "disk_limit", finished.stderr


def test_nothing_of_a_job_survives_it(isolation: Isolation, job: Job) -> None:
    marker = uuid.uuid4().hex
    program = (
        f"import os, time # {marker}\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(1000)\n"
        "        os._exit(0)\n"
        "print('left them')"
    )
    assert "left them" in text(run(isolation, job, program))
    assert not _running(marker)


def test_a_cancelled_job_ends_and_leaves_nothing(isolation: Isolation, job: Job) -> None:
    marker = uuid.uuid4().hex
    cancelled = threading.Event()
    threading.Timer(1.0, cancelled.set).start()
    with pytest.raises(Cancelled):
        execute(isolation, job, cancelled, ("-c", f"while True: pass # {marker}"))
    assert not _running(marker)


def test_a_job_that_waits_begins_when_it_is_told(isolation: Isolation, job: Job) -> None:
    program = f"{PIPES}print('begun with', begun)"
    with started(isolation, job, ("-c", program)) as waiting, waiting.begun(threading.Event()) as running:
        assert text(running.wait()) == "begun with b'B'"


def test_a_job_that_is_never_told_to_begin_leaves_nothing(isolation: Isolation, job: Job) -> None:
    marker = uuid.uuid4().hex
    with started(isolation, job, ("-c", f"{PIPES}# {marker}")):
        assert _running(marker)
    assert not _running(marker)


def test_the_sandbox_is_found_also_when_its_status_line_comes_in_pieces() -> None:
    """bwrap writes it in three; half a line once left a sandbox that only died some time later."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with subprocess.Popen(["sleep", "60"]) as process:
        pieces = (b'{ "child-pid": ', f"{process.pid}, ".encode(), b'"ipc-namespace": 1 }\n')

        def write() -> None:
            for piece in pieces:
                os.write(writer, piece)
                time.sleep(0.05)

        threading.Thread(target=write).start()
        found = first_process(reader)
        process.kill()
    assert found is not None
    for descriptor in (found, reader, writer):
        os.close(descriptor)


def test_descriptors_do_not_leak(isolation: Isolation, job: Job) -> None:
    run(isolation, job, "pass")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        run(isolation, job, "pass")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_long_log_keeps_its_beginning_and_its_end(isolation: Isolation, job: Job) -> None:
    short = replace(job, limits=job.limits.model_copy(update={"log_kb": 4}))
    log = text(run(isolation, short, "print('first'); print('x' * 100_000); print('last')"))
    assert log.startswith("first")
    assert log.endswith("last")
    assert "bytes left out" in log
    assert len(log) < 5000


@pytest.fixture
def asking(job: Job) -> Job:
    """Asks for 40 bytes about 300,000 bytes of images: more than a pipe holds."""
    return replace(job, images=memoryview(bytes(300_000)), answer_bytes=40)


@pytest.mark.parametrize(
    ("answer", "ending", "complete"),
    [
        ("os.write(scores, b'R'); read(300_000); os.write(scores, bytes(40))", Ending.EXITED, True),
        ("os.write(scores, b'R'); read(300_000); os.write(scores, bytes(39))", Ending.EXITED, False),
        ("os.write(scores, b'R'); read(300_000); os.write(scores, bytes(41))", Ending.PROTOCOL, False),
        ("os.write(scores, b'R' + bytes(40)); time.sleep(60)", Ending.PROTOCOL, False),
        ("os.write(scores, b'R'); time.sleep(1); os.write(scores, bytes(40)); time.sleep(60)", Ending.PROTOCOL, False),
        ("os.write(scores, b'x'); time.sleep(60)", Ending.PROTOCOL, False),
        ("pass", Ending.EXITED, False),
        ("os.write(scores, b'R'); os.read(images, 1000); os._exit(7)", Ending.EXITED, False),
    ],
    ids=["complete", "too-short", "too-long", "before-ready", "before-the-images", "not-ready", "silent", "dies"],
)
def test_an_answer_counts_only_after_the_last_image_and_in_full(
    isolation: Isolation, asking: Job, answer: str, ending: Ending, complete: bool
) -> None:
    read = "def read(count):\n    while count:\n        count -= len(os.read(images, count))\n"
    execution = run(isolation, asking, f"{PIPES}{read}{answer}")
    assert execution.ending is ending
    assert (execution.answer is not None) is complete


def test_the_report_is_bounded(isolation: Isolation, job: Job) -> None:
    program = f"{PIPES}\nfor n in range(5000): os.write(report, b'line %d\\n' % n)\nos.write(report, b'y' * 999_999)"
    report = run(isolation, job, program).report
    assert report[0] == b"line 0"
    assert report[-1] == b"line 4999"
    assert len(report) < 200


def _running(marker: str) -> list[psutil.Process]:
    """The processes whose command line has the marker: bwrap, the sandbox's first process and what it became."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            # A zombie has ended; the system's first process collects it when it likes.
            if process.status() != psutil.STATUS_ZOMBIE and marker in " ".join(process.cmdline()):
                found.append(process)
    return found
