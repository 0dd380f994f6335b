"""From each system's archive and gradebook to the gradebook that it takes back, in every form that it has."""

import csv
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import gradebooks
from archives import attempt, canvas_entry, moodle_entry, packed
from grader.collect import Format, collect
from grader.collect.roster import read_roster
from grader.lms import System
from grader.lms.gradebook import plain, read_sheet
from grader.lms.gradescope import results_json
from grader.lms.upload import Upload, filled_in
from grader.records import Outcome
from grader.results.entries import Grade, Result
from grader.results.score import result_of
from record_examples import entry, submission
from submission_folders import ASSIGNMENT

MOST = Decimal(20)
DEADLINE = datetime(2030, 6, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
NAMES = (
    *(
        "김, 민수",
        "O'Neil, Ann",
        'Lee, "Sam"',
        "Kim, Min",
        "Kim, Min",
        "=1+1, x",
        "@sum, -1",
        "Ünal; Öz, İ",
        "de la Cruz, M",
    ),
    *("김_3, 민수", "a\nb, c", "x" * 300 + ", y"),
)
LOGINS = (
    *("0012", "12", "Kim", "kim", "KIM", "kim_m.s-1", "o'neil", "김", "_", "a" * 300, "1e5"),
    "attempt",
)
NUMBERS = ("1", "3", "10", "101", "9001", "20261001", "7" * 30, "44", "45", "46", "47", "48")


@dataclass(frozen=True)
class Form:
    """A form in which a system writes its files, for as many students as there are names."""

    system: System
    ids: Sequence[str]
    gradebook: Callable[[Sequence[tuple[str, str, str]]], bytes]
    entries: Callable[[str, str, int], Mapping[str, bytes]]


def blackboard_csv(students: Sequence[tuple[str, str, str]]) -> bytes:
    return gradebooks.blackboard(students).decode("utf-16").replace("\t", ",").encode("utf-8-sig")


def canvas_file(name: str, user: str, number: int) -> dict[str, bytes]:
    return {canvas_entry(name, user, 9_000_000 + number): user.encode()}


def flat(name: str, user: str, _: int) -> dict[str, bytes]:
    return {moodle_entry(name, user).replace("_/", "_"): user.encode()}


def korean(worksheet: bytes) -> bytes:
    """A worksheet of Moodle with its columns and words in Korean, after its language pack."""
    words = (
        *(("Identifier", "식별자"), ("Full name", "전체 이름"), ("Email address", "이메일 주소"), ("Status", "상태")),
        *(
            ('"Grade"', '"성적"'),
            ("Maximum grade", "최대 성적"),
            ("Last modified", "마지막 수정됨"),
            ("Participant ", "참가자"),
        ),
        *(("Feedback comments", "피드백 코멘트"), ('"Yes"', '"예"')),
    )
    text = worksheet.decode()
    for english, other in words:
        text = text.replace(english, other)
    return text.encode()


FORMS = {
    "blackboard": Form(
        System.BLACKBOARD,
        LOGINS,
        gradebooks.blackboard,
        lambda _, user, number: attempt(user, f"2026-11-20-10-00-{number:02}", hw6__py=user.encode()),
    ),
    "blackboard-csv": Form(
        System.BLACKBOARD,
        LOGINS,
        blackboard_csv,
        lambda _, user, number: attempt(user, f"2026-11-20-10-00-{number:02}", hw6__py=user.encode()),
    ),
    "canvas": Form(System.CANVAS, NUMBERS, gradebooks.canvas, canvas_file),
    "canvas-semicolons": Form(System.CANVAS, NUMBERS, lambda who: gradebooks.canvas(who, ";", mark=False), canvas_file),
    "canvas-split": Form(System.CANVAS, NUMBERS, lambda who: gradebooks.canvas(who, split=True), canvas_file),
    "moodle": Form(
        System.MOODLE, NUMBERS, gradebooks.moodle, lambda name, user, _: {moodle_entry(name, user): user.encode()}
    ),
    "moodle-flat": Form(System.MOODLE, NUMBERS, gradebooks.moodle, flat),
    "moodle-korean": Form(System.MOODLE, NUMBERS, lambda who: korean(gradebooks.moodle(who)), flat),
}


def graded(student_id: str, points: int | None, *, overridden: bool = False) -> Result:
    outcome = Outcome.INFRASTRUCTURE if points is None else Outcome.GRADED
    grade = Grade(outcome, None if points is None else Decimal(points), None, "said", ())
    return Result(submission(student_id=student_id), entry(), grade, overridden=overridden)


def column_of(content: bytes, system: System) -> str:
    if system is System.MOODLE:
        return "성적" if "식별자".encode() in content else "Grade"
    return gradebooks.BB_COLUMN if system is System.BLACKBOARD else gradebooks.CANVAS_COLUMN


def cells(content: bytes) -> list[dict[str, str]]:
    """Every row by its columns, of equal ones the first, read by another reader than the one that wrote it."""
    text = content.decode("utf-16" if content[:2] == b"\xff\xfe" else "utf-8-sig")
    sample = csv.reader(io.StringIO(text, newline=""), delimiter=read_sheet(content).delimiter, strict=True)
    header, *rows = list(sample)
    return [dict(reversed(list(zip(header, row, strict=False)))) for row in rows]


def only_the_score_differs(before: bytes, after: bytes, column: str) -> Iterator[tuple[str, str]]:
    """The score of each row before and after; every other cell that went back is as it was."""
    for old, new in zip(cells(before), cells(after), strict=True):
        others = {name: cell for name, cell in new.items() if name not in (column, "Feedback comments")}
        assert others == {name: old[name] for name in others}
        yield old[column], new[column]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_a_system_hands_out_comes_back_to_whom_it_belongs(form: Form, tmp_path: Path) -> None:
    students = [(user, name, "6.00" if user == form.ids[0] else "") for user, name in zip(form.ids, NAMES, strict=True)]
    archive, gradebook = tmp_path / "handed-in.zip", tmp_path / "gradebook"
    entries: dict[str, bytes] = {}
    for number, (user, name, _) in enumerate(students):
        entries |= form.entries(name, user, number)
    archive.write_bytes(packed(entries))
    gradebook.write_bytes(form.gradebook(students))
    collection = collect(archive, gradebook, ASSIGNMENT)
    assert {one.student_id: one.content for one in collection.submissions} == {user: user.encode() for user in form.ids}
    assert [one.remarks for one in collection.submissions] == [()] * len(students)

    points = {user: (20, 6, 2, 0)[number % 4] for number, user in enumerate(form.ids)}
    rows = [graded(user, earned) for user, earned in points.items()]
    upload = filled_in(
        gradebook.read_bytes(), form.system, rows, MOST, "hw6", column_of(gradebook.read_bytes(), form.system)
    )
    assert {score.student_id: score.after for score in upload.scores} == {
        user: str(earned) for user, earned in points.items()
    }
    after = [new for _, new in only_the_score_differs(gradebook.read_bytes(), upload.content, upload.column)]
    assert after[-len(students) :] == [str(points[user]) for user in form.ids]
    gradebook.write_bytes(upload.content)
    again = read_roster(gradebook).lines
    assert list(again) == list(form.ids)


@pytest.mark.parametrize("form", [FORMS["blackboard"], FORMS["canvas"], FORMS["moodle"]], ids=lambda form: form.system)
def test_what_is_handed_in_after_the_grading_has_no_points_yet_and_the_old_score_stays(
    form: Form, tmp_path: Path
) -> None:
    kim, name = form.ids[0], "Kim, Min"
    archive, gradebook = tmp_path / "handed-in.zip", tmp_path / "gradebook"
    gradebook.write_bytes(form.gradebook([(kim, name, "6.00")]))
    first, again = form.entries(name, kim, 1), form.entries(name, kim, 2)
    again = {entry: content if entry.endswith(".txt") else b"new" for entry, content in again.items()}
    archive.write_bytes(packed(first))
    (before,) = collect(archive, gradebook, ASSIGNMENT).submissions
    graded_before = entry(student_id=kim, sha256=before.sha256, run_key="key")
    assert result_of(before, [graded_before], "key", ASSIGNMENT).grade.points is not None
    # Blackboard keeps both attempts; in the others' archives the new one takes the old one's place.
    archive.write_bytes(packed({**first, **again} if form.system is System.BLACKBOARD else again))
    (after,) = collect(archive, gradebook, ASSIGNMENT).submissions
    row = result_of(after, [graded_before], "key", ASSIGNMENT)
    assert (after.content, row.grade.points, row.due) == (b"new", None, True)
    upload = filled_in(
        gradebook.read_bytes(), form.system, [row], MOST, "hw6", column_of(gradebook.read_bytes(), form.system)
    )
    assert all(old == new for old, new in only_the_score_differs(gradebook.read_bytes(), upload.content, upload.column))
    assert upload.without_points == (kim,)


def test_one_student_s_extension_stands_in_the_gradebook_s_copy(tmp_path: Path) -> None:
    late = "2026-11-22-10-00-00"
    archive, gradebook = tmp_path / "handed-in.zip", tmp_path / "gradebook.csv"
    archive.write_bytes(packed(attempt("kim", late, hw6__py=b"kim's") | attempt("lee", late, hw6__py=b"lee's")))
    header = "Last Name,First Name,Username,deadline"
    gradebook.write_text(f"{header}\nKim,Min,kim,2026-11-23 23:59 Asia/Seoul\nLee,Sam,lee,\n")
    due = datetime(2026, 11, 21, 23, 59, tzinfo=ZoneInfo("Asia/Seoul"))
    kim, lee = collect(archive, gradebook, ASSIGNMENT, due).submissions
    assert (kim.content, kim.late) == (b"kim's", "")
    assert (lee.content, "after the deadline" in lee.late) == (None, True)


def test_gradescope_s_files_name_each_student_once() -> None:
    named = [results_json(graded(user, 6), MOST) for user in LOGINS]
    assert len({content for content in named if content and b'"score": 6.0' in content}) == len(LOGINS)


# The same examples everywhere: a test that fails, fails for everyone.
few = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters='\n\r\t",'), max_size=12)
WORDS = ("EX", "N/A", "Excused", "-", "ex", "제외", "90 %")
SCORES = st.sampled_from(("", "0", "6.00", "6,50", "20", *WORDS))
GRADES = st.tuples(st.none() | st.integers(0, 20), st.booleans())
TIMES = st.from_regex(r"20(?:2[5-9]|3\d)-[01]\d-[0-3]\d(?:-[0-5]\d){3}", fullmatch=True)


