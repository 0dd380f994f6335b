"""The roster: who should have handed in, in whatever way a spreadsheet saved it."""

import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import pytest

import gradebooks
from grader.errors import UserError
from grader.records import Collection, Status, Submission
from submission_folders import by_student, collected, decision_on, hand_in, statuses, write_roster


def test_the_roster_gives_names_and_adds_who_handed_in_nothing(folder: Path) -> None:
    hand_in(folder / "0012_hw6.py")
    roster = write_roster(folder.parent / "roster.csv", "0012,김철수", "0003,Lee")
    students = by_student(collected(folder, roster))
    assert [(one.student_id, one.name) for one in students.values()] == [("0003", "Lee"), ("0012", "김철수")]
    assert students["0003"] == Submission("0003", "Lee")
    assert students["0012"].content is not None
    assert not students["0012"].remarks


def test_who_is_not_on_the_roster_is_kept_and_remarked(folder: Path) -> None:
    hand_in(folder / "guest_hw6.py", b"kept")
    hand_in(folder / "notes.txt")
    roster = write_roster(folder.parent / "roster.csv", "kim,Kim")
    collection = collected(folder, roster)
    guest = by_student(collection)["guest"]
    assert (guest.content, guest.name, guest.remarks) == (b"kept", "", ("not on the roster",))
    assert decision_on(collection, "guest_hw6.py").status is Status.TAKEN
    assert "not on the roster" in decision_on(collection, "guest_hw6.py").reason
    assert "not on the roster" not in decision_on(collection, "notes.txt").reason


@pytest.mark.parametrize("other", ["Kim_Min", "KIM_MIN"])
def test_an_id_that_nearly_matches_is_named_in_both_rows(folder: Path, other: str) -> None:
    hand_in(folder / f"{other}_hw6.py")
    hand_in(folder / "12_hw6.py")
    students = by_student(collected(folder, write_roster(folder.parent / "roster.csv", "kim_min,Kim", "0012,Lee")))
    assert f"perhaps the same student as {other}" in students["kim_min"].remarks[0]
    assert students[other].remarks[0] == "not on the roster"
    assert "perhaps the same student as kim_min" in students[other].remarks[1]
    assert "perhaps the same student as 12" in students["0012"].remarks[0]
    assert "perhaps the same student as 0012" in students["12"].remarks[1]


def test_a_folder_too_high_is_a_mistake_and_gives_nobody_zero_points(folder: Path) -> None:
    hand_in(folder / "unpacked" / "kim" / "hw6.py")
    roster = write_roster(folder.parent / "roster.csv", "kim,Kim")
    with pytest.raises(UserError, match="it has unpacked, the roster has kim"):
        collected(folder, roster)


def test_without_a_roster_nobody_is_a_stranger(folder: Path) -> None:
    hand_in(folder / "kim_hw6.py")
    collection = collected(folder)
    assert not by_student(collection)["kim"].remarks
    assert "roster" not in decision_on(collection, "kim_hw6.py").reason


