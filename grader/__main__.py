"""`python -m grader`: `try` for students, which the handout's zip file has too; everything else: see cli."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command line."""
    if sys.version_info < (3, 11):  # noqa: UP036 (a student may start it with any)
        sys.exit("error: Python 3.11 or newer is needed")
    if sys.argv[1:2] == ["try"]:
        from grader.student.command import main as try_main

        sys.exit(try_main(sys.argv[2:]))
    if not Path(__file__).with_name("cli").is_dir():
        sys.exit("This copy of the grader has one command: python -m grader try hw6.py")
    if sys.getfilesystemencoding() != "utf-8":
        # A name of a file would be in the locale's encoding, and a student whose name that lacks would have no file.
        again = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONUTF8": "1"})
    from grader.cli import main as teachers_main

    teachers_main()


if __name__ == "__main__":
    main()
