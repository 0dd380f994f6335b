"""Scripts on a GPU: bare one by one, and graded one, 8 and 16 at a time, with CUDA graphs, with MPS and with both."""

import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Annotated

import typer

from gpu_table import BARE, Row, device_name, read_rows, table
from gpu_table import TITLE as GPU_TITLE
from grader.assignment import Assignment
from grader.records import CUDA_GRAPHS
from results import RESULTS, Out, write_section
from small_class import rules
from training import bare_times, graded, least_shares
from workloads import WORKLOADS, Workload, write_data

# In which torch sets itself up; a whole run has tens of thousands.
_FIRST_STEPS = 20
# A run that hangs must not take what is left of a card that was lent.
_MOST_SECONDS = 150
_OPTIMIZATIONS = ("batched-transforms", "own-loading", "batched-draws", "channels-last", "fused-steps")
# For ten to twenty seconds of training on an H100, of each script when so many train at once.
_STEPS = {1: 2000, 8: 1000, 16: 1000}
# Graphs are captured only where 200 steps are left.
_FEWEST_STEPS = 260
_BARE_STEPS = 500


@dataclass(frozen=True, slots=True)
class Way:
    """How scripts are trained; `jobs` 0: bare."""

    jobs: int
    graphs: bool = False
    mps: bool = False

    @property
    def name(self) -> str:
        return ", ".join([f"JOBS={self.jobs}", *["graphs"] * self.graphs, *["MPS"] * self.mps]) if self.jobs else BARE

    def steps(self, batch_size: int) -> int:
        """Of each script: more where they are faster."""
        # What a capture costs weighs little in a whole run, and no more in a row of so many steps.
        faster = 4 if self.graphs and self.jobs == 1 else 2 if self.mps else 1
        slower = 1 if batch_size < 32 else 2
        return (_STEPS[self.jobs] * faster if self.jobs else _BARE_STEPS) // slower


_ALONE = (Way(0), Way(1), Way(1, graphs=True))
_KINDS = ((False, False), (True, False), (False, True), (True, True))
# Sixteen before eight: where the time is cut, the limit of the card is known.
_MANY = tuple(Way(jobs, *kind) for jobs in (16, 8) for kind in _KINDS)


def gpu(
    out: Out = RESULTS,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Rows whose name has all of these words: 'batch 4, graphs'; may be given again."),
    ] = None,
    missing: Annotated[bool, typer.Option(help="Only rows that the table does not have.")] = False,
    minutes: Annotated[float, typer.Option(help="Begin no row after so long.")] = 8,
    scale: Annotated[float, typer.Option(help="So many times the steps; below 1 to try it out.")] = 1,
) -> None:
    """Train typical scripts at batch 4 and 32 and the reference in each way; write each row as soon as it is known."""
    began, device = time.monotonic(), device_name()
    rows = read_rows(out, device)
    for workload, way in _order():
        name = f"{workload.name}, {way.name}"
        asked = not only or any(set(part.split(", ")) <= set(name.split(", ")) for part in only)
        if not asked or (missing and (workload.name, way.name) in rows):
            continue
        if time.monotonic() - began > 60 * minutes:
            _say(f"{name}: not begun, {minutes:g} minutes are over; --missing goes on from here")
        elif way.mps and "sharing" not in Assignment.model_fields:
            _say(f"{name}: skipped, the assignment has no `sharing`")
        elif row := _measured(workload, way, scale):
            rows[row.key] = row
            in_order = [rows[key] for each, how in _order() if (key := (each.name, how.name)) in rows]
            write_section(out, GPU_TITLE, table(in_order, device))
            _say(f"{time.monotonic() - began:4.0f} s: {row.line(rows.get((row.scripts, BARE)))}")
    _say(f"results: {out}; {time.monotonic() - began:.0f} s")


def _order() -> Iterator[tuple[Workload, Way]]:
    small, large, reference = WORKLOADS
    for workload, ways in ((small, (*_ALONE, *_MANY)), (reference, _ALONE), (large, (*_ALONE, *_MANY))):
        yield from ((workload, way) for way in ways)


def _measured(workload: Workload, way: Way, scale: float) -> Row | None:
    """One row; None where it failed, which is said."""
    steps = max(_FEWEST_STEPS if scale >= 1 else 6, round(scale * way.steps(workload.batch_size)))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        # A bare script is cut in its first epoch, as the grader cuts its own at the end of theirs.
        images = workload.batch_size * (steps if way.jobs else steps + 10)
        scripts = replace(workload, train_images=images, submissions=max(1, way.jobs))
        data = write_data(scripts, folder)
        try:
            return _graded(scripts, way, folder, data) if way.jobs else _bare(scripts, steps, folder)
        except (SystemExit, Exception) as failed:  # the card is lent: the other rows are measured all the same
            _say(f"{workload.name}, {way.name}: failed: {type(failed).__name__}: {failed}")
            return None


def _bare(workload: Workload, steps: int, folder: Path) -> Row:
    began = time.monotonic()
    times = bare_times(workload.script_of(0), folder, steps)["times"]
    wall, first = time.monotonic() - began, min(_FIRST_STEPS, len(times) // 2)
    a_step = (times[-1] - times[first]) / (len(times) - 1 - first)
    return Row(workload.name, BARE, 1000 * a_step, 1 / a_step, 1.0, wall - (times[-1] - times[0]), "")


def _graded(workload: Workload, way: Way, folder: Path, data: Path) -> Row:
    names = (*_OPTIMIZATIONS, CUDA_GRAPHS) if way.graphs else _OPTIMIZATIONS
    quoted = ", ".join(f'"{name}"' for name in names)
    own = rules(folder / "rules.toml", acceleration=f"[{quoted}]", epochs=1, extra_runs=0)
    if way.mps:
        text = re.sub(r"(?m)^sharing = .*\n", "", own.read_text(encoding="utf-8"))
        own.write_text(f'sharing = "mps"\n{text}', encoding="utf-8")
    options = ("--assignment", str(own))
    watched, entries = graded(way.jobs, workload, folder, data, *options, most_seconds=_MOST_SECONDS)
    short = [
        entry
        for entry in entries
        if entry.run.training.samples != workload.train_images or entry.run.training.batches == 0
    ]
    if short or len(entries) != way.jobs:
        said = {f"{entry.outcome}: {entry.run.error}; {'; '.join(entry.run.notes)}" for entry in short}
        raise SystemExit(f"{len(entries) - len(short)} of {way.jobs} trained to their end; {said}")
    for told in {told for entry in entries for told in entry.run.notes}:
        _say(f"  a note: {told}")
    a_step = mean(entry.run.training.seconds / entry.run.training.batches for entry in entries)
    first, last = min(watched.training.values()), max(watched.testing.values())
    together = (min(watched.testing.values()) - max(watched.training.values())) / (last - first)
    used = ", ".join(f"{lever} {share:.0%}" for lever, share in least_shares(entries).items() if share)
    beside = watched.ended[0] - (last - first)
    return Row(workload.name, way.name, 1000 * a_step, way.jobs / a_step, max(0.0, together), beside, used)


def _say(line: str) -> None:
    """At once, also where the output is a pipe: a machine that is taken away keeps nothing."""
    print(line, flush=True)
