"""The commands that write what others get: export for a learning system, and zips for students and Gradescope."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from grader.assignment import Assignment
from grader.cli.options import (
    DEFAULT_OUT,
    Out,
    app,
    collected,
    data_notice,
    last_run_key,
    named,
    remembered,
    say,
    setting,
)
from grader.errors import UserError
from grader.lms import System
from grader.lms.gradebook import examples
from grader.lms.gradescope import results_json
from grader.lms.upload import Upload, filled_in
from grader.pipeline import results
from grader.results.entries import Result
from grader.results.ledger import read_ledger
from grader.student.handout import write_autograder, write_handout
from grader.text import counted, file_key, write_private


@app.command("export")
def export_command(
    system: Annotated[
        System,
        typer.Argument(help="The learning system that takes the grades.", envvar="GRADER_LMS", case_sensitive=False),
    ],
    gradebook: Annotated[
        Path | None,
        setting("GRADEBOOK", "The gradebook that you downloaded; by default the roster, if that is one."),
    ] = None,
    column: Annotated[str, setting("COLUMN", "The column's name or a part of it, if several columns fit.")] = "",
    out: Out = DEFAULT_OUT,
) -> None:
    """Write the grades into a copy of the gradebook that you downloaded; it lies in OUT/upload."""
    inputs = remembered(out, named(None))
    rules = inputs.rules()
    ledger = read_ledger(out)
    run_key = last_run_key(ledger, out)
    rows = results(collected(inputs, rules, out).submissions, rules, ledger, run_key)
    say("")
    if notice := data_notice(ledger, run_key):
        say(notice)
    if not_final := [row.submission.student_id for row in rows if row.due and row.grade.points is not None]:
        say(f"not final, another run is due (make grade): {', '.join(not_final)}")
    if system is System.GRADESCOPE:
        _write_gradescope(rows, rules, out / "upload" / "gradescope")
        return
    path = gradebook or (Path(inputs.roster) if inputs.roster else None)
    if path is None:
        raise UserError(f"GRADEBOOK= is missing: name the file that {system.capitalize()} let you download")
    _write_filled_in(path, system, rows, rules, out / "upload" / path.name, column)


@app.command("handout")
def handout_command(
    target: Annotated[Path, typer.Argument(help="The zip file to write.")] = Path("dist/hw6-handout.zip"),
) -> None:
    """Write one zip file for the students, with the self-check and the trial run."""
    _write_zip(write_handout, target)


@app.command("prevalidate")
def prevalidate_command(
    target: Annotated[Path, typer.Argument(help="The zip file to write.")] = Path("dist/autograder.zip"),
) -> None:
    """Write Gradescope's autograder.zip, which checks each upload at once and gives no points."""
    _write_zip(write_autograder, target)
    say("next: Gradescope > the assignment > Configure Autograder; grader/docs/teacher.md says with which settings")


def _write_zip(write: Callable[[Path], None], target: Path) -> None:
    try:
        write(target)
    except OSError as error:
        raise UserError(f"cannot write {target} ({error.strerror}): name another file") from None
    say(str(target))


def _write_filled_in(
    path: Path, system: System, rows: Sequence[Result], rules: Assignment, target: Path, column: str
) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot open GRADEBOOK={path} ({error.strerror}): name the file that you downloaded") from None
    upload = filled_in(content, system, rows, rules.most_points, Path(rules.file).stem, column)
    if upload.of_another_class:
        raise UserError(
            f"{path} is not the gradebook of this class: it lists {examples(upload.only_listed)}, and you graded "
            f"{examples(upload.only_graded)}; name your class's with GRADEBOOK=, or grade with it as ROSTER="
        )
    write_private(target, upload.content)
    _say_what_changes(upload)
    say(f"\nupload: {target}")


def _say_what_changes(upload: Upload) -> None:
    changed = [score for score in upload.scores if score.before != score.after]
    say(f"column: {upload.column}")
    say(f"scores that change: {len(changed)}; that stay: {len(upload.scores) - len(changed)}")
    for score in changed:
        say(f"  {score.student_id}: {score.before or 'none'} -> {score.after}{', less than before' * score.falls}")
    lists = (
        ("unchanged, because they have no points yet", upload.without_points),
        (
            "unchanged, because a word stands in place of the score (make override sets points instead)",
            [f"{student_id} ({word})" for student_id, word in upload.decided],
        ),
        ("graded, but not in the gradebook", upload.only_graded),
        ("unchanged, because they are only in the gradebook", upload.only_listed),
    )
    for what, students in lists:
        if students:
            say(f"{what}: {', '.join(students)}")
    for notice in upload.notices:
        say(notice)


def _write_gradescope(rows: Sequence[Result], rules: Assignment, folder: Path) -> None:
    made = {row.submission.student_id: results_json(row, rules.most_points) for row in rows}
    written = {folder / f"{file_key(student_id)}.json": content for student_id, content in made.items() if content}
    for path, content in written.items():
        write_private(path, content)
    # Of an earlier export: whoever has no points now, or is no longer in the class.
    for path in set(folder.glob("*.json")) - written.keys():
        path.unlink()
    say(f"written: {counted(len(written), 'result')}")
    if left_out := [student_id for student_id, content in made.items() if content is None]:
        say(f"left out, because they have no points yet: {', '.join(left_out)}")
    say(f"\nfiles: {folder}")
    say("Gradescope takes such a file from an autograder only, as its results/results.json for that student.")