@st.composite
def classes(draw: st.DrawFn) -> tuple[Form, list[tuple[str, str, str]], list[tuple[str, list[str]]]]:
    """A system's form, its students with their scores, and a teacher's own columns with their cells."""
    form = FORMS[draw(st.sampled_from(sorted(FORMS)))]
    ids = draw(st.lists(st.sampled_from(form.ids), min_size=1, unique=True))
    students = [(user, draw(TEXT), draw(SCORES)) for user in ids]
    own = draw(st.dictionaries(TEXT, st.lists(TEXT, min_size=len(ids), max_size=len(ids)), max_size=3))
    return form, students, list(own.items())


def with_columns(content: bytes, own: Sequence[tuple[str, list[str]]], students: int) -> bytes:
    """The gradebook with a teacher's columns before the score, as a spreadsheet saves it."""
    sheet = read_sheet(content)
    above = len(sheet.rows) - 1 - students
    for name, values in own:
        place = len(sheet.rows[0]) - 2
        column = [name, *[""] * above, *values]
        quoted = ['"' + cell.replace('"', '""') + '"' for cell in column]
        rows = tuple((*row[:place], cell, *row[place:]) for row, cell in zip(sheet.rows, quoted, strict=True))
        sheet = replace(sheet, rows=rows)
    return sheet.encode()


