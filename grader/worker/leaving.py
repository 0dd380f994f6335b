"""The ways in which a script ends its own process at once: each is the end of its training, and the network is tested.

What Python runs at a usual end, an error or SystemExit, main.py sees itself. These would end the process below it. A
script may also put itself in its own place, to begin anew with another environment.
"""

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, NoReturn, TextIO

from grader.worker.source import SCRIPT

# By a name of their own: the script finds others under those of os.
end_process: Callable[[int], NoReturn] = os._exit
_kill, _own_process, _this_thread = os.kill, os.getpid, threading.get_ident
_execute, _execute_with, _handler_of = os.execv, os.execve, signal.getsignal
_set_timer: Any = getattr(signal, "setitimer", None)
_TIMERS = ("alarm", "setitimer")  # Windows has none
# A script may put its own objects in the place of these, or close them.
_STREAMS: tuple[TextIO, ...] = (sys.stdout, sys.stderr)


class Restarted(BaseException):
    """The script begins anew from its first line.

    Attributes:
        arguments: Its `sys.argv` from then on.
    """

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self.arguments = arguments


class Exits:
    """What a script finds in the place of functions that would end its process.

    A forked child ends as it is told, and so does a script that trained nothing: there is nothing to test. While the
    network is tested, any other thread waits if it wants to end the process. The thread that tests runs the network's
    own code: if that wants to end the process, the process ends, and the script gains nothing.

    Args:
        leave: Ends the script's turn.
        trained: Whether the network learned from a batch.
    """

    def __init__(self, leave: Callable[[], NoReturn], trained: Callable[[], bool]) -> None:
        self._leave, self._trained, self._process = leave, trained, _own_process()
        self._tester = 0
        self._has_timer = False

    def close(self) -> None:
        """The script's turn is over, and this thread tests; no timer of the script's interrupts it."""
        self._tester = _this_thread()
        if self._has_timer:
            _set_timer(signal.ITIMER_REAL, 0)
            if self._may_set_handlers() and _handler_of(signal.SIGALRM) == self._on_alarm:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def replacements(self) -> dict[tuple[Any, str], Any]:
        """By owner and name."""
        return {
            (os, "_exit"): self._exit,
            (os, "abort"): lambda: self._exit(128 + signal.SIGABRT),
            (os, "kill"): self._signal,
            (signal, "raise_signal"): lambda number: self._signal(self._process, number),
            (os, "execv"): lambda path, arguments: self._replace(path, arguments),
            (os, "execve"): self._replace,
            **{(signal, name): self._timed(getattr(signal, name)) for name in _TIMERS if hasattr(signal, name)},
        }

    def _exit(self, status: int) -> NoReturn:
        if self._ends_training():
            self._leave()
        end_process(status)

    def _signal(self, process: int, number: int) -> None:
        if process == self._process and _ends(number) and self._ends_training():
            self._leave()
        _kill(process, number)

    def _replace(self, path: Any, arguments: Any, environment: Mapping[Any, Any] | None = None) -> None:
        """`os.execv` and `os.execve`, by which the other forms go."""
        if self._ends_training():
            self._leave()
        if _own_process() == self._process and _this_thread() != self._tester:
            words = [os.fsdecode(word) for word in arguments]
            begin = _begin_of_script(words)
            if begin:
                if environment is not None:
                    os.environ.clear()
                    os.environ.update({os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()})
                raise Restarted([SCRIPT, *words[begin + 1 :]])
        _execute(path, arguments) if environment is None else _execute_with(path, arguments, environment)

    def _timed(self, start: Callable[..., Any]) -> Callable[..., Any]:
        """What sets a timer, whose signal ends the process below Python as long as the script has no handler for it."""

        @functools.wraps(start)
        def started(*args: Any, **options: Any) -> Any:
            self._has_timer = True
            if self._may_set_handlers() and _handler_of(signal.SIGALRM) == signal.SIG_DFL:
                signal.signal(signal.SIGALRM, self._on_alarm)
            return start(*args, **options)

        return started

    def _on_alarm(self, number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        self._signal(self._process, number)

    def _may_set_handlers(self) -> bool:
        """Only the main thread may, says Python; and a forked child's handlers are its own."""
        return _own_process() == self._process and threading.current_thread() is threading.main_thread()

    def _ends_training(self) -> bool:
        """Whether an exit here and now is the end of a training, after which the network is tested."""
        return _own_process() == self._process and _this_thread() != self._tester and self._trained()


def _ends(number: int) -> bool:
    """Whether a signal ends a process that has no handler for it."""
    if sys.platform == "win32" or number == signal.SIGKILL:
        return True
    harmless = {0, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
    stopping = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
    return number not in harmless | stopping and signal.getsignal(number) == signal.SIG_DFL


def _begin_of_script(words: list[str]) -> int:
    """Where a command that starts a Python names the script; 0: it starts something else."""
    names = [PurePath(word).name for word in words]
    python = bool(names) and names[0].startswith("python")
    return names.index(SCRIPT) if python and SCRIPT in names else 0


def flush() -> None:
    """Hand on what is printed and not written yet; nothing that the script made is asked."""
    for stream in _STREAMS:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def errors() -> TextIO:
    """Where the worker itself complains."""
    return _STREAMS[1]
