"""What a learning system wrote goes back as it wrote it, with the scores filled in and nobody's made 0."""

import csv
import io
import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest

import gradebooks
from gradebooks import BB_COLUMN, CANVAS_COLUMN, STUDENTS
from grader.assignment import load_assignment
from grader.errors import UserError
from grader.lms import System
from grader.lms.gradebook import read_sheet
from grader.lms.gradescope import results_json
from grader.lms.upload import NewScore, Upload, filled_in
from grader.records import Outcome
from grader.results.entries import Grade, Result
from grader.results.score import grade
from record_examples import entry, submission

MOST = Decimal(20)
MESSAGE = 'Your script raised "<b>,\nKeyError": 오류; see the log.'
NUMBERED = tuple((str(number), name, score) for number, (_, name, score) in enumerate(STUDENTS, start=37))
FILES = {
    System.BLACKBOARD: gradebooks.blackboard(),
    System.CANVAS: gradebooks.canvas(),
    System.MOODLE: gradebooks.moodle(NUMBERED),
}


BOOKS = {
    System.BLACKBOARD: gradebooks.blackboard(),
    System.CANVAS: gradebooks.canvas(),
    System.MOODLE: gradebooks.moodle(NUMBERED),
}


def result(student_id: str, points: int | None) -> Result:
    outcome = Outcome.INFRASTRUCTURE if points is None else Outcome.GRADED
    told = Grade(outcome, None if points is None else Decimal(points), None, MESSAGE, ())
    return Result(submission(student_id=student_id), entry(), told)


def fill(
    content: bytes, system: System, points: Mapping[str, int | None], column: str = "", hint: str = "hw6"
) -> Upload:
    rows = [result(student_id, earned) for student_id, earned in points.items()]
    return filled_in(content, system, rows, MOST, hint, column)


