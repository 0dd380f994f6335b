"""The page of close pairs, side by side: `similar.html`."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from grader.report.page import policy, text_of
from grader.report.similar import Pair
from grader.report.table import write_private
from grader.report.view import environment

SIMILAR_NAME = "similar.html"


def write_similar(pairs: Sequence[Pair], least_percent: float, path: Path) -> None:
    """Write the page in one step, readable by its owner alone.

    Raises:
        Mistake: Nothing can be written there.
    """
    style = text_of("page.css") + text_of("similar.css")
    page = environment().get_template("similar.html")
    said = page.render(pairs=pairs, least=least_percent, policy=policy(style), style=Markup(style))
    write_private(path, said.encode())
