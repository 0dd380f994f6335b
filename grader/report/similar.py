"""Pairs of submissions that are close, once names, comments, layout and the template's own text are set aside.

By copydetect: tokens without names, their k-grams' fingerprints (winnowing; Schleimer, Wilkerson and Aiken, 2003), less
those of the template. A pair is a place to look: it accuses nobody, and no points move.
"""

import heapq
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from grader.assignment import TEMPLATE
from grader.records import Submission
from grader.report.page import environment, policy, text_of
from grader.text import notebook_code, shown_source, write_private

SIMILAR_NAME = "similar.html"
# Tokens: shorter matches are what any two scripts for one assignment share.
_NOISE, _WINDOW = 25, 1
# A homework has some 10 KB. What is far larger carries data, and would keep everyone waiting.
MOST_BYTES = 200_000

_NOTHING = np.array([], dtype=np.int64)

Pieces = tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Side:
    """One submission of a pair.

    Attributes:
        share: Of its own code, in percent, what the other has too.
        pieces: Its text in order, each with whether the other has it too.
    """

    student_id: str
    name: str
    share: float
    pieces: Pieces


@dataclass(frozen=True, slots=True)
class Pair:
    """Two submissions that are close."""

    first: Side
    second: Side

    @property
    def share(self) -> float:
        """The larger of the two shares: a copy with much added is a copy."""
        return max(self.first.share, self.second.share)


def find_similar(submissions: Iterable[Submission], least_percent: float, most_pairs: int) -> list[Pair]:
    """Compare everyone with everyone; the closest pair comes first.

    Args:
        least_percent: Pairs below that are left out.
        most_pairs: The closest so many are kept.
    """
    from copydetect import compare_files  # here: it imports matplotlib, 0.7 s that no other command needs

    given = (TEMPLATE / "hw6.py").read_text(encoding="utf-8")
    template = np.array(sorted(_fingerprint(given, _NOTHING).hashes))
    prints = [(submission, _fingerprint(text, template)) for submission, text in _texts(submissions)]
    # Ties are broken by place, since fingerprints have no order.
    close = (
        (share, -place, one, other)
        for place, (one, other) in enumerate(itertools.combinations(prints, 2))
        if (share := 100 * max(compare_files(one[1], other[1])[1])) >= least_percent
    )
    closest = heapq.nlargest(most_pairs, close, key=lambda found: found[:2])
    return [_pair(one, other, compare_files(one[1], other[1])) for _, _, one, other in closest]


def _pair(one: tuple[Submission, Any], other: tuple[Submission, Any], compared: Any) -> Pair:
    _, shares, slices = compared
    first, second = (
        Side(who.student_id, who.name, round(100 * float(share), 1), _pieces(code.raw_code, where))
        for (who, code), share, where in zip((one, other), shares, slices, strict=True)
    )
    return Pair(first, second)


def _texts(submissions: Iterable[Submission]) -> Iterator[tuple[Submission, str]]:
    for submission in submissions:
        if submission.content and len(submission.content) <= MOST_BYTES:
            text = shown_source(submission.content)
            yield submission, notebook_code(text) or text


def _fingerprint(text: str, template: npt.NDArray[np.int64]) -> Any:
    from copydetect import CodeFingerprint  # here, as above

    return CodeFingerprint("hw6.py", _NOISE, _WINDOW, boilerplate=template, language="python", fp=io.StringIO(text))


def _pieces(text: str, where: object) -> Pieces:
    """Cut a text at the edges of what is shared; overlapping stretches count once."""
    shared = np.zeros(len(text) + 1, dtype=bool)
    starts, ends = np.asarray(where).reshape(2, -1) if np.asarray(where).size else ((), ())
    for start, end in zip(starts, ends, strict=True):
        shared[int(start) : int(end)] = True
    edges = [0, *(np.flatnonzero(np.diff(shared[:-1])) + 1).tolist(), len(text)]
    return tuple((text[start:end], bool(shared[start])) for start, end in itertools.pairwise(edges) if start < end)


def write_similar(pairs: Sequence[Pair], least_percent: float, path: Path) -> None:
    """Write the page of similar submissions, in one step and readable by its owner alone.

    Raises:
        UserError: Nothing can be written there.
    """
    style = text_of("page.css") + text_of("similar.css")
    page = environment().get_template("similar.html")
    said = page.render(pairs=pairs, least=least_percent, policy=policy(style), style=Markup(style))
    write_private(path, said.encode())
