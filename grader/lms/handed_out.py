"""Makes what a learning system hands out, an archive's entries and a gradebook: for a rehearsal, and for tests.

The forms are those that the modules beside this one read. Students are given as id, name and score so far.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence

Rows = Sequence[tuple[str, str, str]]


def packed(entries: Mapping[str, bytes]) -> bytes:
    """A zip archive in memory."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def blackboard_attempt(
    title: str, student: str, name: str, time: str, files: Mapping[str, bytes], comments: str = ""
) -> dict[str, bytes]:
    """One attempt's entries: its files, by the names that the student gave them, and Blackboard's .txt.

    Args:
        title: The assignment's, with underscores for blanks.
        time: As `2026-11-20-23-58-03`.
    """
    entries = {blackboard_entry(title, student, time, file): content for file, content in files.items()}
    pairs = [(file, blackboard_entry(title, student, time, file)) for file in files]
    account = blackboard_account(title, student, name, time, pairs, comments)
    return {blackboard_entry(title, student, time): account, **entries}


def blackboard_entry(title: str, student: str, time: str, file: str | None = None) -> str:
    """The name of an entry; without a file, of the attempt's .txt."""
    return f"{title}_{student}_attempt_{time}" + (".txt" if file is None else f"_{file}")


def blackboard_account(
    title: str, student: str, name: str, time: str, pairs: Iterable[tuple[str, str]], comments: str = ""
) -> bytes:
    """The .txt of an attempt; a pair is a file's name as it was, and the entry's."""
    lines = [
        f"Name: {name} ({student})",
        f"Assignment: {title.replace('_', ' ')}",
        f"Date Submitted: {time[:10]} {time[11:].replace('-', ':')}",
        "Current Grade: Needs Grading",
        "",
        "Submission Field:",
        "There is no student submission text data for this assignment.",
        "",
        "Comments:",
        comments or "There are no student comments for this assignment.",
        "",
        "Files:",
    ]
    listed = [line for file, entry in pairs for line in (f"\tOriginal filename: {file}", f"\tFilename: {entry}", "")]
    return "\r\n".join([*lines, *(listed or ["\tNo files were attached to this submission."])]).encode()


def canvas_entry(name: str, user: str, attachment: int, file: str = "hw6.py", late: bool = False) -> str:
    """The name of an entry, after content_zipper.rb; `name` is a student's or a group's, empty if hidden."""
    sortable = re.sub(r"_([0-9]+)_", r"\1", name).lower()
    parts = [*([sortable] if name else []), *(["LATE"] if late else []), user]
    cleaned = re.sub(r"\W", "", "_".join(parts))
    display = re.sub(r'[\x00/\\:*?"<>|]+', "_", file)
    return f"{cleaned}_{attachment}_{display}"


def moodle_entry(name: str, number: str, file: str = "hw6.py", kind: str = "file") -> str:
    """The name of an entry, as downloader.php makes it: underscores in a name become blanks."""
    cleaned = re.sub(r'[\x00-\x1f\\/:*?"<>|&]', "", name.replace("_", " "))
    return f"{cleaned}_{number}_assignsubmission_{kind}_/{file}"


def blackboard_gradebook(students: Rows, column: str, other: str, first_name: str = "") -> bytes:
    """UTF-16 with a mark, tabs, every field quoted, Windows' line ends.

    Args:
        column: The header of the assignment's column.
        other: Another assignment's title.
        first_name: Everyone's: the names of `students` are the last names.
    """
    header = [
        *("Last Name", "First Name", "Username", "Student ID", "Last Access", "Availability"),
        *(f"{other} [Total Pts: 10 Score] |_111_1", column),
    ]
    rows = [[name, first_name, user, "2023-1", "2026-11-20", "Yes", "7", score] for user, name, score in students]
    return "".join(_quoted(row, "\t") + "\r\n" for row in [header, *rows]).encode("utf-16")


