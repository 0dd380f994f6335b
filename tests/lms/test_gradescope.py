"""Gradescope's export: the metadata says whose an upload is, a group's is everyone's, and nobody's is lost."""

import json
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archives import packed, unpack, write_archive
from grader.assignment import load_assignment
from grader.cli.export import _write_gradescope
from grader.collect.roster import read_roster
from grader.errors import UserError
from grader.lms.rehearsal import gradescope_metadata
from grader.records import Outcome, Status
from grader.results.entries import Grade, Result
from grader.results.score import grade
from record_examples import entry, submission
from submission_folders import by_student, collected, decision_on, statuses, write_roster

KIM, LEE, PARK = ("0012", "김민수"), ("0013", 'Lee: "Sam"'), ("0014", "O'Neil, Ann")
T1, T2, T3 = "2026-11-19 10:00:00", "2026-11-20 10:00:00", "2026-11-22 10:00:00"
DUE = datetime(2026, 11, 21, tzinfo=UTC)
Uploads = list[tuple[str, list[tuple[str, str]], str, list[str]]]


def export(tmp_path: Path, uploads: Uploads, files: dict[str, bytes], around: str = "assignment_1_export/") -> Path:
    entries = {"submission_metadata.yml": gradescope_metadata(uploads), **files}
    return write_archive(tmp_path / "export.zip", {f"{around}{name}": content for name, content in entries.items()})


@pytest.mark.parametrize("around", ["", "assignment_1_export/"])
def test_an_archive_and_its_folder_name_everyone_by_number_and_the_time_is_gradescope_s(
    tmp_path: Path, around: str
) -> None:
    uploads: Uploads = [
        ("submission_1", [KIM], T2, [T1]),
        ("submission_2", [LEE], T2, []),
        ("submission_3", [PARK], T3, []),
    ]
    files = {
        "submission_1/hw6.py": b"k",
        "submission_1/resnet.py": b"x = 1",
        "submission_1/.DS_Store": b"",
        "submission_2/hw6 (1).py": b"l",
        "submission_3/hw6.py": b"p",
    }
    archive = export(tmp_path, uploads, files, around)
    for path in (archive, unpack(archive, tmp_path / "unpacked"), tmp_path / "unpacked" / around):
        collection = collected(path, deadline=DUE)
        students = by_student(collection)
        assert {key: one.content for key, one in students.items()} == {"0012": b"k", "0013": b"l", "0014": None}
        assert [one.name for one in students["0012"].companions] == ["resnet.py"]
        assert students["0012"].submitted_at == datetime(2026, 11, 20, 10, 0, 0, 938335, tzinfo=UTC)
        assert students["0012"].remarks == ()
        assert "after the deadline" in students["0014"].late
        assert collection.notices[:2] == (
            "layout: Gradescope's, recognised by its names; FORMAT= says otherwise",
            "deadline: 2026-11-21 00:00:00+00:00; times are Gradescope's",
        )


def test_a_group_s_upload_counts_for_each_member_and_a_person_is_told(tmp_path: Path) -> None:
    archive = export(tmp_path, [("submission_1", [KIM, LEE], T2, [])], {"submission_1/hw6.py": b"x"})
    students = by_student(collected(archive))
    assert {key: (one.content, one.remarks) for key, one in students.items()} == {
        "0012": (b"x", ("handed in together with 0013",)),
        "0013": (b"x", ("handed in together with 0012",)),
    }


def test_where_the_active_upload_is_late_the_one_in_time_is_asked_for_and_nobody_gets_0(tmp_path: Path) -> None:
    uploads: Uploads = [("submission_1", [KIM], T3, [T1, T2]), ("submission_2", [LEE], T3, ["2026-11-22 09:00:00"])]
    archive = export(tmp_path, uploads, {"submission_1/hw6.py": b"late", "submission_2/hw6.py": b"late"})
    collection = collected(archive, deadline=DUE)
    kim, lee = (by_student(collection)[each] for each, _ in (KIM, LEE))
    assert (kim.content, kim.late, bool(lee.late)) == (None, "", True)
    assert grade(kim, None, load_assignment()).points is None
    assert "the upload 2 of 2026-11-20 10:00:00 UTC is not in the export" in kim.unreadable
    assert statuses(collection)["assignment_1_export/submission_1/hw6.py"] is Status.LATE


