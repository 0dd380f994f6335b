"""The student's page: `feedback/<student>.md` and `.html`, about this student alone and for nobody else."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from grader.assignment import Assignment, Band
from grader.report.page import policy, text_of
from grader.report.view import add_filters, environment
from grader.results.entries import Result
from grader.text import file_key, one_line, write_private

FEEDBACK_NAME = "feedback"
# Whatever else would be read as Markdown or HTML: a student's error is quoted, and stays text.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>&#|~])")


def write_feedback(results: Iterable[Result], assignment: Assignment, folder: Path) -> None:
    """Write two files for each student, each in one step and readable by their owner alone.

    Raises:
        UserError: Nothing can be written there.
    """
    templates = _templates(assignment)
    for result in results:
        name = file_key(result.submission.student_id)
        for suffix, template in templates.items():
            page = template.render(
                submission=result.submission, grade=result.grade, entry=result.entry, runs=len(result.runs)
            )
            # `make report` writes all of them anew; of 10,000 students they are 20,000 files, each a wait for the disk.
            write_private(folder / f"{name}{suffix}", page.encode(), flush=False)


def band_words(band: Band) -> str:
    """Say which accuracies a band takes."""
    if band.edge is None:
        return "less"
    return f"{'more than' if band.above is not None else 'from'} {float(band.edge):g} %"


def _templates(assignment: Assignment) -> dict[str, Template]:
    """The page in each form, by its suffix, with what is the same for everyone."""
    style = text_of("page.css") + text_of("feedback.css")
    same = {
        "assignment": assignment,
        "bands": assignment.bands,
        "band_words": band_words,
        "policy": policy(style),
        "style": Markup(style),
    }
    made = {".html": environment(), ".md": _markdown_environment()}
    return {suffix: form.get_template(f"feedback{suffix}", globals=same) for suffix, form in made.items()}


def _markdown_environment() -> Environment:
    made = Environment(
        loader=PackageLoader("grader.report"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_in_markdown,
    )
    add_filters(made)
    return made


def _in_markdown(value: Any) -> Any:
    return _MARKDOWN.sub(r"\\\1", one_line(value)) if isinstance(value, str) else value
