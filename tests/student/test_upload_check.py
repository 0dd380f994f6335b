"""The check at upload, laid out as Gradescope documents it: /autograder with source, submission and results.

No live upload was seen: the layout, the working directory and the form of results.json follow Gradescope's own pages.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archives import packed
from command import ROOT, SUBMISSIONS
from grader.cli.export import prevalidate_command
from grader.student.handout import write_autograder
from grader.student.observe import Observed
from grader.student.upload_check import _of_network, main
from grader.worker.look.network import look_at
from judged import reference

# Installed for the grader, and not by setup.sh.
NOT_INSTALLED = ("typer", "rich", "psutil", "landlock", "pyseccomp", "jinja2", "copydetect", "tomli")
# https://gradescope-autograders.readthedocs.io/en/latest/specs/, "Output format".
WHOLE_KEYS = {
    *("score", "execution_time", "output", "output_format", "test_output_format", "test_name_format", "visibility"),
    *("stdout_visibility", "extra_data", "tests", "leaderboard"),
}
TEST_KEYS = {
    *("score", "max_score", "status", "name", "name_format", "number", "output", "output_format", "tags"),
    *("visibility", "extra_data"),
}
# What only runs with the grader's stand-ins, or with a file beside it.
HABITS = (
    *("asserts_a_gpu", "colab_lines", "draws_confusion_matrix", "model_in_second_file", "mounts_google_drive"),
    *("saved_as_notebook", "saves_into_its_drive_folder", "written_for_older_versions"),
)


@pytest.fixture(scope="module")
def zip_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dist") / "autograder.zip"
    write_autograder(path)
    return path


@pytest.fixture
def autograder(zip_file: Path, tmp_path: Path) -> Path:
    """/autograder, in a temporary root, after the image was built: `python` is what setup.sh would have made."""
    root = tmp_path / "autograder"
    for folder in ("submission", "results", "python/bin", "missing", "bin"):
        (root / folder).mkdir(parents=True)
    # As Gradescope unpacks it, with the rights in the archive.
    with zipfile.ZipFile(zip_file) as archive:
        archive.extractall(root / "source")
        for info in archive.infolist():
            (root / "source" / info.filename).chmod(info.external_attr >> 16)
    shutil.copy(root / "source" / "run_autograder", root / "run_autograder")
    for name in NOT_INSTALLED:
        (root / "missing" / f"{name}.py").write_text(f"raise ModuleNotFoundError(name={name!r})\n", encoding="utf-8")
    python = root / "python" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{root}/missing" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (root / "bin" / "bash").symlink_to(str(shutil.which("bash")))
    return root


def run(autograder: Path) -> dict[str, Any]:
    """What Gradescope reads after its harness ran the script, in a container that has no bubblewrap."""
    done = subprocess.run(
        [autograder / "run_autograder"],
        cwd=autograder,
        env={"PATH": str(autograder / "bin"), "HOME": str(autograder)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results: dict[str, Any] = json.loads((autograder / "results" / "results.json").read_text(encoding="utf-8"))
    return results


def outputs(results: dict[str, Any], status: str) -> dict[str, str]:
    return {test["name"].partition(":")[0]: test["output"] for test in results["tests"] if test["status"] == status}


def test_a_student_sees_which_blank_is_left_that_the_file_runs_and_the_verdict_without_points(autograder: Path) -> None:
    shutil.copy(SUBMISSIONS / "demo" / "s20261005" / "hw6.py", autograder / "submission" / "HW6 (1).py")
    # Beside the script, and never in the check's own way.
    (autograder / "submission" / "grader.py").write_text("raise SystemExit\n", encoding="utf-8")
    results = run(autograder)
    assert set(results) <= WHOLE_KEYS
    assert all(set(test) <= TEST_KEYS for test in results["tests"])
    assert results["score"] == 0
    assert not any({"score", "max_score"} & set(test) for test in results["tests"])
    assert set(outputs(results, "failed")) == {"No blank is left", "Q8"}
    assert outputs(results, "failed")["No blank is left"] == "These blanks are still empty: Q8."
    passed = outputs(results, "passed")
    assert "HW6 (1).py counts as hw6.py" in passed["Your upload has hw6.py"]
    assert passed["The script runs from top to bottom"] == "The script ran from top to bottom."
    assert passed["The network is the one of section 3.1"] == "Verdict: conforming."


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os._exit(3)", "ended Python itself (exit code 3)"),
        ("os.kill(os.getpid(), 9)", "The system ended the script (signal 9)"),
    ],
)
def test_a_script_that_ends_python_leaves_a_result_that_says_so(autograder: Path, end: str, said: str) -> None:
    script = f"import os\nprint('{{')\n{end}\n"
    (autograder / "submission" / "hw6.py").write_text(script, encoding="utf-8")
    failed = outputs(run(autograder), "failed")
    assert said in failed["The script runs from top to bottom"]
    assert said not in failed["The network is the one of section 3.1"]


def test_an_upload_without_the_file_is_one_failed_test_with_the_reason(autograder: Path) -> None:
    (autograder / "submission" / "report.pdf").write_bytes(b"%PDF")
    results = run(autograder)
    assert outputs(results, "failed") == {"Your upload has hw6.py": "your upload has no hw6.py, only report.pdf."}
    assert len(results["tests"]) == 1


def test_the_zip_has_gradescope_s_two_scripts_at_its_top_and_nothing_that_is_secret(zip_file: Path) -> None:
    with zipfile.ZipFile(zip_file) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        scripts = {name: archive.read(name) for name in ("setup.sh", "run_autograder")}
        everything = b"".join(archive.read(name) for name in modes)
    for name, content in scripts.items():
        assert content.startswith(b"#!/usr/bin/env bash\n")
        assert stat.S_IMODE(modes[name]) == 0o755
    assert not [name for name in modes if "reference" in name or name.endswith("data.py")]
    # The reference's class, which no student is to see.
    answer = (ROOT / "reference" / "hw6.py").read_bytes()
    own = [line for line in answer.splitlines() if b"self." in line and len(line) > 40]
    assert own
    assert not [line for line in own if line in everything]


def test_the_image_gets_a_python_with_torch_and_what_scripts_import_on_colab(autograder: Path) -> None:
    recorder = autograder / "bin" / "uv"
    recorder.write_text(f'#!/bin/sh\necho "$@" >> {autograder}/asked\n', encoding="utf-8")
    recorder.chmod(0o755)
    environment = {"PATH": f"{autograder / 'bin'}:{os.environ['PATH']}"}
    subprocess.run([autograder / "source" / "setup.sh"], cwd="/", env=environment, timeout=60, check=True)
    asked = (autograder / "asked").read_text(encoding="utf-8")
    assert "venv --python >=3.11 python\n" in asked
    assert "--torch-backend cpu torch torchvision pydantic\n" in asked
    listed = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("What students' scripts import on Colab")[1]
    needed = tomllib.loads("x = [\n#" + listed.split("]")[0] + "]")["x"]
    assert {name.partition(">")[0] for name in needed} | {"pandas", "scikit-learn"} <= set(asked.split())


def test_the_command_writes_the_zip_and_says_where(
    zip_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prevalidate_command(tmp_path / "a" / "autograder.zip")
    assert str(tmp_path / "a" / "autograder.zip") in capsys.readouterr().out
    assert (tmp_path / "a" / "autograder.zip").read_bytes() == zip_file.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("case", HABITS)
def test_what_the_grader_runs_is_not_said_to_fail_at_upload(autograder: Path, case: str) -> None:
    shutil.copytree(SUBMISSIONS / "habits" / case, autograder / "submission", dirs_exist_ok=True)
    assert "The script runs from top to bottom" in outputs(run(autograder), "passed")


@pytest.mark.slow
def test_a_mistake_is_named_and_not_what_a_second_run_met(autograder: Path) -> None:
    shutil.copy(SUBMISSIONS / "broken" / "misspells_its_loss" / "hw6.py", autograder / "submission")
    assert "CrossEntropyLos" in outputs(run(autograder), "failed")["The script runs from top to bottom"]


def test_one_cause_with_several_codes_is_said_once() -> None:
    seen = look_at(reference((1, 1, 1, 1)), "")
    nodes = [
        replace(node, stride=(2, 2), kernel=(5, 5)) if node.weight == "conv.weight" else node for node in seen.nodes
    ]
    lines = _of_network(Observed(network=replace(seen, nodes=tuple(nodes))), (1, 1, 1, 1))["output"].splitlines()
    assert len(lines) == len(set(lines)) == 2


@pytest.mark.slow
def test_the_reference_passes_everything_from_within_a_zip(autograder: Path) -> None:
    reference = (ROOT / "reference" / "hw6.py").read_bytes()
    (autograder / "submission" / "all.zip").write_bytes(packed({"hw6/hw6.py": reference, "hw6/readme.txt": b""}))
    assert outputs(run(autograder), "failed") == {}


@pytest.mark.slow
def test_an_endless_loop_is_named_with_its_line_before_gradescope_ends_it(tmp_path: Path) -> None:
    (tmp_path / "submission").mkdir()
    (tmp_path / "submission" / "hw6.py").write_text("x = 1\nwhile True:\n    pass\n", encoding="utf-8")
    main(tmp_path, seconds=3)
    results = json.loads((tmp_path / "results" / "results.json").read_text(encoding="utf-8"))
    assert "still at line" in outputs(results, "failed")["The script runs from top to bottom"]
