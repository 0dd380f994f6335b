"""The student's page: `feedback/<student>.md` and `.html`, about this student alone and for nobody else."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from grader.assignment import Assignment, Band
from grader.entries import Result
from grader.findings import Finding
from grader.report.page import policy, text_of
from grader.report.table import printable, write_private
from grader.report.view import add_filters, environment, file_key

FEEDBACK_NAME = "feedback"
# Whatever else would be read as Markdown or HTML: a student's error is quoted, and stays text.
_MARKDOWN = re.compile(r"([\\`*_\[\]<>&#|~])")
# Which words of `Finding.where` belong to which section of the handout; the first that is found counts.
_SECTIONS = (
    ("constructor", "3.2"),
    ("forward", "3.2.1"),
    ("stage 1", "3.1.2"),
    ("stage 2", "3.1.3"),
    ("stage 3", "3.1.4"),
    ("stage 4", "3.1.4"),
    ("linear", "3.1.6"),
    ("pool", "3.1.5"),
    ("first convolution", "3.1.1"),
)
_ARCHITECTURE = "3.1"


def write_feedback(results: Iterable[Result], assignment: Assignment, folder: Path) -> None:
    """Write two files for each student, each in one step and readable by their owner alone.

    Raises:
        Mistake: Nothing can be written there.
    """
    in_html, in_markdown = environment(), _markdown_environment()
    for result in results:
        name = file_key(result.submission.student_id)
        for made, suffix in ((in_html, ".html"), (in_markdown, ".md")):
            write_private(folder / f"{name}{suffix}", _render(made, f"feedback{suffix}", result, assignment).encode())


def section_of(finding: Finding) -> str:
    """Name the section of the handout to read on in; empty where the sentence itself names one."""
    if "section" in finding.sentence:
        return ""
    return next((section for words, section in _SECTIONS if words in finding.where), _ARCHITECTURE)


def band_words(band: Band) -> str:
    """Say which accuracies a band takes."""
    if band.edge is None:
        return "less"
    return f"{'more than' if band.above is not None else 'from'} {float(band.edge):g} %"


def _render(made: Environment, template: str, result: Result, assignment: Assignment) -> str:
    style = text_of("page.css") + text_of("feedback.css")
    return made.get_template(template).render(
        assignment=assignment,
        submission=result.submission,
        grade=result.grade,
        entry=result.entry,
        runs=len(result.runs),
        bands=assignment.bands,
        band_words=band_words,
        section_of=section_of,
        policy=policy(style),
        style=Markup(style),
    )


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
    return _MARKDOWN.sub(r"\\\1", " ".join(printable(value).split())) if isinstance(value, str) else value
