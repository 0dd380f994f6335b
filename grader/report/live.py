"""The display while a class is graded: a live table on a terminal, plain lines in a log."""

import threading
from collections import defaultdict
from contextlib import suppress
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from grader.progress import Advanced, Event, Left, Notice, Plan, Printed, Stage, StageBegun
from grader.report.live_area import live_area, stage_line
from grader.report.output import OutputLines
from grader.report.pace import Running, Scene, after, training_line, with_result, worth_a_line
from grader.report.terminal import one_line, result_line
from grader.results.entries import Result

SECONDS_BETWEEN_DRAWINGS = 0.25
# What a script prints faster than this for each drawing is left out, so that it neither waits nor fills the memory.
MOST_LINES_WAITING = 1_000


class Display:
    """Shows what happens, from the start of the context to its end; nothing that it does can stop the grading.

    One thread of its own writes to the console, so that whoever tells an event never waits for a terminal, and no two
    threads move the cursor. At the end of the context, also by an exception, the live area is gone, the cursor is
    back, and every line has been written.
    """

    def __init__(self, console: Console, plan: Plan, show_output: bool = False) -> None:
        """Prepare the display.

        Args:
            console: A terminal gets the live table; a file, a pipe, and a terminal that cannot draw it get plain lines.
            show_output: Also what the scripts print, line by line, without a name: for one submission alone.
        """
        self._console = console
        self._plan = plan
        self._show_output = show_output
        self._live: Live | None = None
        if console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf"):
            self._live = Live(console=console, auto_refresh=False, transient=True)
        self._lock = threading.Lock()
        self._scene = Scene(console.get_time())
        self._told: dict[str, Running] = {}
        self._output: defaultdict[str, OutputLines] = defaultdict(OutputLines)
        self._lines: list[str] = []
        self._left_out = 0
        self._closing = threading.Event()
        self._drawing = threading.Thread(target=self._draw_until_closed, name="display", daemon=True)

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._live is not None:
            self._live.start()
        self._drawing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is still to be written, and leave the terminal as it was."""
        with self._lock:
            for output in self._output.values():
                self._add_output(output.feed(b"", final=True))
            self._output.clear()
        try:
            self._closing.set()
            self._drawing.join()
        finally:
            # A console that cannot be written to any more, such as a full disk, is no reason to lose the results.
            with suppress(OSError):
                if self._live is not None:
                    self._live.stop()

    def watch(self, event: Event) -> None:
        """Take in an event, from any thread."""
        with self._lock:
            if isinstance(event, Notice):
                self._lines.append(one_line(event.sentence))
            elif not isinstance(event, Printed):
                self._take_in(event)
            elif self._show_output:
                self._add_output(self._output[event.student_id].feed(event.chunk))

    def graded(self, result: Result) -> None:
        """Take in a student's result."""
        with self._lock:
            self._scene = with_result(self._scene, result)
            self._lines.append(result_line(result))

    def _take_in(self, event: StageBegun | Advanced | Left) -> None:
        now = self._console.get_time()
        self._scene = after(self._scene, event, self._plan, now)
        if not isinstance(event, Advanced) and event.student_id in self._output:
            self._add_output(self._output.pop(event.student_id).feed(b"", final=True))
        if self._live is None:
            self._tell(event, now)

    def _tell(self, event: StageBegun | Advanced | Left, now: float) -> None:
        run = next((run for run in self._scene.running if run.student_id == event.student_id), None)
        if run is None:
            return
        name = one_line(run.student_id)
        if isinstance(event, StageBegun):
            self._lines.append(f"{name}: {stage_line(run)}")
            self._told[run.student_id] = run
        elif run.stage is Stage.TRAINING and worth_a_line(self._told[run.student_id], run, self._plan):
            self._lines.append(f"{name}: {training_line(run, self._plan, now)}")
            self._told[run.student_id] = run

    def _add_output(self, lines: list[str]) -> None:
        room = max(0, MOST_LINES_WAITING - len(self._lines))
        self._lines += lines[:room]
        self._left_out += len(lines[room:])

    def _draw_until_closed(self) -> None:
        with suppress(OSError):
            while not self._closing.wait(SECONDS_BETWEEN_DRAWINGS):
                self._draw()
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
            left_out, self._left_out = self._left_out, 0
        if left_out:
            lines.append(f"({left_out} lines of output are not shown)")
        encoding = self._console.encoding
        with self._console:
            if lines:
                text = "\n".join(lines).encode(encoding, "replace").decode(encoding)
                self._console.print(Text(text), soft_wrap=True)
            if self._live is not None:
                self._live.update(self._live_area(), refresh=True)

    def _live_area(self) -> RenderableType:
        with self._lock:
            scene = self._scene
            unfinished = next((line for output in self._output.values() if (line := output.unfinished)), "")
        return live_area(scene, self._plan, self._console.get_time(), self._console.size.height, unfinished)