@few
@given(classes(), st.data())
def test_no_score_changes_but_that_of_who_was_graded_and_no_other_cell(
    drawn: tuple[Form, list[tuple[str, str, str]], list[tuple[str, list[str]]]], data: st.DataObject
) -> None:
    form, students, own = drawn
    # Where no cell of a column is a score's, nothing tells that it is the scores'.
    assume(form is not FORMS["moodle-korean"] or not {score for *_, score in students} <= {*WORDS} - {"-"})
    content = with_columns(form.gradebook(students), own, len(students))
    results: dict[str, Result] = {}
    for user, *_ in students:
        points, overridden = data.draw(GRADES)
        results[user] = graded(user, points, overridden=overridden and points is not None)
    missing = data.draw(st.sets(st.sampled_from(sorted(results)), max_size=len(results) // 2))
    rows = [result for user, result in results.items() if user not in missing]
    upload = filled_in(content, form.system, rows, MOST, "hw6", column_of(content, form.system))
    out = outcomes(upload)
    assert sorted(out) == sorted(user for user, *_ in students)
    for (user, _, before), (old, new) in zip(
        students, list(only_the_score_differs(content, upload.content, upload.column))[-len(students) :], strict=True
    ):
        assert plain(old) == before
        earned = None if user in missing else results[user].grade.points
        # Moodle's only word for no score, and every word is 0 to it.
        moodle = form.system is System.MOODLE
        decided = before in WORDS and not (moodle and before == "-")
        if earned is None or (decided and not results[user].overridden):
            assert new == ("" if moodle and before in WORDS else old)
        else:
            assert Decimal(new.replace(",", ".")) == earned


@few
@given(
    st.sampled_from(("blackboard", "canvas", "canvas-split", "moodle", "moodle-korean")).map(FORMS.__getitem__),
    st.data(),
)
def test_everyone_on_the_roster_is_collected_once_whatever_the_names_and_times_are(
    form: Form, data: st.DataObject
) -> None:
    ids = data.draw(st.lists(st.sampled_from(form.ids), min_size=1, unique=True))
    students = [(user, data.draw(TEXT), "") for user in ids]
    came = data.draw(st.sets(st.sampled_from(ids), min_size=1))
    entries: dict[str, bytes] = {}
    for number, (user, name, _) in enumerate(students):
        if user not in came:
            continue
        entries |= form.entries(name, user, number)
        if form.system is System.BLACKBOARD:
            entries |= attempt(user, data.draw(TIMES), hw6__py=b"other")
    with tempfile.TemporaryDirectory() as folder:
        archive, gradebook = Path(folder, "handed-in.zip"), Path(folder, "gradebook")
        archive.write_bytes(packed(entries))
        gradebook.write_bytes(form.gradebook(students))
        collection = collect(archive, gradebook, ASSIGNMENT, DEADLINE, layout_of(form))
    assert [one.student_id for one in collection.submissions] == sorted(ids)
    for one in collection.submissions:
        handed_in = (one.content, one.unreadable, one.late) != (None, "", "")
        assert handed_in is (one.student_id in came)
    assert {decision.file for decision in collection.decisions} == entries.keys()


def layout_of(form: Form) -> Format:
    return form.system.value


def outcomes(upload: Upload) -> list[str]:
    """Everyone in the gradebook, as often as the upload speaks of them."""
    scored = [score.student_id for score in upload.scores]
    return [*scored, *upload.without_points, *(user for user, _ in upload.decided), *upload.only_listed]
