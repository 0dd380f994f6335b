"""The project's shape: imports run one way, files stay short, and README and docs say what is there."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader.report.table import GRADES_COLUMNS

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "grader").rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES = 500, 60
MAX_FILES_AT_THE_TOP = 10

# From top to bottom; a unit (a file or a folder of grader/) imports from the layers below its own only.
LAYERS = (
    {"__main__"},
    {"cli"},
    {"pipeline", "student"},
    {"collect", "report"},
    {"lms"},
    {"results"},
    {"run"},
    {"schedule", "judge", "data"},
    {"sandbox"},
    {"assignment", "protocol", "progress"},
    {"text"},
    {"records", "errors"},
)
DEPTH = {unit: depth for depth, layer in enumerate(LAYERS) for unit in layer}
# All code that shares a process with a submission. A student's own tools share it too, on the student's machine.
WORKER, OF_STUDENTS = "worker", "student"
# The process in which a network is tested: started, never imported; it looks at a network as the worker does.
REPLAY = "replay"
STARTED = {WORKER, REPLAY}
# What the worker knows of the rest; with it, it enters the sandbox and the student's zip, and needs no other package.
SHARED = {"protocol", "records", "text", "errors"}
CARRIED_PACKAGES = {"torch", "torchvision", "numpy", "PIL"}


def unit_of(file: Path) -> str:
    """The file or folder of grader/ that a source belongs to; empty for the package itself."""
    first = file.relative_to(ROOT / "grader").parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imported(file: Path) -> Iterator[str]:
    """The dotted name of everything that a source imports, wherever in the file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_units(file: Path) -> set[str]:
    """The units of grader/ that a source imports, less its own."""
    names = (name.split(".") for name in imported(file))
    return {name[1] for name in names if name[0] == "grader" and len(name) > 1} - {unit_of(file)}


def packages(file: Path) -> set[str]:
    """Whatever a source imports that is not in the standard library, our own package among it."""
    return {name.split(".")[0] for name in imported(file)} - sys.stdlib_module_names


def label(file: Path) -> str:
    return str(file.relative_to(ROOT / "grader"))


def tracked() -> list[str]:
    """Every file that git keeps, or a skip outside a checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"git cannot list the files: {listed.stderr.strip()}")
    return [name for name in listed.stdout.split("\0") if name]


def lines_of(page: str) -> list[str]:
    return (ROOT / page).read_text(encoding="utf-8").splitlines()


def named_in_trees() -> set[str]:
    """Every word of the README's code, indented or fenced, without the strokes and slashes of a tree."""
    named: set[str] = set()
    fenced = False
    for line in lines_of("README.md"):
        fenced ^= line.startswith("```")
        if fenced or line.startswith("    "):
            named |= {word.strip("│├└─`,/") for word in line.split()}
    return named


def table_columns() -> list[list[str]]:
    """The names in backticks in the first column of each of the teacher's tables."""
    tables: list[list[str]] = [[]]
    for line in lines_of("grader/docs/teacher.md"):
        if not line.startswith("|"):
            tables.append([])
        elif name := re.match(r"\|\s*`([^`]+)`\s*\|", line):
            tables[-1].append(name[1])
    return [table for table in tables if table]


def test_every_unit_has_its_layer() -> None:
    assert {unit_of(file) for file in SOURCES} - {""} == DEPTH.keys() | STARTED


@pytest.mark.parametrize("file", [file for file in SOURCES if unit_of(file) not in ({""} | STARTED)], ids=label)
def test_imports_run_one_way(file: Path) -> None:
    own = unit_of(file)
    above = {unit for unit in imported_units(file) if unit in DEPTH and DEPTH[unit] <= DEPTH[own]}
    assert not above, f"{own} imports {above} from its own layer or from above"


@pytest.mark.parametrize("file", [file for file in SOURCES if unit_of(file) not in STARTED | {OF_STUDENTS}], ids=label)
def test_only_a_student_s_own_tools_import_the_worker(file: Path) -> None:
    assert WORKER not in imported_units(file)


@pytest.mark.parametrize("file", [file for file in SOURCES if unit_of(file) != REPLAY], ids=label)
def test_nothing_imports_the_process_that_sees_the_test_images(file: Path) -> None:
    assert REPLAY not in imported_units(file)


@pytest.mark.parametrize("file", [file for file in SOURCES if unit_of(file) in SHARED | STARTED], ids=label)
def test_what_runs_in_a_sandbox_needs_torch_and_the_standard_library_only(file: Path) -> None:
    assert packages(file) <= CARRIED_PACKAGES | {"grader"}
    assert imported_units(file) <= SHARED | ({WORKER} if unit_of(file) == REPLAY else set())


@pytest.mark.parametrize("file", [file for file in SOURCES if unit_of(file) in SHARED | {"judge"}], ids=label)
def test_judging_needs_the_standard_library_only(file: Path) -> None:
    assert packages(file) <= {"grader"}
    assert imported_units(file) <= SHARED


def test_few_files_lie_at_the_top() -> None:
    assert len(list((ROOT / "grader").glob("*.py"))) <= MAX_FILES_AT_THE_TOP


@pytest.mark.parametrize("file", SOURCES, ids=label)
def test_files_and_functions_are_short(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, node.name


def test_the_readme_names_every_file_at_the_top_and_in_grader() -> None:
    paths = [Path(name).parts for name in tracked()]
    top = {parts[0] for parts in paths if not parts[0].startswith(".")}
    inside = {parts[1] for parts in paths if parts[0] == "grader"}
    assert sorted((top | inside) - named_in_trees()) == []


def test_the_teacher_s_page_names_the_columns_of_the_grade_table_in_order() -> None:
    assert list(GRADES_COLUMNS) in table_columns()
