"""The roster: who should have handed in, in whatever way a spreadsheet saved it."""

import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import pytest

import gradebooks
from archives import canvas_entry
from grader.collect import collect
from grader.collect.roster import read_roster
from grader.data import CACHE
from grader.errors import UserError
from grader.records import Collection, Status, Submission
from submission_folders import ASSIGNMENT, by_student, collected, decision_on, hand_in, statuses, write_roster


def test_the_roster_gives_names_and_adds_who_handed_in_nothing(folder: Path) -> None:
    hand_in(folder / "0012_hw6.py")
    roster = write_roster(folder.parent / "roster.csv", "0012,김철수", "0003,Lee")
    students = by_student(collected(folder, roster))
    assert [(one.student_id, one.name) for one in students.values()] == [("0003", "Lee"), ("0012", "김철수")]
    assert students["0003"] == Submission("0003", "Lee")
    assert students["0012"].content is not None
    assert not students["0012"].remarks


def test_who_is_not_on_the_roster_is_kept_and_remarked(folder: Path) -> None:
    hand_in(folder / "kim_hw6.py")
    hand_in(folder / "guest_hw6.py", b"kept")
    hand_in(folder / "notes.txt")
    roster = write_roster(folder.parent / "roster.csv", "kim,Kim")
    collection = collected(folder, roster)
    guest = by_student(collection)["guest"]
    assert (guest.content, guest.name, guest.remarks) == (b"kept", "", ("not on the roster",))
    assert decision_on(collection, "guest_hw6.py").status is Status.TAKEN
    assert "not on the roster" in decision_on(collection, "guest_hw6.py").reason
    assert "not on the roster" not in decision_on(collection, "notes.txt").reason


@pytest.mark.parametrize("other", ["Kim_Min", "KIM_MIN", "'kim_min"])
def test_an_id_that_nearly_matches_is_named_in_both_rows(folder: Path, other: str) -> None:
    hand_in(folder / f"{other}_hw6.py")
    for student in ("12", "park", "choi"):
        hand_in(folder / f"{student}_hw6.py")
    lines = ("kim_min,Kim", "0012,Lee", "park,Park", "choi,Choi")
    students = by_student(collected(folder, write_roster(folder.parent / "roster.csv", *lines)))
    assert f"perhaps the same student as {other}" in students["kim_min"].remarks[0]
    assert students[other].remarks[0] == "not on the roster"
    assert "perhaps the same student as kim_min" in students[other].remarks[1]
    assert "perhaps the same student as 12" in students["0012"].remarks[0]
    assert "perhaps the same student as 0012" in students["12"].remarks[1]


def test_a_folder_too_high_is_a_mistake_and_gives_nobody_zero_points(folder: Path) -> None:
    hand_in(folder / "unpacked" / "kim" / "hw6.py")
    roster = write_roster(folder.parent / "roster.csv", "kim,Kim")
    with pytest.raises(UserError, match="not on it are unpacked, and only on it kim"):
        collected(folder, roster)


def test_without_a_roster_nobody_is_a_stranger(folder: Path) -> None:
    hand_in(folder / "kim_hw6.py")
    collection = collected(folder)
    assert not by_student(collection)["kim"].remarks
    assert "roster" not in decision_on(collection, "kim_hw6.py").reason


@pytest.mark.parametrize("beside", ["kim_hw6.py", canvas_entry("kim", "101", 9001, "hw6.py", late=False)])
def test_what_the_grader_writes_into_the_folder_is_no_student_s(
    folder: Path, monkeypatch: pytest.MonkeyPatch, beside: str
) -> None:
    for file in (beside, "results/report.json", "results/feedback/kim.html", "data/cifar-10-batches-py/test_batch"):
        hand_in(folder / file)
    monkeypatch.chdir(folder)
    for out in (folder / "results", Path("results"), Path("..", folder.name, "results")):
        collection = collect(Path(), None, ASSIGNMENT, own=(out, CACHE))
        assert len(collection.submissions) == 1
        assert [decision.file for decision in collection.decisions] == [beside]


