"""`python -m grader try` as students run it: from the unpacked handout, with torch and nothing else of the grader's."""

import os
import re
import signal
import subprocess
import sys
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from command import SUBMISSIONS, run_grader_apart
from grader.assignment import Assignment
from grader.data import count_correct, load_data
from grader.records import accuracy_percent
from grader.sandbox import Isolation
from grader.student.handout import write_handout
from one_run import train_once
from small_class import SMALL_SCRIPT
from terminal import Terminal

NOT_A_STUDENTS = ("typer", "pydantic", "rich", "pandas", "psutil", "landlock", "pyseccomp", "jinja2", "copydetect")


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def handout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked handout, and beside it modules that fail: what a student need not have."""
    folder = tmp_path_factory.mktemp("elsewhere")
    write_handout(folder / "hw6-handout.zip")
    with zipfile.ZipFile(folder / "hw6-handout.zip") as archive:
        archive.extractall(folder)
    (folder / "missing").mkdir()
    for name in NOT_A_STUDENTS:
        (folder / "missing" / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})\n", encoding="utf-8")
    return folder / "hw6-handout"


def environment(handout: Path, **settings: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    # One thread, as the comparison with the grader's own run needs.
    return {**kept, "PYTHONPATH": str(handout.parent / "missing"), "OMP_NUM_THREADS": "1", **settings}


def try_file(handout: Path, *arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "grader", "try", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=handout,
        env=environment(handout, **settings),
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def small_script(folder: Path, before: str = "", after: str = "") -> Path:
    """A file that trains in a second, with one text put in another's place."""
    source = SMALL_SCRIPT.read_text(encoding="utf-8")
    assert before in source
    (folder / "hw6.py").write_text(source.replace(before, after) if before else source, encoding="utf-8")
    return folder / "hw6.py"


def said(finished: subprocess.CompletedProcess[str], what: str) -> str:
    found = re.search(rf"(?m)^{what} +(.*)$", finished.stdout)
    assert found, finished.stdout + finished.stderr
    return found[1]


@pytest.fixture(scope="module")
def tried(handout: Path, tiny_data: Path) -> subprocess.CompletedProcess[str]:
    return try_file(handout, SMALL_SCRIPT, "--data", tiny_data)


def test_it_says_accuracy_points_and_time_without_any_package_of_the_graders(
    tried: subprocess.CompletedProcess[str],
) -> None:
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert tried.stderr == ""
    right = re.fullmatch(r"(\d+\.\d\d) % \((\d+) of 50 test images\)", said(tried, "accuracy"))
    assert right
    assert Decimal(right[1]) == accuracy_percent(int(right[2]), 50)
    percent = 2 * int(right[2])
    expected = "20 (more than 70 %)" if percent > 70 else "6 (from 30 % on)" if percent >= 30 else "2"
    assert said(tried, "points") == expected
    assert said(tried, "trained").startswith("5.00 epochs in ")
    assert "torch" in said(tried, "in total")


def test_it_says_what_its_numbers_are_worth(tried: subprocess.CompletedProcess[str]) -> None:
    assert "These results are for the data set in tiny.npz." in tried.stdout
    assert "The grade comes from the grader's own run" in tried.stdout
    assert "comes from training images" in tried.stdout


def test_it_shows_what_the_script_prints_as_the_scripts(tried: subprocess.CompletedProcess[str]) -> None:
    assert re.search(r"(?m)^  \| \[5\] loss: \d", tried.stdout)
    assert re.search(r"(?m)^  \| accuracy: ", tried.stdout)
    assert "\r" not in tried.stdout


@pytest.mark.sandbox
def test_it_measures_what_the_grader_measures(
    tried: subprocess.CompletedProcess[str],
    isolation: Isolation,
    assignment: Assignment,
    tiny_data: Path,
    tmp_path: Path,
) -> None:
    data = load_data(str(tiny_data))
    tmp_path.chmod(0o755)
    scores = train_once(SMALL_SCRIPT, assignment, data, isolation, tmp_path).scores
    assert scores is not None
    assert said(tried, "accuracy").startswith(f"{accuracy_percent(count_correct(scores, data.y_test), 50)} %")


def test_a_script_may_import_what_lies_beside_it_as_in_the_grader(handout: Path, tiny_data: Path) -> None:
    tried = try_file(handout, SUBMISSIONS / "habits" / "model_in_second_file" / "hw6.py", "--data", tiny_data)
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert said(tried, "trained").startswith("5.00 epochs in ")


def test_training_ends_at_five_epochs_and_the_script_does_not_run_on(
    handout: Path, tiny_data: Path, tmp_path: Path
) -> None:
    file = small_script(tmp_path, "range(5)", "range(50)")
    finished = try_file(handout, file, "--data", tiny_data)
    assert said(finished, "trained").endswith(", stopped after 5 epochs as the handout says")
    assert "[6] loss" not in finished.stdout


def test_a_script_that_fails_after_training_is_tested_and_the_error_named(
    handout: Path, tiny_data: Path, tmp_path: Path
) -> None:
    file = small_script(tmp_path, "correct = 0", "correct = wrong")
    finished = try_file(handout, file, "--data", tiny_data)
    assert finished.returncode == 0
    assert "then the script failed: NameError: name 'wrong' is not defined" in said(finished, "trained")


