"""A pseudo-terminal, and an emulator that shows what a person would see on it."""

import fcntl
import os
import pty
import struct
import termios
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import pyte

ENVIRONMENT = {"TERM": "xterm-256color"}


class Terminal:
    """Somebody who looks at a terminal of a given size."""

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._changed = threading.Condition()
        self._master, self.descriptor = pty.openpty()
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        os.close(self._master)

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without blanks at the ends of lines and empty lines at the end."""
        with self._changed:
            return "\n".join(line.rstrip() for line in self._screen.display).rstrip("\n").split("\n")

    @property
    def cursor_is_shown(self) -> bool:
        with self._changed:
            return not self._screen.cursor.hidden

    def wait(self, condition: Callable[[list[str]], bool]) -> list[str]:
        """The lines of the screen as soon as they fulfil a condition."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.lines), timeout=30), self.lines
            return self.lines

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def hang_up(self) -> None:
        """Wait until everything that was written is on the screen; nothing can be written after that."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        self._reader.join()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65_536)
            except OSError:  # Linux says EIO when nobody holds the other end any more
                return
            with self._changed:
                self._stream.feed(data)
                self._changed.notify_all()
