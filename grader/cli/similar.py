"""The command that compares submissions with each other."""

from typing import Annotated

import typer

from grader.cli.console import DEFAULT_OUT, Deadline, Known, Layout, Out, Roster, app, mistakes_in_one_sentence, say
from grader.cli.inputs import collected, named, remembered
from grader.report.similar import MOST_BYTES, find_similar
from grader.report.similar_page import SIMILAR_NAME, write_similar

_MOST_PAIRS = 50
_SHOWN = 10


@app.command("similar")
def similar_command(
    submissions: Known = None,
    roster: Roster = None,
    deadline: Deadline = "",
    out: Out = DEFAULT_OUT,
    layout: Layout = None,
    least: Annotated[float, typer.Option(min=1, max=100, help="Share of one side's own code, in percent.")] = 80,
) -> None:
    """Show pairs of submissions that are close; it accuses nobody, and no points move."""
    with mistakes_in_one_sentence():
        inputs = remembered(out, named(submissions, roster, deadline, layout=layout))
        collection = collected(inputs, inputs.rules(), out)
        for submission in collection.submissions:
            if submission.content and len(submission.content) > MOST_BYTES:
                say(f"  {submission.student_id}: not compared: larger than {MOST_BYTES // 1000} KB")
        pairs = find_similar(collection.submissions, least, _MOST_PAIRS)
        for pair in pairs[:_SHOWN]:
            first, second = pair.first, pair.second
            say(f"{first.student_id} {first.share:.1f} %, {second.student_id} {second.share:.1f} %")
        path = out / SIMILAR_NAME
        write_similar(pairs, least, path)
        say(f"pairs that share at least {least:g} % of one side's own code, {_MOST_PAIRS} at most: {len(pairs)}")
        say(f"side by side: {path}")
