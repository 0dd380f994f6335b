"""Ctrl-C while the grader works."""

import subprocess
import sys

from command import ROOT

WRITES_AND_IS_INTERRUPTED = """if True:
    import io, os, signal, sys

    class Terminal(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            if not stop.is_set():
                os.kill(os.getpid(), signal.SIGINT)
            return len(data)

    from rich.console import Console
    from grader.cli import options

    stop = options.interrupted()
    options.console = Console(file=io.TextIOWrapper(io.BufferedWriter(Terminal())), force_terminal=True)
    options.say("kim: graded, 71.23 %, 20 points")
    assert stop.is_set()
    """


def test_ctrl_c_in_the_middle_of_a_line_asks_the_grader_to_stop_and_raises_nothing() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", WRITES_AND_IS_INTERRUPTED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, "")