def table(content: bytes, delimiter: str) -> list[dict[str, str]]:
    """Read a file back with another reader than the one that wrote it."""
    text = content.decode("utf-16" if content.startswith(b"\xff\xfe") else "utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


@pytest.mark.parametrize("content", [*FILES.values(), gradebooks.canvas(delimiter=";", mark=False), b"a,b\r\n1,2", b""])
def test_what_nobody_changes_stays_byte_for_byte(content: bytes) -> None:
    assert read_sheet(content).encode() == content


def test_blackboard_gets_its_key_and_the_score_in_its_own_encoding() -> None:
    content = gradebooks.blackboard()
    upload = fill(content, System.BLACKBOARD, {"kim": 20, "lee": 20, "park": 6}, "Project 6")
    assert upload.content.startswith(b"\xff\xfe")
    text = upload.content.decode("utf-16")
    assert text.splitlines()[0] == f'"Last Name"\t"First Name"\t"Username"\t"{BB_COLUMN}"'
    assert text.count("\r\n") == 4
    rows = table(upload.content, "\t")
    assert [(row["Username"], row["Last Name"], row[BB_COLUMN]) for row in rows] == [
        (user, name, score) for (user, name, _), score in zip(STUDENTS, ("20", "20", "6"), strict=True)
    ]
    assert upload.scores == (NewScore("kim", "", "20"), NewScore("lee", "6.00", "20"), NewScore("park", "20", "6"))


@pytest.mark.parametrize(("delimiter", "mark"), [(",", True), (";", False)])
def test_canvas_keeps_its_row_of_points_and_loses_other_assignments(delimiter: str, mark: bool) -> None:
    upload = fill(gradebooks.canvas(STUDENTS, delimiter, mark), System.CANVAS, {"kim": 6, "lee": 6, "park": 2})
    assert upload.content.startswith(b"\xef\xbb\xbf") is mark
    rows = table(upload.content, delimiter)
    assert list(rows[0]) == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", CANVAS_COLUMN]
    assert rows[1]["Student"] == "    Points Possible"
    assert [row[CANVAS_COLUMN] for row in rows] == ["Manual Posting", "20.00", "6", "6.00", "2"]
    assert [row["Student"] for row in rows[2:]] == [name for _, name, _ in STUDENTS]
    assert rows[2]["Section"] == "A,B\nC"


def test_moodle_gets_what_it_imports_and_the_message_as_harmless_html() -> None:
    upload = fill(gradebooks.moodle(NUMBERED), System.MOODLE, {"37": 20, "38": None})
    rows = table(upload.content, ",")
    assert list(rows[0]) == ["Identifier", "Grade", "Last modified (grade)", "Feedback comments"]
    assert upload.notices == ("the message takes the place of another feedback for 37",)
    assert fill(upload.content, System.MOODLE, {"37": 20, "38": None}).notices == ()
    assert [row["Grade"] for row in rows] == ["20", "6.00", "20"]
    assert rows[0]["Feedback comments"] == 'Your script raised "&lt;b&gt;, KeyError": 오류; see the log.'
    assert [row["Feedback comments"] for row in rows[1:]] == ["old, feedback", "old, feedback"]
    assert {row["Last modified (grade)"] for row in rows} == {"-"}


@pytest.mark.parametrize("system", list(FILES))
def test_nobody_without_points_is_given_any(system: System) -> None:
    students = [user for user, *_ in (NUMBERED if system is System.MOODLE else STUDENTS)]
    column = "Project 6" if system is System.BLACKBOARD else ""
    upload = fill(FILES[system], system, dict.fromkeys(students), column)
    assert (upload.scores, upload.without_points) == ((), tuple(students))
    delimiter = "\t" if system is System.BLACKBOARD else ","
    scores = [row[upload.column] for row in table(upload.content, delimiter)]
    assert scores[-3:] == ["", "6.00", "20"]


def test_a_word_in_place_of_a_score_is_left_blank_where_there_are_no_points() -> None:
    students = (("kim", "Kim", "Needs Grading"), ("lee", "Lee", "Needs Grading"))
    upload = fill(gradebooks.blackboard(students), System.BLACKBOARD, {"kim": None, "lee": 2}, "Project 6")
    assert [row[BB_COLUMN] for row in table(upload.content, "\t")] == ["", "2"]


@pytest.mark.parametrize("word", ["EX", "ex", "N/A", "Excused", "-", "—", "제외", "90 %", "A+", "1 000"])
@pytest.mark.parametrize("points", [20, 0, None])
def test_a_word_that_is_a_decision_stays_and_is_named(word: str, points: int | None) -> None:
    students = (("kim", "Kim", word), ("lee", "Lee", ""))
    files = {System.CANVAS: gradebooks.canvas(students), System.BLACKBOARD: gradebooks.blackboard(students)}
    for system, content in files.items():
        upload = fill(content, system, {"kim": points, "lee": 6}, "" if system is System.CANVAS else "Project 6")
        assert upload.decided == (("kim", word),)
        assert upload.scores == (NewScore("lee", "", "6"),)
        rows = table(upload.content, "," if system is System.CANVAS else "\t")
        assert [row[upload.column] for row in rows][-2:] == [word, "6"]


@pytest.mark.parametrize("word", ["EX", "N/A", "Needs work", "-"])
def test_moodle_would_read_a_word_as_0_and_gets_a_blank(word: str) -> None:
    """Of three students: one is graded, one has no points, and one is not graded at all."""
    book = gradebooks.moodle(tuple((user, "", word) for user in ("37", "38", "39")))
    upload = fill(book, System.MOODLE, {"37": 20, "38": None})
    waits = word == "-"
    assert [row["Grade"] for row in table(upload.content, ",")] == ["20" if waits else "", "", ""]
    assert upload.decided == (() if waits else (("37", word), ("38", word)))
    assert upload.only_listed == ("39",)


@pytest.mark.parametrize(("other", "after"), [("6,50", "2,5"), ("6.50", "2.5"), ("", "2.5"), ("EX", "2.5")])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_score_is_written_with_the_decimal_sign_of_its_column(delimiter: str, other: str, after: str) -> None:
    content = gradebooks.canvas((("kim", "Kim", ""), ("lee", "Lee", other)), delimiter, mark=False)
    halves = result("kim", 2)
    halves = replace(halves, grade=replace(halves.grade, points=Decimal("2.5")))
    rows = table(filled_in(content, System.CANVAS, [halves], MOST, "hw6").content, delimiter)
    assert [row[CANVAS_COLUMN] for row in rows][-2:] == [after, other]


def test_points_that_a_person_set_replace_a_decision() -> None:
    content = gradebooks.canvas((("kim", "Kim", "EX"),))
    upload = filled_in(content, System.CANVAS, [replace(result("kim", 20), overridden=True)], MOST, "hw6")
    assert (upload.decided, upload.scores) == ((), (NewScore("kim", "EX", "20"),))


@pytest.mark.parametrize("word", ["Needs Grading", "In Progress", "Needs Grading(12.00)"])
def test_blackboard_s_words_for_no_score_yet_are_no_decision(word: str) -> None:
    upload = fill(gradebooks.blackboard((("kim", "Kim", word),)), System.BLACKBOARD, {"kim": 6}, "Project 6")
    assert upload.scores == (NewScore("kim", word, "6"),)


def test_graded_by_login_the_gradebook_s_login_column_is_the_key() -> None:
    book = b"Student,ID,SIS Login ID,Section,HW6 (1)\nKim,101,kim,A,\nLee,102,lee,A,6\n"
    upload = fill(book, System.CANVAS, {"kim": 20, "lee": 2})
    assert (upload.only_graded, upload.only_listed, upload.of_another_class) == ((), (), False)
    assert upload.content.decode() == "Student,ID,SIS Login ID,Section,HW6 (1)\nKim,101,kim,A,20\nLee,102,lee,A,2\n"


def test_a_gradebook_of_another_class_is_known_and_one_of_a_section_is_not_taken_for_it() -> None:
    graded = dict.fromkeys(("a", "b", "c", "d", "e", "f", "g", "lee"), 6)
    assert fill(gradebooks.canvas(), System.CANVAS, graded).of_another_class
    assert not fill(gradebooks.canvas(), System.CANVAS, graded | {"park": 6}).of_another_class


def test_a_row_that_a_spreadsheet_cut_short_gets_its_score() -> None:
    book = b"Student,ID,Section,HW6 (1)\nKim,kim,A\nLee,lee,A,6\n"
    assert fill(book, System.CANVAS, {"kim": 20, "lee": 2}).content == (
        b"Student,ID,Section,HW6 (1)\nKim,kim,A,20\nLee,lee,A,2\n"
    )


def test_a_column_without_a_name_takes_no_message() -> None:
    book = b"Student,ID,Section,,HW6 (1)\nKim,kim,A,x,\n"
    assert fill(book, System.CANVAS, {"kim": 20}).content == b"Student,ID,Section,HW6 (1)\nKim,kim,A,20\n"


def test_an_infrastructure_fault_has_no_points_to_upload() -> None:
    failed = submission(student_id="kim", content=None, unreadable="hw6.py cannot be read")
    row = Result(failed, None, grade(failed, None, load_assignment()))
    upload = filled_in(FILES[System.CANVAS], System.CANVAS, [row], MOST, "hw6")
    assert upload.without_points == ("kim",)
    assert results_json(row, MOST) is None


def test_whoever_is_on_one_side_only_is_named_and_left_as_it_was() -> None:
    upload = fill(gradebooks.canvas(), System.CANVAS, {"kim": 6, "stranger": 20})
    assert (upload.only_graded, upload.only_listed) == (("stranger",), ("lee", "park"))
    assert [row[CANVAS_COLUMN] for row in table(upload.content, ",")][-2:] == ["6.00", "20"]


def test_a_score_that_stays_keeps_the_system_s_spelling() -> None:
    upload = fill(gradebooks.canvas(), System.CANVAS, {"lee": 6})
    assert upload.scores == (NewScore("lee", "6.00", "6.00"),)


def test_the_column_is_found_by_name_or_asked_for() -> None:
    with pytest.raises(UserError, match=r"set COLUMN= to one of these: HW5 .*; Project 6 "):
        fill(gradebooks.blackboard(), System.BLACKBOARD, {"kim": 6})
    assert fill(gradebooks.blackboard(), System.BLACKBOARD, {"kim": 6}, hint="project 6").column == BB_COLUMN
    with pytest.raises(UserError, match="COLUMN="):
        fill(gradebooks.blackboard(other="Project 60"), System.BLACKBOARD, {"kim": 6}, "Project 6")
    assert fill(gradebooks.blackboard(), System.BLACKBOARD, {"kim": 6}, BB_COLUMN).column == BB_COLUMN


def test_another_worth_of_the_column_is_said() -> None:
    assert fill(gradebooks.canvas(), System.CANVAS, {"kim": 6}).notices == ()
    for system, content in FILES.items():
        column = "Project 6" if system is System.BLACKBOARD else ""
        upload = filled_in(content, system, [result("kim", 6)], Decimal(10), "hw6", column)
        assert upload.notices[0].endswith("worth 20 points, and the assignment gives 10 at most")


@pytest.mark.parametrize("system", list(FILES))
@pytest.mark.parametrize("content", [b"", b"who,what\n1,2\n", b'"open\n', b"\xff\xff\xff", b"PK\x03\x04\x80\xff"])
def test_a_file_of_another_kind_is_one_sentence(system: System, content: bytes) -> None:
    with pytest.raises(UserError, match="let you download") as caught:
        fill(content, system, {"kim": 6})
    assert "\n" not in str(caught.value)
    assert "codec" not in str(caught.value)


def test_a_title_may_hold_a_line_break() -> None:
    book = b'Student,ID,Section,"HW6\nlate (1)"\nKim,101,A,\n'
    assert fill(book, System.CANVAS, {"101": 20}).content == book.replace(b"A,\n", b"A,20\n")


def test_one_student_twice_is_refused() -> None:
    with pytest.raises(UserError, match="has kim twice"):
        fill(gradebooks.canvas((STUDENTS[0], STUDENTS[0])), System.CANVAS, {"kim": 6})


def test_an_encoding_without_a_message_s_letters_is_one_sentence() -> None:
    content = gradebooks.moodle((("37", "김민수", ""),)).decode().encode("cp949")
    row = result("37", 6)
    row = replace(row, grade=replace(row.grade, happened="raised ValueError: \N{PILE OF POO}"))
    with pytest.raises(UserError, match="download it as UTF-8"):
        filled_in(content, System.MOODLE, [row], MOST, "hw6")


def test_gradescope_s_results_are_read_back() -> None:
    content = results_json(result("김", 6), MOST)
    assert content is not None
    read = json.loads(content)
    (test,) = read["tests"]
    assert (read["score"], test["score"], test["max_score"], test["output"]) == (6, 6, 20, MESSAGE)
    assert read["extra_data"]["student_id"] == "김"


def test_a_grade_that_moodle_has_locked_is_named() -> None:
    book = gradebooks.moodle(NUMBERED).replace(b'"Participant 38"', b'"Participant 38x"').decode()
    lines = book.splitlines()
    book = "\n".join([*lines[:2], lines[2].replace("38x", "38").replace('"Yes"', '"No"'), *lines[3:]])
    upload = fill(book.encode(), System.MOODLE, {"37": 20, "38": 6, "39": None})
    assert [notice for notice in upload.notices if "Moodle will not take the grade of 38: " in notice]
    assert not [notice for notice in upload.notices if "will not take" in notice and ("37" in notice or "39" in notice)]


def test_a_workflow_s_state_hides_no_locked_grade_and_a_scale_is_said() -> None:
    book = (
        "Identifier,Status,Grade,Scale,Marking workflow state,Grade can be changed,Last modified (grade)\n"
        'Participant37,Submitted,,"Poor\nGood",Not marked,No,-\n'
    )
    upload = fill(book.encode(), System.MOODLE, {"37": 20})
    assert "on a scale" in upload.notices[0]
    assert "will not take the grade of 37" in upload.notices[1]


# As Moodle's language packs name the columns; Korean's lacks one.
KOREAN = (
    "식별자",
    "전체 이름",
    "상태",
    "성적",
    "최대 성적",
    "Grade can be changed",
    "마지막 수정됨(성적)",
    "피드백 코멘트",
)
GERMAN = ("ID", "Vollständiger Name", "Status", "Bewertung", "Bestwertung", "Bewertung kann geändert werden", "x", "y")


@pytest.mark.parametrize(
    ("header", "person", "yes", "no", "most"),
    [(KOREAN, "참가자", "예", "아니오", "20.00"), (GERMAN, "Teilnehmer/in", "Ja", "Nein", "20,00")],
)
def test_a_worksheet_in_another_language_is_told_by_its_places_and_goes_back_whole(
    header: tuple[str, ...], person: str, yes: str, no: str, most: str
) -> None:
    def sheet(first: str, second: str) -> bytes:
        rows = [
            header,
            (f"{person}37", "김 민수", "abgegeben", first, most, yes, "-", "alt"),
            (f"{person}38", "Lee, Sam", "abgegeben", second, most, no, "-", ""),
        ]
        return "".join(",".join(f'"{cell}"' for cell in row) + "\r\n" for row in rows).encode()

    upload = fill(sheet("", "6"), System.MOODLE, {"37": 20, "38": 2})
    assert upload.content == sheet("20", "2")
    assert (upload.column, upload.scores) == (header[3], (NewScore("37", "", "20"), NewScore("38", "6", "2")))
    assert "will not take the grade of 38: " in upload.notices[0]
    assert "upload it in the language in which you downloaded it" in upload.notices[1]
    halves = filled_in(sheet("", ""), System.MOODLE, [result("37", 20)], Decimal(10), "hw6")
    assert "worth 20 points" in halves.notices[0]


@pytest.mark.parametrize(
    "row",
    [
        "37,Kim,x,,20.00,Ja,-,",
        "Teilnehmer/in37,20261,20261,7,20.00,Ja,-,",
        "Teilnehmer/in37,Kim,x,gut,20.00,Ja,-,",
        "Teilnehmer/in37,Kim,x",
    ],
)
def test_a_table_whose_places_do_not_tell_is_refused(row: str) -> None:
    with pytest.raises(UserError, match="has no column Identifier: pass what Moodle let you download, in English"):
        fill(f"{','.join(GERMAN)}\n{row}\n".encode(), System.MOODLE, {"37": 20})


@pytest.mark.parametrize(("theirs", "asked"), list(itertools.permutations(BOOKS, 2)))
def test_another_system_s_gradebook_is_named(theirs: System, asked: System) -> None:
    with pytest.raises(UserError, match=f"GRADEBOOK= is {theirs.capitalize()}'s: give LMS={theirs}, or pass what "):
        fill(BOOKS[theirs], asked, {"kim": 20})


@pytest.mark.parametrize("most", ["Maximum grade", "Maximum Grade"])
def test_what_moodle_called_the_maximum_before_is_understood(most: str) -> None:
    book = gradebooks.moodle(NUMBERED).decode().replace("Maximum grade", most)
    upload = filled_in(book.encode(), System.MOODLE, [result("37", 6)], Decimal(10), "hw6")
    assert "worth 20 points" in upload.notices[0]


def test_blackboard_s_gradebook_in_korean_is_told_by_its_places() -> None:
    book = '"성"\t"이름"\t"사용자 이름"\t"학생 ID"\t"HW5 [총점: 10 점수] |_1_1"\t"HW6 [총점: 20 점수] |_2_1"\r\n'
    book += '"김"\t"민수"\t"kim"\t"1"\t"7"\t"채점 필요"\r\n"이"\t"서연"\t"lee"\t"2"\t"7"\t"6.00"\r\n'
    upload = fill(book.encode("utf-16"), System.BLACKBOARD, {"kim": 20, "lee": 2})
    assert (upload.column, upload.scores) == ("HW6 [총점: 20 점수] |_2_1", (NewScore("lee", "6.00", "2"),))
    assert upload.decided == (("kim", "채점 필요"),)
    assert list(table(upload.content, "\t")[0]) == ["성", "이름", "사용자 이름", "HW6 [총점: 20 점수] |_2_1"]


def test_a_word_that_most_of_the_class_have_is_doubted_as_a_decision() -> None:
    words = (("a", "A", "채점 필요"), ("b", "B", "채점 필요"), ("c", "C", "6"))
    upload = fill(gradebooks.canvas(words), System.CANVAS, {"a": 20, "b": 20, "c": 20})
    assert "2 students have 채점 필요 in place of a score: if that says that there is none yet" in upload.notices[0]
    few = (("a", "A", "EX"), ("b", "B", ""), ("c", "C", "6"))
    assert fill(gradebooks.canvas(few), System.CANVAS, {"a": 20, "b": 20, "c": 20}).notices == ()


@pytest.mark.parametrize(("shown", "said"), [("Percentage", True), ("Letter", True), ("Score", False), ("점수", False)])
def test_a_column_that_blackboard_shows_as_something_else_is_said(shown: str, said: bool) -> None:
    header = f'Last Name,First Name,Username,"HW6 [A] [Total Pts: up to 20 {shown}] |_1_1"'
    upload = fill(f"{header}\nKim,Min,kim,\n".encode(), System.BLACKBOARD, {"kim": 20})
    assert [f"shows this column as {shown}" in notice for notice in upload.notices] == [True] * said


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_stays_so(codec: str) -> None:
    book = "Student,ID,Section,HW6 (1)\r\n김민수,kim,A,\r\n"
    upload = fill(book.encode(codec), System.CANVAS, {"kim": 20})
    assert upload.content == book.replace("A,", "A,20").encode(codec)
