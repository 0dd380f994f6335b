"""The ways in which a script ends its own process at once: each is the end of its training, and the network is tested.

What Python runs at a usual end, an error or SystemExit, main.py sees itself. These would end the process below it.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

# By a name of their own: the script finds others under those of os.
end_process: Callable[[int], NoReturn] = os._exit
_kill, _own_process, _this_thread = os.kill, os.getpid, threading.get_ident
# A script may put its own objects in the place of these, or close them.
_STREAMS: tuple[TextIO, ...] = (sys.stdout, sys.stderr)


class Doors:
    """What a script finds in the place of functions that would end its process.

    A forked child ends as it is told, and so does a script that trained nothing: there is nothing to test. Once the
    network is tested, another thread of the script waits in the door, and the one that tests, which runs the network's
    own code, goes through it: an exit in there gains nothing.

    Args:
        leave: Ends the script's turn.
        trained: Whether the network learned from a batch.
    """

    def __init__(self, leave: Callable[[], NoReturn], trained: Callable[[], bool]) -> None:
        self._leave, self._trained, self._process = leave, trained, _own_process()
        self._closer = 0

    def close(self) -> None:
        """The script's turn is over, and this thread tests."""
        self._closer = _this_thread()

    def replacements(self) -> dict[tuple[Any, str], Any]:
        """By owner and name."""
        return {
            (os, "_exit"): self._exit,
            (os, "abort"): self._abort,
            (os, "kill"): self._signal,
            (signal, "raise_signal"): lambda number: self._signal(self._process, number),
        }

    def _exit(self, status: int) -> NoReturn:
        if self._counts():
            self._leave()
        end_process(status)

    def _abort(self) -> NoReturn:
        self._exit(128 + signal.SIGABRT)

    def _signal(self, process: int, number: int) -> None:
        if process == self._process and _ends(number) and self._counts():
            self._leave()
        _kill(process, number)

    def _counts(self) -> bool:
        return _own_process() == self._process and _this_thread() != self._closer and self._trained()


def _ends(number: int) -> bool:
    """Whether a signal ends a process that has no handler for it."""
    if sys.platform == "win32" or number == signal.SIGKILL:
        return True
    harmless = {0, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
    stopping = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
    return number not in harmless | stopping and signal.getsignal(number) == signal.SIG_DFL


def flush() -> None:
    """Hand on what is printed and not written yet; nothing that the script made is asked."""
    for stream in _STREAMS:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def errors() -> TextIO:
    """Where the worker itself complains."""
    return _STREAMS[1]
