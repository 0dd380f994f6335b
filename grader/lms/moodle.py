"""Moodle: what its archive and its grading worksheet hold, after mod/assign (downloader.php, gradingtable.php).

Read: "Download all submissions", `<Full name>_<id>_assignsubmission_file_/<file>`; older ones have no folder. The id is
that of `Participant <id>` in the worksheet. There is one attempt each, the last, and there are no times: extensions and
what comes after the grading are Moodle's to decide. A group's attempt is there once, under the group's name and number,
which is no participant's: nobody is on the worksheet under it, or somebody of another name, whom `review` names. An
older Moodle, as we remember it, hands it out once for each member, as `<Group>-<Full name>_<id>`.

Read and written: the worksheet, `Identifier, Full name, ...`. Moodle takes back a grade and the feedback, and passes
over a row whose grade was changed after the download, or is blank; a word goes to its reader of numbers
(feedback/offline/importgradesform.php), which, as we take it, makes 0 of it. Its headers must be English, and commas
between them are what it expects.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from grader.lms.archive import Handed
from grader.lms.attempts import SystemAttempt
from grader.lms.files import Known
from grader.lms.gradebook import Gradebook, same_name
from grader.records import Decision, Status

NAME = re.compile(r"(?P<who>[^/]*?)_(?P<id>\d+)_assignsubmission_(?P<kind>[a-z]+)_?/?(?P<file>.*)", re.DOTALL)


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
    name_of=lambda row: row.get("Full name", ""),
    feedback="Feedback comments",
    waiting=re.compile("-"),
    takes_words=False,
)


def attempts(files: Sequence[Handed], known: Known) -> Iterator[SystemAttempt | Decision]:
    """Give everybody's one attempt, and every entry that belongs to none."""
    held: dict[str, list[Handed]] = defaultdict(list)
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
            entries.append(Handed(name["file"], file.stored))
        else:
            texts[name["id"]].append((file.stored.shown, "what the student wrote into Moodle"))
    # Marked blindly, all bear the word for a participant, in Moodle's language.
    blind = len(folders) > 1 and len(set(folders.values())) == 1
    for student_id, entries in held.items():
        remarks = () if blind else tuple(_of_another(folders[student_id], student_id, known))
        yield SystemAttempt(student_id, "the attempt", tuple(entries), None, False, tuple(texts[student_id]), remarks)


def _of_another(folder: str, student_id: str, known: Known) -> Iterator[str]:
    """Say so where the archive calls a number by another name than the worksheet does; some signs are lost in it."""
    name = next((names[student_id] for names in known if student_id in names), "")
    hyphens = [sign.end() for sign in re.finditer("-", folder)]
    if name and not any(same_name(name, folder[start:]) for start in (0, *hyphens)):
        yield (
            f"Moodle names the folder after {folder}, and the worksheet calls participant {student_id} {name}: "
            "a group's attempt bears the group's number"
        )