def test_a_roster_in_the_folder_is_not_taken_for_a_submission(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_in(folder / "kim_hw6.py")
    write_roster(folder / "roster.csv", "kim,Kim")
    monkeypatch.chdir(folder)
    for roster in (folder / "roster.csv", Path("roster.csv"), Path("..", folder.name, "roster.csv")):
        assert statuses(collected(folder, roster)) == {"kim_hw6.py": Status.TAKEN}
    elsewhere = write_roster(folder.parent / "roster.csv", "kim,Kim")
    assert statuses(collected(folder, elsewhere))["roster.csv"] is Status.UNRECOGNISED


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le", "utf-16-be"])
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
        'student_id,name\n="007",Kim\n',
        "sep=;\r\nstudent_id;name\r\n007;Kim\r\n",
        "Student_ID,NAME\n007,Kim\n",
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
        ("ID,Name\n1,Kim\n", "needs one column student_id and has ID, Name"),
        ("Username,Name\n1,Kim\n", "needs one column student_id and has Username, Name"),
        ("name,student_id\nKim, Minsu,1\n", "line 2 has more cells"),
        ('student_id,name\n1,"Kim\n2,Lee\n', "cannot be read (its quotes do not match: "),
        ('student_id,name\n1,"Kim" Lee\n', "cannot be read (its quotes do not match: "),
        ("student_id,name\n1,Kim\n2.0261E+15,Lee\n", "line 3 has 2.0261E+15, a number that a spreadsheet"),
        ("student_id,name\n20261001.0,Kim\n", "line 2 has 20261001.0, a number that a spreadsheet"),
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


# What Excel saves as plain CSV in Western Europe is no UTF-8.
WESTERN = '"Müller";"Jürgen";1\n'.encode("cp1252")


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00", b"student_id,name\n1,\xff\n", b"student_id,name\n1,K\0m\n", b"PK\x03\x04\x80\x00\xff", WESTERN],
)
def test_a_roster_that_is_no_text_is_one_sentence(folder: Path, content: bytes) -> None:
    hand_in(folder / "1_hw6.py")
    roster = folder.parent / "roster.xlsx"
    roster.write_bytes(content)
    with pytest.raises(UserError, match=r"neither UTF-8, UTF-16 nor cp949 .*: save it as CSV .* as UTF-8$"):
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
    roster = folder.parent / "downloaded.xls"
    roster.write_bytes(content)
    return {student_id: line.name for student_id, line in read_roster(roster).lines.items()}


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


@pytest.mark.parametrize(("test_student", "split"), [("Student, Test", False), ("Student,Test", True)])
def test_canvas_test_student_is_listed_only_where_it_handed_something_in(
    folder: Path, test_student: str, split: bool
) -> None:
    roster = folder.parent / "downloaded.csv"
    roster.write_bytes(gradebooks.canvas((("101", "Kim,Min", ""), ("999", test_student, "")), split=split))
    hand_in(folder / "101_hw6.py")
    assert list(by_student(collected(folder, roster))) == ["101"]
    hand_in(folder / "999_hw6.py")
    assert by_student(collected(folder, roster))["999"].on_roster


@pytest.mark.parametrize("blank", ["\n", "\r\n \r\n", ",,\n", " , \n"])
def test_blank_lines_before_the_header_and_after_it_are_passed_over(folder: Path, blank: str) -> None:
    assert ids_and_names(folder, f"{blank}student_id,name\n{blank}1,Kim\n{blank}".encode()) == {"1": "Kim"}


@pytest.mark.parametrize("unseen", ["\u200b", "\ufeff", "\u200e", "\u00ad", "\u2060"])
def test_an_id_that_differs_by_a_sign_that_nobody_sees_is_named_in_both_rows(folder: Path, unseen: str) -> None:
    for student in ("kim", "lee"):
        hand_in(folder / student / "hw6.py")
    students = by_student(collected(folder, write_roster(folder.parent / "roster.csv", f"k{unseen}im,K", "lee,L")))
    assert "perhaps the same student" in " ".join(students["kim"].remarks)
    assert "perhaps the same student" in " ".join(students[f"k{unseen}im"].remarks)


def test_moodle_s_worksheet_is_a_roster_by_the_number_of_the_participant(folder: Path) -> None:
    assert ids_and_names(folder, gradebooks.moodle((("37", "김민수", ""),))) == {"37": "김민수"}
    translated = "Identifier,Full name\n참가자 38,이서연\n"
    assert ids_and_names(folder, translated.encode()) == {"38": "이서연"}


def test_canvas_other_gradebook_with_the_names_in_two_columns_is_a_roster(folder: Path) -> None:
    students = (("101", "김,민수", ""), ("102", "Lee,Sam", "6"))
    assert ids_and_names(folder, gradebooks.canvas(students, split=True)) == {"101": "김민수", "102": "Sam Lee"}


