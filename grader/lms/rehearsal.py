"""A small class for a teacher's dress rehearsal, as a learning system would hand it out; its parts serve the tests too.

Six students: a second attempt, a renamed copy, a blank that is left, a file after the deadline, a file of the wrong
kind, and nothing at all. Archives and gradebooks have the forms that the systems' own pages read.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from grader.errors import UserError
from grader.lms import System

_DEMO = Path(__file__).parents[2] / "tests" / "submissions" / "demo"
_ZONE = "Asia/Seoul"
_DEADLINE = f"2026-11-21 23:59 {_ZONE}"
_PDF = b"%PDF-1.4\n"
# Students as id, name and score so far.
Rows = Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Course:
    """What a teacher downloads; `deadline` is empty where the archive has no times that it could decide on."""

    submissions: Path
    gradebook: Path
    deadline: str


@dataclass(frozen=True, slots=True)
class _Student:
    """One student of the class; ids are logins or numbers, as the system has it.

    Attributes:
        time: Of the attempt, as in a Blackboard name; empty where nothing came.
    """

    login: str
    number: str
    name: str
    time: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    late: bool = False


def make_class(system: System, folder: Path) -> Course:
    """Write the class's archive and gradebook into a folder.

    Raises:
        UserError: The demo's scripts are not there, as where only the wheel is installed.
        OSError: Nothing can be written there.
    """
    if not _DEMO.is_dir():
        raise UserError("the class of the rehearsal lies in the repository only: give the command in a checkout of it")
    made = {
        System.BLACKBOARD: _blackboard,
        System.CANVAS: _canvas,
        System.MOODLE: _moodle,
        System.GRADESCOPE: _gradescope,
    }
    students = _class()
    archive, entries, gradebook, table = made[system](students)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / archive).write_bytes(packed(entries))
    (folder / gradebook).write_bytes(table)
    has_times = system in (System.BLACKBOARD, System.GRADESCOPE)
    return Course(folder / archive, folder / gradebook, _DEADLINE if has_times else "")


def _class() -> tuple[_Student, ...]:
    """Everyone's last attempt."""
    copy = {"hw6 (1).py": _script("s20261003")}
    late = {"hw6.py": _script("s20261007")}
    return (
        _Student("kim", "101", "김서연", "2026-11-21-10-02-11", {"hw6.py": _script("s20261002")}),
        _Student("larsson", "102", "Emma Larsson", "2026-11-20-18-40-05", copy),
        _Student("choi", "103", "최하준", "2026-11-21-23-51-30", {"hw6.py": _script("s20261005")}),
        _Student("nguyen", "104", "Nguyễn Minh Anh", "2026-11-22-00-31-00", late, late=True),
        _Student("park", "105", "박지우", "2026-11-19-09-15-00", {"report.pdf": _PDF}),
        _Student("kang", "106", "강예준"),
    )


# The archive's name and entries, and the gradebook's name and bytes.
_Made = tuple[str, dict[str, bytes], str, bytes]


def _blackboard(students: Sequence[_Student]) -> _Made:
    entries = blackboard_attempt("HW6", "kim", "김서연", "2026-11-20-23-58-03", {"hw6.py": _script("s20261005")})
    for student in students:
        if student.files:
            entries |= blackboard_attempt("HW6", student.login, student.name, student.time, student.files)
    rows = [(student.login, student.name, "Needs Grading" if student.files else "") for student in students]
    gradebook = blackboard_gradebook(rows, "HW6 [Total Pts: 20 Score] |_9876543_1", other="HW5")
    return "gradebook_ML_HW6_2026-11-22-09-00-00.zip", entries, "gc_ML.xls", gradebook


def _canvas(students: Sequence[_Student]) -> _Made:
    entries = {
        canvas_entry(student.name, student.number, 9000 + place, file, student.late): content
        for place, student in enumerate(students)
        for file, content in student.files.items()
    }
    gradebook = canvas_gradebook(_by_number(students), "HW6: ResNet (4711)")
    return "submissions.zip", entries, "2026-11-22_Grades-ML.csv", gradebook


def _moodle(students: Sequence[_Student]) -> _Made:
    entries = {
        moodle_entry(student.name, student.number, file): content
        for student in students
        for file, content in student.files.items()
    }
    return "ML-HW6-11.zip", entries, "Grades-ML-HW6-11.csv", moodle_worksheet(_by_number(students))


def _gradescope(students: Sequence[_Student]) -> _Made:
    uploads = [(f"submission_{9000 + place}", student) for place, student in enumerate(students) if student.files]
    before = {"kim": ["2026-11-20 14:58:03"]}
    told = [
        (upload, [(student.number, student.name)], _utc(student.time), before.get(student.login, []))
        for upload, student in uploads
    ]
    export = "assignment_11_export"
    entries = {f"{export}/submission_metadata.yml": gradescope_metadata(told)} | {
        f"{export}/{upload}/{file}": content for upload, student in uploads for file, content in student.files.items()
    }
    return f"{export}.zip", entries, "roster_ML.csv", gradescope_roster(_by_number(students))


def _by_number(students: Iterable[_Student]) -> Rows:
    return [(student.number, student.name, "") for student in students]


def _utc(time: str) -> str:
    at = datetime.strptime(time, "%Y-%m-%d-%H-%M-%S").replace(tzinfo=ZoneInfo(_ZONE))
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _script(case: str) -> bytes:
    return (_DEMO / case / "hw6.py").read_bytes()


def packed(entries: Mapping[str, bytes]) -> bytes:
    """A zip archive in memory."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def blackboard_attempt(title: str, student: str, name: str, time: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """One attempt's entries: its files, by the names that the student gave them, and Blackboard's .txt.

    Args:
        title: The assignment's, with underscores for blanks.
        time: As `2026-11-20-23-58-03`.
    """
    entries = {blackboard_entry(title, student, time, file): content for file, content in files.items()}
    pairs = [(file, blackboard_entry(title, student, time, file)) for file in files]
    account = blackboard_account(title, student, name, time, pairs)
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


def moodle_entry(name: str, number: str, file: str = "hw6.py") -> str:
    """The name of an entry, as downloader.php makes it: underscores in a name become blanks."""
    cleaned = re.sub(r'[\x00-\x1f\\/:*?"<>|&]', "", name.replace("_", " "))
    return f"{cleaned}_{number}_assignsubmission_file_/{file}"


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
