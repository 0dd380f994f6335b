"""What is drawn while a class is graded: the table of running submissions, and how far the class is."""

from rich import box
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from grader.progress import Plan, Stage
from grader.report.pace import (
    Running,
    Scene,
    class_left,
    duration,
    epochs_text,
    loss_text,
    rate_text,
    run_left,
)
from grader.report.terminal import one_line, points_counts

# Header, rule, "and more", a blank line, three lines below the table, and one for what scrolls.
_OTHER_LINES = 8


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
