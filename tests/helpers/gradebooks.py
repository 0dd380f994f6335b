"""Make the grade files that the learning systems let a teacher download, with names that need quoting."""

from collections.abc import Iterable, Sequence

# Id, name, old score. Names hold what breaks tables.
STUDENTS = (("kim", "김민수", ""), ("lee", 'Lee, "Sam"', "6.00"), ("park", "=cmd|' /C calc'!A0", "20"))
BB_COLUMN = "Project 6 [Total Pts: 20 Score] |_9876543_1"
CANVAS_COLUMN = "HW6: ResNet (4711)"


def quoted(cells: Iterable[str], delimiter: str) -> str:
    return delimiter.join('"' + cell.replace('"', '""') + '"' for cell in cells)


def blackboard(students: Sequence[tuple[str, str, str]] = STUDENTS, other: str = "HW5") -> bytes:
    """UTF-16 with a mark, tabs, every field quoted, Windows' line ends."""
    other_column = f"{other} [Total Pts: 10 Score] |_111_1"
    header = [
        "Last Name",
        "First Name",
        "Username",
        "Student ID",
        "Last Access",
        "Availability",
        other_column,
        BB_COLUMN,
    ]
    rows = [[name, "민\n수", user, "2023-1", "2026-11-20", "Yes", "7", score] for user, name, score in students]
    return "".join(quoted(row, "\t") + "\r\n" for row in [header, *rows]).encode("utf-16")


def canvas(
    students: Sequence[tuple[str, str, str]] = STUDENTS, delimiter: str = ",", mark: bool = True, split: bool = False
) -> bytes:
    """UTF-8, quoted where it must be, with Canvas' rows before the first student and its read-only columns after.

    With `split`, a name's last and first part, which a comma parts, have a column each.
    """

    def line(cells: Sequence[str]) -> str:
        return delimiter.join(
            quoted([cell], delimiter) if set(cell) & set(f'{delimiter}"\r\n') else cell for cell in cells
        )

    def named(name: str) -> list[str]:
        last, _, first = name.partition(",")
        return [last, first] if split else [name]

    names = ["LastName", "FirstName"] if split else ["Student"]
    blank = [""] * (len(names) - 1)
    header = [*names, "ID", "SIS User ID", "SIS Login ID", "Section", "HW5 (4700)", CANVAS_COLUMN, "Final Score"]
    rows = [
        ["", *blank, "", "", "", "", "", "Manual Posting", ""],
        ["    Points Possible", *blank, "", "", "", "", "10.00", "20.00", "(read only)"],
        *([*named(name), user, f"s-{user}", "", "A,B\nC", "7", score, "91"] for user, name, score in students),
    ]
    text = "".join(line(row) + "\n" for row in [header, *rows])
    return text.encode("utf-8-sig" if mark else "utf-8")


def moodle(students: Sequence[tuple[str, str, str]]) -> bytes:
    """UTF-8, quoted where there is a blank; the ids are numbers."""
    columns = "Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed"
    header = [*columns.split(","), "Last modified (submission)", "Last modified (grade)", "Feedback comments"]
    date = "Friday, 20 November 2026, 11:58 PM"
    rows = [
        [f"Participant {user}", name, "a@b.kr", "Submitted", score, "20.00", "Yes", date, "-", "old, feedback"]
        for user, name, score in students
    ]
    return "".join(quoted(row, ",") + "\n" for row in [header, *rows]).encode()