def test_an_upload_that_was_set_aside_for_an_earlier_one_never_counts(tmp_path: Path) -> None:
    archive = export(tmp_path, [("submission_1", [KIM], T1, [T2, T3])], {"submission_1/hw6.py": b"active"})
    assert by_student(collected(archive, deadline=DUE))["0012"].content == b"active"


def test_an_active_upload_without_the_file_hides_no_earlier_one(tmp_path: Path) -> None:
    archive = export(tmp_path, [("submission_1", [KIM], T2, [T1])], {"submission_1/report.pdf": b"%PDF"})
    kim = by_student(collected(archive, deadline=DUE))["0012"]
    assert "of 2026-11-19 10:00:00 UTC is not in the export" in kim.unreadable


def test_who_has_no_number_is_known_by_the_address_that_the_roster_has(tmp_path: Path) -> None:
    uploads: Uploads = [(f"submission_{place}", [each], T2, []) for place, each in enumerate((KIM, LEE, ("", "Choi")))]
    archive = export(tmp_path, uploads, {f"submission_{place}/hw6.py": b"x" for place in range(3)})
    assert list(by_student(collected(archive))) == ["0012", "0013", "Choi@uni.example"]
    lines = ("0012,K,k@u.kr", "0013,L,l@u.kr", "0099,C,choi@Uni.example")
    roster = write_roster(tmp_path / "roster.csv", *lines, header="student_id,name,Email")
    students = by_student(collected(archive, roster))
    assert {key: one.on_roster for key, one in students.items()} == {"0012": True, "0013": True, "0099": True}


def test_what_the_metadata_does_not_name_is_listed_and_nobody_s(tmp_path: Path) -> None:
    uploads: Uploads = [("submission_1", [KIM], T2, []), ("submission_2", [], T2, []), ("submission_4", [LEE], T2, [])]
    files = {f"submission_{number}/hw6.py": b"x" for number in (1, 2, 3)}
    collection = collected(export(tmp_path, uploads, files))
    for number in (2, 3):
        decision = decision_on(collection, f"assignment_1_export/submission_{number}/hw6.py")
        assert (decision.status, "names no student" in decision.reason) == (Status.UNRECOGNISED, True)
    assert by_student(collection)["0013"].remarks == ("the upload submission_4 has no file",)


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("2026-11-20 01:00:00.938335000 Z", datetime(2026, 11, 20, 1, 0, 0, 938335, tzinfo=UTC)),
        ("2026-11-20 10:00:00 +09:00", datetime(2026, 11, 20, 1, tzinfo=UTC)),
        ("2026-11-20T01:00:00Z", datetime(2026, 11, 20, 1, tzinfo=UTC)),
        ("2026-11-20 01:00:00", datetime(2026, 11, 20, 1, tzinfo=UTC)),
        ("2026-11-20 01:00:00 UTC", datetime(2026, 11, 20, 1, tzinfo=UTC)),
        (
            "!ruby/object:ActiveSupport::TimeWithZone\n    utc: &1 2026-11-20 01:00:00.000000000 Z\n"
            "    zone: !ruby/object:ActiveSupport::TimeZone\n      name: Asia/Seoul\n    time: 2026-11-20 10:00:00 Z",
            datetime(2026, 11, 20, 1, tzinfo=UTC),
        ),
    ],
)
def test_times_are_read_as_ruby_writes_them(tmp_path: Path, time: str, moment: datetime) -> None:
    said = f"submission_1:\n  :submitters:\n  - :sid: 0012\n    :email:\n  :created_at: {time}\n"
    entries = {"submission_metadata.yml": said.encode(), "submission_1/hw6.py": b"x"}
    (kim,) = collected(write_archive(tmp_path / "export.zip", entries)).submissions
    assert (kim.student_id, kim.content, kim.submitted_at) == ("0012", b"x", moment)


@pytest.mark.parametrize(("time", "read"), [("", True), ("gestern", False), ("2026-13-01 00:00:00 Z", False)])
def test_a_time_that_cannot_be_read_is_no_time_and_one_that_is_missing_decides_nothing(
    tmp_path: Path, time: str, read: bool
) -> None:
    said = f"submission_1:\n  :submitters:\n  - :sid: '1'\n  :created_at: {time}\n"
    entries = {"submission_metadata.yml": said.encode(), "submission_1/hw6.py": b"x"}
    (kim,) = collected(write_archive(tmp_path / "export.zip", entries), deadline=DUE).submissions
    assert (kim.content is not None) is read
    assert ("no time that can be read" in kim.unreadable) is not read


