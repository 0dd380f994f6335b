"""The page itself says who was left out and why, and under which name and when a file was handed in."""

import re
from datetime import datetime
from pathlib import Path

import pytest

from grader.records import Decision, Status, Submission
from grader.report import page as page_module
from grader.report.page import Student, left_out
from grader.results.entries import Result
from page_examples import page, result
from record_examples import KOREA, entry, submission

NO_FILE = "the attempt of 2026-11-20 10:00:00 has no hw6.py, only report.pdf"
LATE = "kim_hw6.py came 10 hours after the deadline, 2026-11-21 23:59+09:00"
UNREADABLE = "all.zip is not a zip archive that can be read"
PDF = Decision("park_report.pdf", "park", Status.UNRECOGNISED, "has no hw6.py: look at it by hand")


def absent(student_id: str, **more: object) -> Submission:
    return submission(
        **{"student_id": student_id, "content": None, "sha256": "", "file": "", "submitted_at": None} | more
    )


CLASS = (
    absent("kim", late=LATE),
    absent("lee", unreadable=UNREADABLE, file="all.zip"),
    absent("park", remarks=(NO_FILE,)),
    absent("choi"),
    submission(student_id="stranger", on_roster=False, file="stranger/hw6.py"),
    submission(student_id="han"),
)


def rows() -> list[Result]:
    return [result(each, entry(student_id=each.student_id) if each.content else None) for each in CLASS]


def text_of(html: str) -> str:
    """What a person reads, without the table and the sections below it."""
    return " ".join(re.sub(r"<[^>]*>", "", html.partition('<section aria-labelledby="table-title">')[0]).split())


def test_each_reason_has_its_students_and_what_is_to_be_said_of_them() -> None:
    students = [Student(row, attempts=(PDF,) if row.submission.student_id == "park" else ()) for row in rows()]
    found = {
        group.label: [(student.result.submission.student_id, said) for student, said in group.each]
        for group in left_out(students)
    }
    assert found == {
        "every file came after the deadline": [("kim", LATE)],
        "the file cannot be read": [("lee", UNREADABLE)],
        "handed in, but without a file that can be graded": [("park", NO_FILE)],
        "handed in nothing": [("choi", "")],
        "not on the roster": [("stranger", "stranger/hw6.py")],
    }


def test_the_page_names_who_was_left_out_why_and_the_files_of_nobody(tmp_path: Path) -> None:
    nobodys = Decision("notes.txt", "", Status.UNRECOGNISED, "its name names no student")
    beside = Decision(".DS_Store", "", Status.BESIDE, "made by the system")
    html = page(rows(), tmp_path, (nobodys, beside))
    card = text_of(html).partition("Left out, and why")[2]
    for said in (LATE, UNREADABLE, NO_FILE, "choi", "stranger/hw6.py", "notes.txt: its name names no student"):
        assert said in card
    assert "han" not in card.split()
    assert ".DS_Store" not in card
    assert html.count('href="#s-choi"') == 3  # in the card, in the table, and beside the count of those without points


def test_a_remark_on_a_file_is_no_kind_of_its_own_among_the_reasons_to_look(tmp_path: Path) -> None:
    late = "HW6_kim_attempt_2026-11-22-00-31-00_hw6.py is late and is not used: it came 32 minutes after the deadline"
    one = result(submission(student_id="lee", remarks=(late, "not on the roster")), entry(student_id="lee"))
    other = result(absent("park", remarks=(NO_FILE,)))
    (kinds,) = re.findall(r'<ul class="kinds">(.*?)</ul>', page([one, other], tmp_path), re.DOTALL)
    assert re.findall(r"<strong>(.*?)</strong>", kinds) == ["which file counts, or whose it is", "not on the roster"]


def test_where_nobody_was_left_out_nothing_is_said_of_it(tmp_path: Path) -> None:
    html = page([result(submission(), entry())], tmp_path)
    assert "Left out" not in html
    assert "left out" not in html


def test_of_many_some_are_named_and_the_others_counted(tmp_path: Path) -> None:
    many = [result(absent(f"s{number:03}")) for number in range(100)]
    card = text_of(page(many, tmp_path)).partition("Left out, and why")[2]
    assert "s000, s001" in card
    # The page's example says of the first twenty that files were found.
    assert "s011, and 8 more" in card
    assert "s031, and 68 more" in card
    assert "s012" not in card


@pytest.mark.parametrize("most_whole", [2_000, 0], ids=["small class", "large class"])
def test_each_section_has_the_student_s_own_name_of_the_file_and_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_whole: int
) -> None:
    monkeypatch.setattr(page_module, "MOST_WHOLE", most_whole)
    named = submission(
        file="HW6_kim_attempt_2026-11-21-10-00-00_hw6__1_.py",
        original="hw6 (1).py",
        submitted_at=datetime(2026, 11, 21, 10, tzinfo=KOREA),
    )
    text = " ".join(re.sub(r"<[^>]*>", "", page([result(named, entry())], tmp_path)).split())
    assert "Handed in hw6 (1).py, 2026-11-21 10:00+09:00 (HW6_kim_attempt_2026-11-21-10-00-00_hw6__1_.py)" in text


def test_of_who_has_no_file_the_section_says_what_was_found(tmp_path: Path) -> None:
    html = page([result(absent("park", remarks=(NO_FILE,)))], tmp_path, (PDF,))
    assert "park_report.pdf: has no hw6.py" in html