def test_a_teacher_s_own_columns_hide_no_system_s(folder: Path) -> None:
    worksheet = "Identifier,Full name,Username,Email address,Grade\nParticipant 37,Kim,kim,kim@uni.kr,\n"
    assert ids_and_names(folder, worksheet.encode()) == {"37": "Kim"}
    book = "Student,ID,SIS Login ID,Section,student_id,ID\nKim,101,kim,A,2026,\n"
    assert ids_and_names(folder, book.encode()) == {"101": "Kim"}


def refusal(folder: Path, roster: Path) -> str:
    with pytest.raises(UserError) as caught:
        collected(folder, roster)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_gradebook_is_matched_by_id_and_never_by_name(folder: Path) -> None:
    hand_in(folder / "김민수_hw6.py")
    roster = folder.parent / "downloaded.csv"
    roster.write_bytes(gradebooks.canvas((("101", "김민수", ""),)))
    assert "not on it are 김민수, and only on it 101" in refusal(folder, roster)


@pytest.mark.parametrize("known", [0, 1])
def test_a_class_of_which_fewer_than_half_are_on_the_roster_is_refused_with_three_of_each_side(
    folder: Path, known: int
) -> None:
    for student in ("c", "b", "a", "d", "1")[: 4 + known]:
        hand_in(folder / student / "hw6.py")
    roster = write_roster(folder.parent / "roster.csv", *(f"{number},N" for number in (1, 2, 3, 4, 5)))
    sentence = refusal(folder, roster)
    assert sentence.startswith(f"only {known} of the 5 students" if known else "none of the 4 students")
    assert f"not on it are a, b, c, and only on it {'2, 3, 4' if known else '1, 2, 3'}; pass the" in sentence


def test_half_of_a_class_is_enough(folder: Path) -> None:
    for student in ("1", "guest"):
        hand_in(folder / student / "hw6.py")
    assert len(collected(folder, write_roster(folder.parent / "roster.csv", "1,N", "2,N")).submissions) == 3


def test_ids_that_lost_their_zeros_are_refused_and_said(folder: Path) -> None:
    hand_in(folder / "12_hw6.py")
    assert "zeros in front" in refusal(folder, write_roster(folder.parent / "roster.csv", "0012,Lee"))


@pytest.mark.parametrize("called", ["kim", "kim@uni.ac.kr", "s-1"])
def test_folders_by_login_or_address_or_number_are_matched_by_that_column(folder: Path, called: str) -> None:
    hand_in(folder / called / "hw6.py", b"kim's")
    hand_in(folder / "guest" / "hw6.py")
    header = "Student,ID,SIS User ID,SIS Login ID,E-mail,Section"
    lines = ('"Kim, M",101,s-1,kim,kim@uni.ac.kr,A', '"Lee, S",102,s-2,lee,lee@uni.ac.kr,A')
    collection = collected(folder, write_roster(folder.parent / "canvas.csv", *lines, header=header))
    students = by_student(collection)
    assert (students["101"].name, students["101"].content) == ("Kim, M", b"kim's")
    assert set(students) == {"101", "102", "guest"}
    assert any("matched by the roster's column" in notice for notice in collection.notices)
    assert decision_on(collection, f"{called}/hw6.py").student_id == "101"


def test_a_login_that_two_have_names_nobody(folder: Path) -> None:
    hand_in(folder / "kim" / "hw6.py")
    roster = write_roster(folder.parent / "r.csv", "1,K,kim", "2,K,kim", header="student_id,name,login")
    assert refusal(folder, roster).startswith("none of the 1 students")


def test_ids_come_before_logins_where_they_name_the_class(folder: Path) -> None:
    hand_in(folder / "1" / "hw6.py", b"one's")
    roster = write_roster(folder.parent / "r.csv", "1,K,2", "2,L,1", header="student_id,name,login")
    assert by_student(collected(folder, roster))["1"].content == b"one's"


