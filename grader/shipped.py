"""Where the files lie that come with the grader and are not its code.

The reference and the student's template are beside the package in a checkout, and inside it once it is installed.
"""

from pathlib import Path

PACKAGE = Path(__file__).parent


def _folder(name: str) -> Path:
    installed = PACKAGE / name
    return installed if installed.is_dir() else PACKAGE.parent / name


REFERENCE = _folder("reference") / "hw6.py"
TEMPLATE = _folder("student_template")
DOCS = PACKAGE / "docs"
SLURM_SCRIPT = DOCS / "slurm.sbatch"
