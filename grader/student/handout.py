"""What students are given, as one zip file.

The self-check and the trial in it need nothing of the grader but what the zip carries: Python, torch and torchvision,
and for the self-check pytest.
"""

import zipfile
from pathlib import Path

from grader.assignment import TEMPLATE

_ROOT = Path(__file__).parents[2]
_FOLDER = "hw6-handout"
_GIVEN = ("*.py", "README.md")
_CARRIED = (
    *("grader/__init__.py", "grader/__main__.py", "grader/assignment.toml"),
    *("grader/records.py", "grader/protocol/*.py", "grader/errors.py", "grader/text.py"),
    *("grader/progress.py", "grader/data.py"),
    *("grader/results/__init__.py", "grader/results/entries.py", "grader/report/__init__.py", "grader/report/pace.py"),
    *(f"grader/student/{name}.py" for name in ("__init__", "command", "self_check", "trial", "words")),
    *("grader/judge/*.py", "grader/worker/**/*.py", "grader/replay/*.py"),
)
# The same bytes for the same files: a zip entry's time starts in 1980.
_TIME = (1980, 1, 1, 0, 0, 0)


def write_handout(path: Path) -> None:
    """Write the zip file, and the folder that it is to lie in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, pattern in (*((TEMPLATE, name) for name in _GIVEN), *((_ROOT, name) for name in _CARRIED)):
            for file in sorted(folder.glob(pattern)):
                entry = zipfile.ZipInfo(f"{_FOLDER}/{file.relative_to(folder).as_posix()}", _TIME)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, file.read_bytes())