def test_a_roster_in_the_folder_is_not_taken_for_a_submission(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_in(folder / "kim_hw6.py")
    write_roster(folder / "roster.csv", "kim,Kim")
    monkeypatch.chdir(folder)
    for roster in (folder / "roster.csv", Path("roster.csv"), Path("..", folder.name, "roster.csv")):
        assert statuses(collected(folder, roster)) == {"kim_hw6.py": Status.TAKEN}
    elsewhere = write_roster(folder.parent / "roster.csv", "kim,Kim")
    assert statuses(collected(folder, elsewhere))["roster.csv"] is Status.UNRECOGNISED


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_a_roster_is_read_in_the_encodings_of_spreadsheets(folder: Path, encoding: str) -> None:
    hand_in(folder / "이서연_hw6.py")
    roster = write_roster(folder.parent / "roster.csv", "이서연,이서연", "2,김철수", encoding=encoding)
    students = by_student(collected(folder, roster))
    assert {one.student_id: one.name for one in students.values()} == {"2": "김철수", "이서연": "이서연"}


@pytest.mark.parametrize(
    "text",
    [
        "name,section,student_id\nKim,A,007\n",
        "student_id;name\r\n007;Kim\r\n",
        "student_id\tname\n007\tKim\n",
        " student_id , name \n 007 , Kim \n",
        'student_id,name\n"007","Kim"\n',
        "student_id,name\n\n007,Kim,,\n,\n",
        "student_id,name\r007,Kim\r",
    ],
)
def test_a_roster_is_read_as_spreadsheets_save_it(folder: Path, text: str) -> None:
    hand_in(folder / "007_hw6.py")
    roster = folder.parent / "roster.csv"
    roster.write_bytes(text.encode())
    (student,) = by_student(collected(folder, roster)).values()
    assert (student.student_id, student.name, student.remarks) == ("007", "Kim", ())


def test_ids_of_the_roster_are_composed_and_stay_text(folder: Path) -> None:
    hand_in(folder / "김_hw6.py")
    roster = write_roster(folder.parent / "roster.csv", unicodedata.normalize("NFD", "김,김"), "NA,None", "1e5,x")
    students = by_student(collected(folder, roster))
    assert {one.student_id: one.name for one in students.values()} == {"1e5": "x", "NA": "None", "김": "김"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs one column student_id and has nothing"),
        ("id,name\n1,Kim\n", "needs one column student_id and has id, name"),
        ("student_id\n1\n", "needs one column name"),
        ("student_id,name,name\n1,Kim,Lee\n", "needs one column name"),
        ("student_id,name\n", "lists nobody"),
        ("student_id,name\n,\n\n", "lists nobody"),
        ("student_id,name\n1,Kim\n2,Lee\n 1,Park\n", "has 1 twice, again in line 4"),
        ("student_id,name\n1,Kim\n,Lee\n", "line 3 has no student_id"),
        ("name,student_id\nKim, Minsu,1\n", "line 2 has more cells"),
        ('student_id,name\n1,"Kim\n2,Lee\n', "cannot be read"),
    ],
)
def test_a_wrong_roster_is_one_sentence(folder: Path, text: str, words: str) -> None:
    hand_in(folder / "1_hw6.py")
    roster = folder.parent / "roster.csv"
    roster.write_text(text)
    with pytest.raises(UserError) as caught:
        collected(folder, roster)
    assert words in str(caught.value)
    assert str(roster) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"student_id,name\n1,\xff\n", b"PK\x03\x04\x80\x00\xff"])
def test_a_roster_that_is_no_text_is_one_sentence(folder: Path, content: bytes) -> None:
    hand_in(folder / "1_hw6.py")
    roster = folder.parent / "roster.xlsx"
    roster.write_bytes(content)
    with pytest.raises(UserError, match="neither UTF-8, UTF-16 nor cp949"):
        collected(folder, roster)


def test_a_roster_that_is_missing_or_a_folder_is_one_sentence(folder: Path) -> None:
    hand_in(folder / "1_hw6.py")
    for roster, words in ((folder / "nowhere.csv", "No such file"), (folder, "Is a directory")):
        with pytest.raises(UserError, match=words):
            collected(folder, roster)


DUE = 1_796_087_940
HOUR = 3_600
DEADLINE = datetime(2026, 12, 1, 1, 19, tzinfo=UTC)


def with_extensions(folder: Path, *lines: str, deadline: datetime | None = DEADLINE) -> Collection:
    roster = write_roster(folder.parent / "roster.csv", *lines, header="student_id,name,deadline")
    return collected(folder, roster, deadline)


def test_the_roster_s_deadline_comes_before_the_class_s_for_one_student(folder: Path) -> None:
    for student in ("kim", "lee", "park", "guest"):
        hand_in(folder / f"{student}_hw6.py", at=DUE + HOUR)
    collection = with_extensions(
        folder, "kim,Kim,2026-12-01T12:00+09:00", "lee,Lee,2026-12-01 01:20 UTC", "park,Park, "
    )
    late = {student: bool(submission.late) for student, submission in by_student(collection).items()}
    assert late == {"kim": False, "lee": True, "park": True, "guest": True}
    assert "2026-12-01 01:20:00+00:00" in by_student(collection)["lee"].late
    assert collection.notices[0].startswith("deadline: 2026-12-01 01:19:00+00:00, and 2 on the roster with ")
    assert "times are the files' own" in collection.notices[0]