def canvas_gradebook(
    students: Rows, column: str, delimiter: str = ",", mark: bool = True, split: bool = False, section: str = "A"
) -> bytes:
    """UTF-8, quoted where it must be, with Canvas' rows before the first student and its read-only columns after.

    Args:
        column: The header of the assignment's column.
        mark: Whether it begins with a byte order mark.
        split: A name's last and first part, which a comma parts, have a column each.
    """

    def line(cells: Sequence[str]) -> str:
        return delimiter.join(
            _quoted([cell], delimiter) if set(cell) & set(f'{delimiter}"\r\n') else cell for cell in cells
        )

    def named(name: str) -> list[str]:
        last, _, first = name.partition(",")
        return [last, first] if split else [name]

    names = ["LastName", "FirstName"] if split else ["Student"]
    blank = [""] * (len(names) - 1)
    header = [*names, "ID", "SIS User ID", "SIS Login ID", "Section", "HW5 (4700)", column, "Final Score"]
    rows = [
        ["", *blank, "", "", "", "", "", "Manual Posting", ""],
        ["    Points Possible", *blank, "", "", "", "", "10.00", "20.00", "(read only)"],
        *([*named(name), user, f"s-{user}", "", section, "7", score, "91"] for user, name, score in students),
    ]
    text = "".join(line(row) + "\n" for row in [header, *rows])
    return text.encode("utf-8-sig" if mark else "utf-8")


def moodle_worksheet(students: Rows) -> bytes:
    """UTF-8, every field quoted; the ids are numbers."""
    header = [
        *("Identifier", "Full name", "Email address", "Status", "Grade", "Maximum grade", "Grade can be changed"),
        *("Last modified (submission)", "Last modified (grade)", "Feedback comments"),
    ]
    date = "Friday, 20 November 2026, 11:58 PM"
    rows = [
        [f"Participant {user}", name, "a@b.kr", "Submitted", score, "20.00", "Yes", date, "-", "old, feedback"]
        for user, name, score in students
    ]
    return "".join(_quoted(row, ",") + "\n" for row in [header, *rows]).encode()


def gradescope_metadata(uploads: Iterable[tuple[str, Sequence[tuple[str, str]], str, Sequence[str]]]) -> bytes:
    """The submission_metadata.yml of an export, as Ruby writes it.

    Args:
        uploads: The folder, everyone's student number and name, the time in UTC, and the times of the uploads before.
    """
    lines = ["---"]
    for folder, submitters, time, before in uploads:
        lines += [f"{folder}:", "  :submitters:" if submitters else "  :submitters: []"]
        for sid, name in submitters:
            lines += [
                f"  - :name: {json.dumps(name, ensure_ascii=False)}",
                f"    :sid: '{sid}'" if sid else "    :sid: ",
            ]
            lines += [f"    :email: {sid or name}@uni.example"]
        lines += [f"  :created_at: {time}.938335000 Z", "  :score: 0.0", "  :status: processed"]
        lines += ["  :results:", "    score: 0.0", "    tests: []", "    output: |-", "      :created_at: 2020-01-01"]
        lines += ["  :history:" if before else "  :history: []"]
        for number, earlier in enumerate(before, start=1):
            lines += ["  - :submitters: []", f"    :created_at: {earlier}.412358000 Z", f"    :id: {number}"]
    return "".join(f"{line}\n" for line in lines).encode()


def gradescope_roster(students: Rows) -> bytes:
    """The list of a course's members, with its teacher."""
    rows = [["", name, user, f"{user}@uni.example", "Student", "A"] for user, name, _ in students]
    header = ["First Name", "Last Name", "SID", "Email", "Role", "Sections"]
    teacher = ["Ada", "Teacher", "", "ada@uni.example", "Instructor", "A"]
    return "".join(_quoted(row, ",") + "\n" for row in [header, teacher, *rows]).encode()


def _quoted(cells: Iterable[str], delimiter: str) -> str:
    return delimiter.join('"' + cell.replace('"', '""') + '"' for cell in cells)
