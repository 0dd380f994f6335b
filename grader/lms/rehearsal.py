"""A small class for a teacher's dress rehearsal, as a learning system would hand it out.

Six students: a second attempt, a renamed copy, a blank that is left, a file after the deadline, a file of the wrong
kind, and nothing at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from grader.errors import UserError
from grader.lms import System
from grader.lms.handed_out import (
    blackboard_attempt,
    blackboard_gradebook,
    canvas_entry,
    canvas_gradebook,
    gradescope_metadata,
    gradescope_roster,
    moodle_entry,
    moodle_worksheet,
    packed,
)

_DEMO = Path(__file__).parents[2] / "tests" / "submissions" / "demo"
_ZONE = "Asia/Seoul"
_DEADLINE = f"2026-11-21 23:59 {_ZONE}"
_PDF = b"%PDF-1.4\n"


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
    files: Mapping[str, bytes] | None = None
    late: bool = False


def make_class(system: System, folder: Path) -> Course:
    """Write the class's archive and gradebook into a folder.

    Raises:
        UserError: The demo's scripts are not there, as where only the wheel is installed.
        OSError: Nothing can be written there.
    """
    if not _DEMO.is_dir():
        raise UserError("the class of the rehearsal lies in the repository only: give the command in a checkout of it")
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        System.BLACKBOARD: _blackboard,
        System.CANVAS: _canvas,
        System.MOODLE: _moodle,
        System.GRADESCOPE: _gradescope,
    }
    return made[system](folder)


def _class(copy: str) -> tuple[_Student, ...]:
    """Everyone's last attempt; `copy` is how a second download of the same file is called."""
    return (
        _Student("kim", "101", "김서연", "2026-11-21-10-02-11", {"hw6.py": _script("s20261002")}),
        _Student("larsson", "102", "Emma Larsson", "2026-11-20-18-40-05", {copy: _script("s20261003")}),
        _Student("choi", "103", "최하준", "2026-11-21-23-51-30", {"hw6.py": _script("s20261005")}),
        _Student(
            "nguyen", "104", "Nguyễn Minh Anh", "2026-11-22-00-31-00", {"hw6.py": _script("s20261007")}, late=True
        ),
        _Student("park", "105", "박지우", "2026-11-19-09-15-00", {"report.pdf": _PDF}),
        _Student("kang", "106", "강예준"),
    )


def _blackboard(folder: Path) -> Course:
    students = _class(copy="hw6 (1).py")
    first = blackboard_attempt("HW6", "kim", "김서연", "2026-11-20-23-58-03", {"hw6.py": _script("s20261005")})
    entries = dict(first)
    for student in students:
        if student.files:
            entries |= blackboard_attempt("HW6", student.login, student.name, student.time, student.files)
    rows = [(student.login, student.name, "Needs Grading" if student.files else "") for student in students]
    gradebook = blackboard_gradebook(rows, "HW6 [Total Pts: 20 Score] |_9876543_1", other="HW5")
    return Course(
        _written(folder / "gradebook_ML_HW6_2026-11-22-09-00-00.zip", packed(entries)),
        _written(folder / "gc_ML.xls", gradebook),
        _DEADLINE,
    )


def _canvas(folder: Path) -> Course:
    students = _class(copy="hw6 (1).py")
    entries = {
        canvas_entry(student.name, student.number, 9000 + place, file, student.late): content
        for place, student in enumerate(students)
        for file, content in (student.files or {}).items()
    }
    rows = [(student.number, student.name, "") for student in students]
    return Course(
        _written(folder / "submissions.zip", packed(entries)),
        _written(folder / "2026-11-22_Grades-ML.csv", canvas_gradebook(rows, "HW6: ResNet (4711)")),
        "",
    )


def _moodle(folder: Path) -> Course:
    students = _class(copy="hw6 (1).py")
    entries = {
        moodle_entry(student.name, student.number, file): content
        for student in students
        for file, content in (student.files or {}).items()
    }
    rows = [(student.number, student.name, "") for student in students]
    return Course(
        _written(folder / "ML-HW6-11.zip", packed(entries)),
        _written(folder / "Grades-ML-HW6-11.csv", moodle_worksheet(rows)),
        "",
    )


def _gradescope(folder: Path) -> Course:
    students = _class(copy="hw6 (1).py")
    uploads = [(f"submission_{9000 + place}", student) for place, student in enumerate(students) if student.files]
    export = "assignment_11_export"
    entries = {
        f"{export}/{upload}/{file}": content
        for upload, student in uploads
        for file, content in (student.files or {}).items()
    }
    told = [
        (
            upload,
            [(student.number, student.name)],
            _utc(student.time),
            ["2026-11-20 14:58:03"] * (student.login == "kim"),
        )
        for upload, student in uploads
    ]
    rows = [(student.number, student.name, "") for student in students]
    return Course(
        _written(
            folder / f"{export}.zip",
            packed({f"{export}/submission_metadata.yml": gradescope_metadata(told), **entries}),
        ),
        _written(folder / "roster_ML.csv", gradescope_roster(rows)),
        _DEADLINE,
    )


def _utc(time: str) -> str:
    at = datetime.strptime(time, "%Y-%m-%d-%H-%M-%S").replace(tzinfo=ZoneInfo(_ZONE))
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _script(case: str) -> bytes:
    return (_DEMO / case / "hw6.py").read_bytes()


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
