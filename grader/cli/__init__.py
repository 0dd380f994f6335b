"""The command line: flags in, exit codes out. 0: done; 1: done, but the grader failed on somebody; 2: your mistake."""

import codecs
import io
import locale
import os
import sys

from grader.cli import change, export, grade, look, rehearse
from grader.cli.options import app

__all__ = ["change", "export", "grade", "look", "main", "rehearse"]


def main() -> None:
    """Run the command line. What it prints is in the locale's encoding; what that lacks is replaced."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=_terminals_encoding(stream.encoding), errors="replace")
    app()


def _terminals_encoding(now: str) -> str:
    """The locale's, where it is a language's own; a locale without letters says nothing of the terminal."""
    if not sys.flags.utf8_mode or "PYTHONIOENCODING" in os.environ:
        return now
    try:
        name = codecs.lookup(locale.getencoding()).name
    except LookupError:
        return now
    return now if name == "ascii" else name