def test_a_worksheet_in_another_language_is_a_roster_and_whoever_is_suspended_has_a_plain_name(folder: Path) -> None:
    header = "ID,Vollständiger Name,E-Mail-Adresse,Status,Bewertung,Bestwertung,Bewertung kann geändert werden,Zuletzt"
    rows = (
        'Teilnehmer/in37,Kim Min,k@u.kr,abgegeben,,"20,00",Ja,-',
        'Teilnehmer/in38,"<span>Lee <img src=""x"" /></span>",l@u.kr,abgegeben,"6,00","20,00",Ja,-',
    )
    lines = read_roster(write_roster(folder.parent / "w.csv", *rows, header=header)).lines
    assert {key: line.name for key, line in lines.items()} == {"37": "Kim Min", "38": "Lee"}
    blind = "ID,Status,Bewertung,Bestwertung,Bewertung kann geändert werden,Zuletzt"
    hidden = tuple(f"Teilnehmer/in{number},abgegeben,,20,Ja,-" for number in (37, 38, 39))
    lines = read_roster(write_roster(folder.parent / "w.csv", *hidden, header=blind)).lines
    assert {key: line.name for key, line in lines.items()} == {"37": "", "38": "", "39": ""}


def test_blackboard_s_preview_user_need_not_hand_anything_in(folder: Path) -> None:
    roster = folder.parent / "gc.csv"
    roster.write_text("Last Name,First Name,Username\nKim,Min,kim\nHan_PreviewUser,Ada,han_previewuser\n")
    assert {key: line.guest for key, line in read_roster(roster).lines.items()} == {
        "kim": False,
        "han_previewuser": True,
    }


def test_addresses_of_another_domain_name_the_same_students(folder: Path) -> None:
    for student in ("kim@uni.kr", "lee@uni.kr"):
        hand_in(folder / student / "hw6.py", student.encode())
    lines = ("1,Kim,kim@mail.uni.kr", "2,Lee,lee@mail.uni.kr")
    collection = collected(folder, write_roster(folder.parent / "roster.csv", *lines, header="student_id,name,e-mail"))
    assert {key: one.content for key, one in by_student(collection).items()} == {"1": b"kim@uni.kr", "2": b"lee@uni.kr"}
    assert "the roster's column e-mail, before the @" in collection.notices[0]


def test_one_student_s_address_among_ids_is_that_student(folder: Path) -> None:
    for student in ("1", "2", "Choi@uni.kr", "park@uni.kr"):
        hand_in(folder / student / "hw6.py")
    lines = ("1,Kim,k@uni.kr", "2,Lee,l@uni.kr", "3,Choi,choi@uni.kr", "4,Han,h@uni.kr")
    students = by_student(
        collected(folder, write_roster(folder.parent / "r.csv", *lines, header="student_id,name,email"))
    )
    assert {key: one.on_roster for key, one in students.items()} == {
        **dict.fromkeys(("1", "2", "3", "4"), True),
        "park@uni.kr": False,
    }
    assert (students["3"].content is not None, students["4"].content) == (True, None)


def test_a_folder_in_a_folder_is_read_as_the_system_s(folder: Path) -> None:
    inner = folder / "ML-HW6-11"
    for number in (37, 38):
        hand_in(inner / f"Kim_{number}_assignsubmission_file_" / "hw6.py")
    (folder / ".DS_Store").write_bytes(b"")
    assert list(by_student(collected(folder))) == ["37", "38"]


@pytest.mark.parametrize("file", ["kim.m-hw6.py", "KIM.M.py", "hw6 kim.m 김민수.py", "0kim.m_hw6_late.py"])
def test_a_file_that_names_no_student_by_the_rules_is_shown_to_whoever_may_have_handed_it_in(
    folder: Path, file: str
) -> None:
    for name in ("lee_hw6.py", file):
        hand_in(folder / name)
    roster = write_roster(folder.parent / "roster.csv", "kim.m,Kim", "lee,Lee", "m,Moon")
    students = by_student(collected(folder, roster))
    assert students["kim.m"].remarks == (
        f"perhaps {file} is theirs: it names no student by the rules, so nothing counts",
    )
    assert students["lee"].remarks == ()


def test_a_folder_with_a_name_behind_the_id_is_perhaps_that_student_s(folder: Path) -> None:
    for name in ("20260001_김민수", "20260002"):
        hand_in(folder / name / "hw6.py")
    roster = write_roster(folder.parent / "roster.csv", "20260001,Kim", "20260002,Lee", "2026,Park")
    students = by_student(collected(folder, roster))
    assert students["20260001"].remarks == (
        "perhaps the same student as 20260001_김민수: make the ids equal in the roster",
    )
    assert "perhaps the same student as 20260001" in students["20260001_김민수"].remarks[1]
    assert students["2026"].remarks == ()
