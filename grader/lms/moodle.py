"""Moodle: what its archive and its grading worksheet hold, after mod/assign (downloader.php, gradingtable.php).

Read: "Download all submissions", `<Full name>_<id>_assignsubmission_file_/<file>`; older ones have no folder. The id is
that of `Participant <id>` in the worksheet. There is one attempt each, the last, and there are no times: extensions and
what comes after the grading are Moodle's to decide. A group's attempt is there once, under the group's name and number,
which is no participant's: nobody is on the worksheet under it, or somebody of another name, whom `review` names. An
older Moodle, as we remember it, hands it out once for each member, as `<Group>-<Full name>_<id>`.

Read and written: the worksheet, `Identifier, Full name, ...`. Moodle takes back a grade and the feedback, and passes
over a row whose grade was changed after the download, is blank, or is locked ("Grade can be changed: No"); a word goes
to its reader of numbers (feedback/offline/importgradesform.php), which, as we take it, makes 0 of it. It expects
commas, and its headers in the language in which you upload. In another language than English the columns are told by
their places (gradingtable.php has one order): the participant first, the grade before the maximum grade. All of them go
back then, and no message is written, since the column for it cannot be told.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from grader.lms.attempts import SystemAttempt
from grader.lms.files import Known, NamedFile, name_of
from grader.lms.gradebook import Gradebook, same_name
from grader.records import Decision, Status

NAME = re.compile(r"(?P<who>[^/]*?)_(?P<id>\d+)_assignsubmission_(?P<kind>[a-z]+)_?/?(?P<file>.*)", re.DOTALL)


_MOST, _SCALE, _CHANGES = "Maximum grade", "Scale", "Grade can be changed"
_NUMBER_OR_NONE = re.compile(r"\d+(?:[.,]\d+)?|-|")
_SCORE_OR_WORD = re.compile(rf"{_NUMBER_OR_NONE.pattern}|[^@]{{1,20}}")
# "No" in Moodle's languages: ar, ca, de, el, es, eu, fr, it, ja, ko, lt, nl, pt, ro, ru, sv, tr, uk, ur, zh.
_NO = re.compile("no|لا|nein|όχι|ez|non|아니오|ne|nee|não|nu|нет|nej|hayır|ні|نہیں|否", re.IGNORECASE)


def _in_english(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Moodle writes `Maximum grade`, and wrote `Maximum Grade`; in another language, places and cells tell."""
    names = [_MOST if name.casefold() == _MOST.casefold() else name for name in columns]
    rows = [row for row in rows if any(row)]
    if "Identifier" in names or not rows or not all(re.fullmatch(r"\D+\d+", row[0]) for row in rows):
        return names
    # A student's numbers may look so too, where all have the same one: then nothing is told.
    told = [place for place in range(3, len(names)) if _is_maximum(place, rows)]
    if len(told) == 1:
        (most,) = told
        names[0], names[most - 1], names[most] = "Identifier", "Grade", _MOST
        # Where names are hidden, the status comes second, which many share.
        if len({row[1] for row in rows}) * 2 > len(rows):
            names[1] = "Full name"
    return names


def _is_maximum(place: int, rows: Sequence[Sequence[str]]) -> bool:
    """Whether a column has one number for all, and the one before it numbers and none, and perhaps words as well."""
    most = {row[place] if place < len(row) else "" for row in rows}
    (number, *others) = most
    numeric = bool(number) and number != "-" and not others and _NUMBER_OR_NONE.fullmatch(number) is not None
    before = [row[place - 1] for row in rows if place <= len(row)]
    return numeric and any(map(_NUMBER_OR_NONE.fullmatch, before)) and all(map(_SCORE_OR_WORD.fullmatch, before))


def _doubts(columns: Mapping[str, int], _: str, scored: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if _SCALE in columns and _MOST not in columns:
        yield "Moodle grades this on a scale and passes over points: let the assignment's grade be points, not a scale"
    after = columns.get(_MOST, len(columns)) + 1
    # In another language it is the next column, or the one behind the state of a workflow.
    place = slice(columns[_CHANGES], columns[_CHANGES] + 1) if _CHANGES in columns else slice(after, after + 2)
    locked = [user for user, row in scored.items() if any(map(_NO.fullmatch, row[place]))]
    if locked:
        yield (
            f"Moodle will not take the grade of {', '.join(locked)}: the worksheet says that it cannot be changed, as "
            "where it is locked or overridden in Moodle's gradebook; unlock it there, or enter the grade there"
        )
    if "Last modified (grade)" not in columns:
        yield (
            "the worksheet is not in English: upload it in the language in which you downloaded it; messages are not "
            "written, and Moodle may not read its own dates, so it may pass over who has a grade already unless you "
            "allow it to update records that were modified more recently"
        )


def _participant(cell: str) -> str:
    """`Participant 37` in whatever language."""
    number = re.search(r"\d+$", cell, re.ASCII)
    return number[0] if number else ""


GRADEBOOK = Gradebook(
    "Moodle",
    key="Identifier",
    shapes=(("Identifier",),),
    needed=frozenset({"Last modified (grade)"}),
    score=re.compile("Grade"),
    id_of=_participant,
    # The name of somebody who is suspended is markup.
    name_of=lambda row: re.sub(r"<[^>]*>", "", row.get("Full name", "")).strip(),
    feedback="Feedback comments",
    waiting=re.compile("-"),
    takes_words=False,
    english=_in_english,
    doubts=_doubts,
)


def attempts(files: Sequence[NamedFile], known: Known) -> Iterator[SystemAttempt | Decision]:
    """Give everybody's one attempt, and every entry that belongs to none."""
    held: dict[str, list[NamedFile]] = defaultdict(list)
    texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    folders: dict[str, str] = {}
    for file in files:
        name = NAME.fullmatch(file.name)
        if name is None:
            yield Decision(file.stored.shown, "", Status.UNRECOGNISED, "its name is not one that Moodle gives")
            continue
        entries = held[name["id"]]
        folders[name["id"]] = name["who"]
        if name["kind"] == "file":
            entries.append(NamedFile(name["file"], file.stored))
        else:
            texts[name["id"]].append((file.stored.shown, "what the student wrote into Moodle"))
    # Marked blindly, all bear the word for a participant, in Moodle's language.
    blind = len(folders) > 1 and len(set(folders.values())) == 1
    for student_id, entries in held.items():
        remarks = () if blind else tuple(_of_another(folders[student_id], student_id, known))
        yield SystemAttempt(student_id, "the attempt", tuple(entries), None, False, tuple(texts[student_id]), remarks)


def _of_another(folder: str, student_id: str, known: Known) -> Iterator[str]:
    """Say so where the archive calls a number by another name than the worksheet does; some signs are lost in it."""
    name = name_of(student_id, known)
    hyphens = [sign.end() for sign in re.finditer("-", folder)]
    if name and not any(same_name(name, folder[start:]) for start in (0, *hyphens)):
        yield (
            f"Moodle names the folder after {folder}, and the worksheet calls participant {student_id} {name}: "
            "a group's attempt bears the group's number"
        )