def test_a_deadline_of_the_roster_holds_without_one_of_the_class(folder: Path) -> None:
    for student in ("kim", "park"):
        hand_in(folder / f"{student}_hw6.py", at=DUE + HOUR)
    collection = with_extensions(folder, "kim,Kim,2026-12-01T01:19Z", "park,Park", deadline=None)
    assert statuses(collection) == {"kim_hw6.py": Status.LATE, "park_hw6.py": Status.TAKEN}
    assert "none for the class, and 1 on the roster" in collection.notices[0]


@pytest.mark.parametrize(
    "header", ["student_id,deadline,name", "deadline;student_id;name", "name\tdeadline\tstudent_id"]
)
def test_the_deadline_s_column_may_stand_anywhere(folder: Path, header: str) -> None:
    hand_in(folder / "kim_hw6.py", at=DUE + 1)
    separator = next(sign for sign in ",;\t" if sign in header)
    cells = {"student_id": "kim", "name": "Kim", "deadline": "2026-12-01T01:19Z"}
    line = separator.join(cells[column] for column in header.split(separator))
    roster = write_roster(folder.parent / "roster.csv", line, header=header)
    (student,) = collected(folder, roster).submissions
    assert (student.name, student.late) == (
        "Kim",
        "kim_hw6.py came 1 second after the deadline, 2026-12-01 01:19:00+00:00",
    )


@pytest.mark.parametrize(
    ("deadline", "words"),
    [
        ("2026-12-01 23:59", "names no time zone"),
        ("next week", "write a date, a time and a zone"),
        ("2026-12-01 23:59 KST", "knows no time zone KST"),
    ],
)
def test_a_wrong_deadline_of_the_roster_names_line_and_student(folder: Path, deadline: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        with_extensions(folder, "lee,Lee,", f"kim,Kim,{deadline}")
    assert f"roster.csv, line 3, student kim: the deadline {deadline} " in str(caught.value)
    assert words in str(caught.value)


def test_two_columns_of_deadlines_are_one_sentence(folder: Path) -> None:
    roster = write_roster(folder.parent / "roster.csv", "1,Kim,,", header="student_id,name,deadline,deadline")
    with pytest.raises(UserError, match="more than one column deadline"):
        collected(folder, roster)


def ids_and_names(folder: Path, content: bytes) -> dict[str, str]:
    hand_in(folder / "nobody_hw6.py")
    roster = folder.parent / "downloaded.xls"
    roster.write_bytes(content)
    students = by_student(collected(folder, roster))
    assert "not on the roster" in students.pop("nobody").remarks
    return {student_id: one.name for student_id, one in students.items()}


def test_blackboard_s_gradebook_is_a_roster(folder: Path) -> None:
    names = ids_and_names(folder, gradebooks.blackboard((("kim", "김", ""), ("lee_s.1", 'Lee, "Sam"', "6"))))
    assert names == {"kim": "민\n수 김", "lee_s.1": '민\n수 Lee, "Sam"'}


def test_a_korean_name_of_blackboard_s_is_written_as_koreans_write_it(folder: Path) -> None:
    text = '"Last Name"\t"First Name"\t"Username"\n"김"\t"민수"\t"kim"\n"Lee"\t"Sam"\t"lee"\n'
    assert ids_and_names(folder, text.encode("utf-16")) == {"kim": "김민수", "lee": "Sam Lee"}


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_canvas_gradebook_is_a_roster_without_its_rows_about_assignments(folder: Path, delimiter: str) -> None:
    students = (("101", "김민수", ""), ("102", "Lee, Sam", "6"))
    content = gradebooks.canvas(students, delimiter)
    assert ids_and_names(folder, content) == {"101": "김민수", "102": "Lee, Sam"}


def test_moodle_s_worksheet_is_a_roster_by_the_number_of_the_participant(folder: Path) -> None:
    assert ids_and_names(folder, gradebooks.moodle((("37", "김민수", ""),))) == {"37": "김민수"}
    translated = "Identifier,Full name\n참가자 38,이서연\n"
    assert ids_and_names(folder, translated.encode()) == {"38": "이서연"}


def test_a_gradebook_is_matched_by_id_and_never_by_name(folder: Path) -> None:
    hand_in(folder / "김민수_hw6.py")
    names = ids_and_names(folder, gradebooks.canvas((("101", "김민수", ""),)))
    assert names == {"101": "김민수", "김민수": ""}
