"""The self-check as students run it: from the unpacked handout, in a folder that knows nothing of the grader."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from command import ROOT, SUBMISSIONS
from grader.student.handout import write_handout

BLANK_TESTS = {
    *(f"test_q{number}_" for number in range(1, 10)),
    *("test_first_convolution", "test_average_pooling", "test_linear_layer", "test_zeroed_convolutions"),
    *(f"test_stage{stage}_" for stage in range(1, 5)),
}


@pytest.fixture(scope="module")
def handout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked handout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    write_handout(folder / "dist" / "hw6-handout.zip")
    with zipfile.ZipFile(folder / "dist" / "hw6-handout.zip") as archive:
        archive.extractall(folder)
    return folder / "hw6-handout"


def clean_environment(**settings: str) -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | settings


def self_check(handout: Path, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    environment = clean_environment(**settings)
    return subprocess.run(
        command, cwd=handout, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


def failed(finished: subprocess.CompletedProcess[str]) -> set[str]:
    return set(re.findall(r"(?m)^_+ (test_\w+) _+$", finished.stdout))


def said(finished: subprocess.CompletedProcess[str]) -> list[str]:
    """What the failures say, without the tests that name an earlier one."""
    lines = finished.stdout.split("FAILURES")[1].splitlines()
    return [line for line in lines if line.endswith(".") and not line.startswith("The same as in test_")]


def test_a_script_may_import_what_lies_beside_it_as_in_the_grader(handout: Path) -> None:
    second_file = SUBMISSIONS / "habits" / "model_in_second_file" / "hw6.py"
    finished = self_check(handout, "-k", "top_to_bottom or q6 or q8", HW6=str(second_file))
    assert finished.returncode == 0, finished.stdout


def test_the_blank_template_fails_by_the_name_of_each_question_and_part(handout: Path) -> None:
    finished = self_check(handout)
    names = failed(finished)
    assert finished.returncode == 1, finished.stdout
    for beginning in BLANK_TESTS:
        assert any(name.startswith(beginning) for name in names), beginning
    assert "Traceback" not in finished.stdout
    assert ".py:" not in finished.stdout.split("FAILURES")[1]
    assert len(said(finished)) == len(set(said(finished)))


def test_a_script_that_stops_fails_every_test_and_is_said_once(handout: Path, tmp_path: Path) -> None:
    (tmp_path / "stops.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    finished = self_check(handout, HW6=str(tmp_path / "stops.py"))
    assert "22 failed" in finished.stdout
    assert said(finished) == [
        "The script stopped: ModuleNotFoundError: No module named 'nothing_of_this_name' (line 1)."
    ]
    assert "summary" not in finished.stdout


def test_the_reference_passes_everything(handout: Path) -> None:
    finished = self_check(handout, HW6=str(ROOT / "reference" / "hw6.py"))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "passed" in finished.stdout


@pytest.mark.slow
@pytest.mark.parametrize("case", ["pairs/scripted_parts", "habits/compiles_with_torchscript"])
def test_what_a_script_compiles_is_looked_at_uncompiled_as_in_the_grader(handout: Path, case: str) -> None:
    finished = self_check(handout, "-k", "top_to_bottom or ten or one_image", HW6=str(SUBMISSIONS / case / "hw6.py"))
    assert finished.returncode == 0, finished.stdout


def test_one_fault_fails_the_test_of_its_part_only(handout: Path) -> None:
    case = SUBMISSIONS / "networks" / "missing_relu" / "hw6.py"
    finished = self_check(
        handout, "-k", "stage or first or pooling or linear or ten or weights or identity", HW6=str(case)
    )
    assert failed(finished) == {"test_stage3_halves_the_image_and_doubles_the_channels"}
    assert "block 2 of stage 3" in finished.stdout


@pytest.mark.parametrize(
    "loop",
    [
        "while True:\n    pass",
        "import time\nwhile True:\n    time.sleep(0.1)",
        "import re\nre.match('(a+)+b', 'a' * 60)",
    ],
    ids=["works", "sleeps", "keeps every other thread waiting"],
)
def test_an_endless_loop_is_a_failure_with_its_line(handout: Path, tmp_path: Path, loop: str) -> None:
    (tmp_path / "hw6.py").write_text(loop, encoding="utf-8")
    check = handout / "test_quick.py"
    check.write_text(re.sub(r"(?m)^SECONDS = \d+", "SECONDS = 2", (handout / "test_hw6.py").read_text()))
    finished = self_check(handout, "test_quick.py", "-k", "top_to_bottom", HW6=str(tmp_path / "hw6.py"))
    check.unlink()
    last = len(loop.splitlines())
    assert re.search(f"still at line ({last}|{last - 1}): is there an endless loop[?]", finished.stdout), (
        finished.stdout
    )


def test_the_check_without_its_folder_says_what_to_do_in_one_sentence(handout: Path, tmp_path: Path) -> None:
    shutil.copy(handout / "test_hw6.py", tmp_path)
    finished = self_check(tmp_path)
    assert finished.returncode != 0
    assert "unpack the whole zip file" in " ".join(finished.stdout.split())
    assert "Traceback" not in finished.stdout
    assert "StopIteration" not in finished.stdout


def test_a_file_that_is_not_there_or_no_python_is_said_in_one_sentence(handout: Path, tmp_path: Path) -> None:
    absent = self_check(handout, "-k", "q1 or stage1", HW6=str(tmp_path / "none.py"))
    assert absent.stdout.count("There is no file") == 1
    assert "The same as in test_q1_device." in absent.stdout
    (tmp_path / "broken.py").write_text("def f(:\n", encoding="utf-8")
    broken = self_check(handout, "-k", "q1 or stage1", HW6=str(tmp_path / "broken.py"))
    assert broken.stdout.count("Python cannot read the file") == 1


def test_the_handout_runs_its_own_copy_and_has_what_the_readme_names(handout: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "import grader.judge.verdict as verdict; print(verdict.__file__)"],
        cwd=handout,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert Path(shown.stdout.strip()).is_relative_to(handout)
    assert {"hw6.py", "test_hw6.py", "README.md", "grader"} == {path.name for path in handout.iterdir()} - {
        "__pycache__"
    }
    assert not (handout / "grader" / "cli").exists()


def test_whatever_the_handout_imports_is_in_it_or_comes_with_torch(handout: Path) -> None:
    allowed = sys.stdlib_module_names | {"torch", "torchvision", "numpy", "PIL", "pytest"}
    optional = {("data.py", "sklearn"), ("__main__.py", "grader.cli")}
    for file in handout.rglob("*.py"):
        for module in modules_imported(file):
            path = handout.joinpath(*module.split("."))
            carried = path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
            package = module.split(".")[0]
            known = carried or package in allowed or {(file.name, module), (file.name, package)} & optional
            assert known, f"{file.name} imports {module}"


def modules_imported(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return plain | named


def test_the_zip_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    write_handout(tmp_path / "a.zip")
    write_handout(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
