"""What a student sees meanwhile: the script's own lines, and one line of the grader's that says how training goes."""

import codecs
import shutil
import time
from typing import TextIO

from grader.progress import Event, Plan, Printed, Stage
from grader.report.pace import Running, Scene, after, training_line, worth_a_line

MARK = "  | "


class Display:
    """Writes to a terminal, where its own line is written anew, or to a file, where that comes now and then.

    Plain characters and carriage returns only: every terminal knows these, a notebook's too.
    """

    def __init__(self, stream: TextIO, plan: Plan) -> None:
        self._stream, self._plan = stream, plan
        self._scene = Scene(time.monotonic())
        self._told: Running | None = None
        self._shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._unfinished = ""

    def watch(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, Printed):
            *lines, self._unfinished = (self._unfinished + self._decoder.decode(event.chunk)).split("\n")
            for line in lines:
                self._line(MARK + _last_writing(line))
        else:
            self._scene = after(self._scene, event, self._plan, time.monotonic())
            if not self._stream.isatty():
                self._tell()
        self._draw(self._status() if self._stream.isatty() else "")

    def close(self) -> None:
        """Write the script's last line, also where it did not end it, and take the own line away."""
        if self._unfinished:
            self._line(MARK + _last_writing(self._unfinished))
        self._draw("")

    def _tell(self) -> None:
        for run in self._scene.running:
            stage_is_new = self._told is None or self._told.stage is not run.stage
            if stage_is_new or (self._told and worth_a_line(self._told, run, self._plan)):
                self._line(self._status())
                self._told = run

    def _status(self) -> str:
        for run in self._scene.running:
            if run.stage is Stage.TRAINING and run.seconds is not None:
                return f"training: {training_line(run, self._plan, time.monotonic())}"
            return f"{run.stage} ..."
        return ""

    def _line(self, text: str) -> None:
        self._draw("")
        print(_writable(text, self._stream), file=self._stream, flush=True)

    def _draw(self, text: str) -> None:
        """Put a text in the place of the one that was drawn before; the last column stays free, or it would wrap."""
        text = text[: shutil.get_terminal_size().columns - 1]
        if text != self._shown:
            print(f"\r{text.ljust(len(self._shown))}" + ("" if text else "\r"), end="", file=self._stream, flush=True)
            self._shown = text


def _last_writing(line: str) -> str:
    """What a line shows in the end: a progress bar writes itself anew after each carriage return."""
    return line.rstrip("\r").rpartition("\r")[2]


def _writable(text: str, stream: TextIO) -> str:
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
