"""The command line: flags in, exit codes out. 0: done; 1: done, but the grader failed on somebody; 2: your mistake."""

from grader.cli import change, doctor, export, grade, look, rehearse
from grader.cli.options import app

__all__ = ["change", "doctor", "export", "grade", "look", "main", "rehearse"]


def main() -> None:
    """Run the command line."""
    app()