@pytest.mark.parametrize(
    "content",
    [b"", b"- a\n", b"a: [", b"text", b"a: b\n", b"a:\n  :submitters: x\n", b"\x00\x01", b"a: !!python/object:os.x\n"],
)
def test_metadata_of_another_kind_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    archive = write_archive(tmp_path / "export.zip", {"submission_metadata.yml": content, "submission_1/hw6.py": b"x"})
    with pytest.raises(
        UserError, match=r"submission_metadata\.yml cannot be read .*: export the submissions"
    ) as caught:
        collected(archive)
    assert "\n" not in str(caught.value)


def test_what_gradescope_lists_is_a_roster_without_its_teachers(tmp_path: Path) -> None:
    roster = tmp_path / "roster.csv"
    roster.write_text(
        "First Name,Last Name,SID,Email,Role,Sections\n민수,김,0012,k@u.kr,Student,A\n"
        "Ada,Teacher,,ada@u.kr,Instructor,\nSam,Lee,,lee@u.kr,Student,A\n"
    )
    lines = read_roster(roster).lines
    assert {key: (line.name, line.guest) for key, line in lines.items()} == {
        "0012": ("김민수", False),
        "ada@u.kr": ("Ada Teacher", True),
        "lee@u.kr": ("Sam Lee", False),
    }
    roster.write_text("Name,SID,Email,Total Score,Max Points,Status\nKim,0012,k@u.kr,,20.0,Missing\n")
    assert {key: line.name for key, line in read_roster(roster).lines.items()} == {"0012": "Kim"}


def test_a_student_s_file_of_the_metadata_s_name_makes_no_export(tmp_path: Path) -> None:
    archive = tmp_path / "moodle.zip"
    archive.write_bytes(
        packed(
            {"Kim_1_assignsubmission_file_/submission_metadata.yml": b"", "Kim_1_assignsubmission_file_/hw6.py": b"x"}
        )
    )
    assert list(by_student(collected(archive))) == ["1"]


# The same examples everywhere: a test that fails, fails for everyone.
few = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
IDS = ("0012", "12", "Kim", "kim", "김", "a" * 300, "1e5", "null", "~", "0o17")
MOMENTS = st.sampled_from((T1, T2, T3, "2026-11-20 23:59:59", "2026-11-21 00:00:00"))
UPLOADS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(IDS), unique=True, max_size=3), MOMENTS, st.lists(MOMENTS, max_size=2), st.booleans()
    ),
    min_size=1,
    max_size=5,
)


@few
@given(UPLOADS)
def test_whatever_was_uploaded_everyone_is_collected_once_and_on_an_own_upload(
    drawn: list[tuple[list[str], str, list[str], bool]],
) -> None:
    came = {each for members, *_ in drawn for each in members}
    if not came:
        return
    uploads: Uploads = [
        (f"submission_{place}", [(each, each) for each in members], time, before)
        for place, (members, time, before, _) in enumerate(drawn)
    ]
    files = {
        f"submission_{place}/{'hw6.py' if good else 'hw6.pdf'}": str(place).encode()
        for place, (*_, good) in enumerate(drawn)
    }
    with tempfile.TemporaryDirectory() as folder:
        archive = export(Path(folder), uploads, files)
        roster = write_roster(Path(folder, "roster.csv"), *(f"{each},N" for each in IDS))
        collection = collected(archive, roster, DUE)
    assert [one.student_id for one in collection.submissions] == sorted(IDS)
    for one in collection.submissions:
        own = [place for place, (members, *_) in enumerate(drawn) if one.student_id in members]
        assert one.content is None or int(one.content) in own
        in_time = [place for place in own if drawn[place][3] and drawn[place][1] <= "2026-11-21 00:00:00"]
        assert (one.content is not None) is bool(in_time)


def test_a_new_export_leaves_no_file_of_an_older_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def graded(student_id: str, points: int | None) -> Result:
        told = Grade(Outcome.GRADED, None if points is None else Decimal(points), None, "said", ())
        return Result(submission(student_id=student_id), entry(), told)

    folder = tmp_path / "upload"
    _write_gradescope([graded("kim", 20), graded("lee", 6), graded("gone", 2)], load_assignment(), folder)
    _write_gradescope([graded("kim", 6), graded("lee", None)], load_assignment(), folder)
    assert [(path.name, json.loads(path.read_bytes())["score"]) for path in folder.iterdir()] == [("kim.json", 6.0)]
    assert "left out, because they have no points yet: lee" in capsys.readouterr().out
