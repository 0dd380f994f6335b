"""The display while a class is graded: a live table on a terminal, plain lines in a log."""

import threading
from collections import defaultdict
from contextlib import suppress
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from grader.progress import (
    Advanced,
    Event,
    Notice,
    Plan,
    Printed,
    RunEnded,
    Running,
    Scene,
    Stage,
    StageBegun,
    after,
    class_left,
    epochs_text,
    loss_text,
    rate_text,
    run_left,
    training_line,
    with_result,
    worth_a_line,
)
from grader.report.table import points_counts, result_line
from grader.results.entries import Result
from grader.text import OutputLines, duration, one_line

SECONDS_BETWEEN_DRAWINGS = 0.25
# What a script prints faster than this for each drawing is left out, so that it neither waits nor fills the memory.
MOST_LINES_WAITING = 1_000

# Header, rule, "and more", a blank line, three lines below the table, and one for what scrolls.
_OTHER_LINES = 8


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
        copied = result.entry is not None and bool(result.entry.run_of)
        with self._lock:
            self._scene = with_result(self._scene, result.submission.student_id, result.grade.points, copied=copied)
            self._lines.append(result_line(result))

    def _take_in(self, event: StageBegun | Advanced | RunEnded) -> None:
        now = self._console.get_time()
        self._scene = after(self._scene, event, self._plan, now)
        if not isinstance(event, Advanced) and event.student_id in self._output:
            self._add_output(self._output.pop(event.student_id).feed(b"", final=True))
        if self._live is None:
            self._tell(event, now)

    def _tell(self, event: StageBegun | Advanced | RunEnded, now: float) -> None:
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


def live_area(scene: Scene, plan: Plan, now: float, height: int, unfinished: str = "") -> Group:
    """Return the live area, made for a terminal of `height` lines: half of it is left for the results above.

    Args:
        now: On the clock of the scene, in seconds.
        unfinished: A line that a script has not ended yet, to be shown on top; may be empty.
    """
    parts: list[RenderableType] = [_line(unfinished)] if unfinished else []
    most = min(height // 2, height - _OTHER_LINES)
    if scene.running and most > 0:
        # A line that says "and 1 more" could as well be that one.
        shown = scene.running if len(scene.running) <= most + 1 else scene.running[:most]
        parts += [_table(shown, plan, now)]
        if more := len(scene.running) - len(shown):
            parts += [_line(f"and {more} more", style="dim")]
        parts += [Text()]
    parts += [_bar(scene, plan, now)]
    if counts := " · ".join(points_counts(scene.points.values())):
        parts += [_line(f"graded now: {counts}" if plan.done else counts)]
    return Group(*parts)


def stage_line(run: Running) -> str:
    """Return where one run is: its stage, its node where there are several, and why it is made."""
    node = f" on {one_line(run.node)}" if run.node else ""
    detail = f" ({one_line(run.detail)})" if run.detail else ""
    return f"{run.stage}{node}{detail}"


def _table(running: tuple[Running, ...], plan: Plan, now: float) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    # Only these two give way where the terminal is narrow, the wider one first.
    table.add_column("student")
    table.add_column("stage")
    for heading in ("epoch", "images/s", "loss", "time left"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in running:
        table.add_row(*_row(run, plan, now))
    return table


def _row(run: Running, plan: Plan, now: float) -> list[Text]:
    stage = stage_line(run)
    name = _line(one_line(run.student_id))
    if run.seconds is None:
        return [name, _line(stage), *(Text("-", style="dim") for _ in range(4))]
    training = run.stage is Stage.TRAINING
    speed = rate_text(run) if training else "-"
    left = duration(run_left(run, plan, now) if training else None)
    return [name, _line(stage), Text(epochs_text(run, plan)), Text(speed), Text(loss_text(run)), Text(left)]


def _bar(scene: Scene, plan: Plan, now: float) -> Table:
    done, total = plan.done + len(scene.points), plan.done + plan.due
    before = f" ({plan.done} before)" if plan.done else ""
    left, elapsed = duration(class_left(scene, plan, now)), duration(now - scene.begun)
    line = Table.grid(padding=(0, 2, 0, 0), expand=True)
    line.add_column(no_wrap=True)
    line.add_column(ratio=1)
    line.add_row(
        _line(f"{done} of {total} graded{before} · time left {left} · elapsed {elapsed}"),
        ProgressBar(total=max(total, 1), completed=done),
    )
    return line


def _line(text: str, style: str = "") -> Text:
    # A `Text` is never read as markup. It is cut by itself, because a column that must not wrap would not give way.
    return Text(text, style, no_wrap=True, overflow="ellipsis")