FAULTS = {
    "an error": ("net = Ident", "net = nowhere; Ident", "the script failed before the grader could test its network: "),
    "no network": ("class IdentityResNet", "class Net", "failed before the grader could test its network: NameError"),
    "no Python": ("import torch\n", "import (torch\n", "Python cannot read the file"),
    "the end of the interpreter": ("net = Ident", "import os; os._exit(3); net = Ident", "ended the interpreter"),
    "not ten scores": ("4 * 4, 10)", "4 * 4, 11)", "the output is (50, 11), not (50, 10)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_why_nothing_was_tested_is_one_sentence(handout: Path, tiny_data: Path, tmp_path: Path, fault: str) -> None:
    before, after, sentence = FAULTS[fault]
    finished = try_file(handout, small_script(tmp_path, before, after), "--data", tiny_data)
    assert finished.returncode == 2, finished.stdout
    assert re.fullmatch(rf"error: .*{re.escape(sentence)}.*\n", finished.stderr)


MISTAKES = {
    "no such file": (["none.py"], "there is no file none.py"),
    "a folder": (["grader"], "there is no file grader"),
    "no such data": (["hw6.py", "--data", "nowhere"], "there is no data set nowhere"),
    "a folder without data": (["hw6.py", "--data", "grader"], "there is no cifar-10-batches-py in grader"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(handout: Path, mistake: str) -> None:
    arguments, sentence = MISTAKES[mistake]
    finished = try_file(handout, *arguments)
    assert finished.returncode == 2
    assert re.fullmatch(rf"error: {re.escape(sentence)}.*\n", finished.stderr), finished.stderr


def test_a_missing_torch_is_one_sentence(handout: Path, tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text("raise ModuleNotFoundError(name='torchvision')", encoding="utf-8")
    (tmp_path / "data" / "cifar-10-batches-py").mkdir(parents=True)
    finished = try_file(handout, "hw6.py", "--data", tmp_path / "data", PYTHONPATH=str(tmp_path))
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: torchvision is missing: install torch and torchvision with pip")


def test_the_estimate_times_the_file_and_tests_nothing(handout: Path, tiny_data: Path) -> None:
    finished = try_file(handout, SMALL_SCRIPT, "--data", tiny_data, "--estimate")
    assert finished.returncode == 0, finished.stderr
    assert re.search(r"your script trains \d+ images a second here", finished.stdout)
    assert said(finished, "estimate").endswith("for training and test")
    assert "\naccuracy " not in finished.stdout


def test_the_estimate_of_a_script_that_does_not_train_says_so(handout: Path, tiny_data: Path, tmp_path: Path) -> None:
    finished = try_file(handout, small_script(tmp_path, "range(5)", "range(0)"), "--data", tiny_data, "--estimate")
    assert finished.returncode == 2
    assert finished.stderr == "error: the script did not train\n"


def test_the_handouts_copy_has_this_command_only(handout: Path) -> None:
    command = [sys.executable, "-m", "grader", "grade", "."]
    finished = subprocess.run(
        command, cwd=handout, env=environment(handout), capture_output=True, text=True, timeout=100, check=False
    )
    assert finished.returncode == 1
    assert finished.stderr == "This copy of the grader has one command: python -m grader try hw6.py\n"


def test_the_graders_own_copy_has_it_too(tmp_path: Path) -> None:
    finished = run_grader_apart("try", tmp_path / "none.py")
    assert (finished.returncode, finished.stderr[:24]) == (2, "error: there is no file ")


def test_on_a_terminal_one_line_says_how_training_goes(handout: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (1000, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, 1000)
    np.savez(tmp_path / "noise.npz", x_train=x, y_train=y, x_test=x[:50], y_test=y[:50])
    file = small_script(tmp_path, "optimizer.step()", "optimizer.step(); import time; time.sleep(0.1)")
    command = [sys.executable, "-m", "grader", "try", str(file), "--data", str(tmp_path / "noise.npz")]
    with Terminal() as terminal:
        process = subprocess.Popen(
            command, cwd=handout, env=environment(handout), stdout=terminal.descriptor, stderr=terminal.descriptor
        )
        during = terminal.wait(lambda lines: bool(re.match(r"training: epoch \d\.\d of 5, ", lines[-1])))
        assert process.wait(250) == 0
        terminal.hang_up()
        after = terminal.lines
    assert len(during[-1]) < 80
    assert not any(line.startswith("training: epoch") for line in after)
    assert any(line.startswith("  | [5] loss: ") for line in after)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_stops_it_is_told_and_nothing_is_left(
    handout: Path, tiny_data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "temporary").mkdir()
    file = small_script(tmp_path, "net = Ident", "import time; print('here'); time.sleep(600); net = Ident")
    process = subprocess.Popen(
        [sys.executable, "-m", "grader", "try", str(file), "--data", str(tiny_data)],
        cwd=handout,
        env=environment(handout, TMPDIR=str(tmp_path / "temporary")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert any(line == "  | here\n" for line in process.stdout)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "\nstopped: nothing was measured\n"
    assert list((tmp_path / "temporary").iterdir()) == []
