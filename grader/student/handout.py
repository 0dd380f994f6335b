"""What students are given, as one zip file; and what Gradescope is given, to check each upload with the same code.

The self-check and the trial need nothing of the grader but what the handout carries: Python, torch and torchvision, and
for the self-check pytest. The check at upload needs pydantic too, for the assignment's rules.
"""

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from grader.assignment import TEMPLATE

_ROOT = Path(__file__).parents[2]
_FOLDER = "hw6-handout"
_GIVEN = ("*.py", "README.md")
_CHECK = (
    *("grader/__init__.py", "grader/assignment.toml"),
    *("grader/records.py", "grader/protocol/*.py", "grader/errors.py", "grader/text.py"),
    *(f"grader/student/{name}.py" for name in ("__init__", "observe", "self_check")),
    *("grader/judge/*.py", "grader/worker/**/*.py"),
)
_TRIAL = (
    *("grader/__main__.py", "grader/progress.py", "grader/data.py"),
    *(f"grader/student/{name}.py" for name in ("command", "trial")),
    "grader/replay/*.py",
)
_UPLOAD = (
    *("grader/assignment.py", "grader/student/upload_check.py"),
    *(f"grader/lms/{name}.py" for name in ("__init__", "attempts", "files")),
)
_GRADESCOPE = Path(__file__).with_name("gradescope")
# The same bytes for the same files: a zip entry's time starts in 1980.
_TIME = (1980, 1, 1, 0, 0, 0)


def write_handout(path: Path) -> None:
    """Write the students' zip file, and the folder that it is to lie in."""
    files = (*_files(TEMPLATE, _GIVEN), *_files(_ROOT, (*_CHECK, *_TRIAL)))
    _write(path, ((f"{_FOLDER}/{name}", file, 0o644) for name, file in files))


def write_autograder(path: Path) -> None:
    """Write Gradescope's autograder.zip: `setup.sh` and `run_autograder` at its top, and the code of the check."""
    scripts = ((name, file, 0o755) for name, file in _files(_GRADESCOPE, ("*",)))
    _write(path, (*scripts, *((name, file, 0o644) for name, file in _files(_ROOT, (*_CHECK, *_UPLOAD)))))


def _files(folder: Path, patterns: Iterable[str]) -> Iterator[tuple[str, Path]]:
    for pattern in patterns:
        for file in sorted(folder.glob(pattern)):
            yield file.relative_to(folder).as_posix(), file


def _write(path: Path, files: Iterable[tuple[str, Path, int]]) -> None:
    """Pack files, each under a name and with the rights that it gets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file, rights in files:
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = rights << 16
            archive.writestr(entry, file.read_bytes())
