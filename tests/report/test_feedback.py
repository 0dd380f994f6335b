"""A student's feedback is about this student alone, in two formats, and takes the student's own text as text."""

import stat
from pathlib import Path

import pytest

from grader.records import Answer, Deviation, Finding, Outcome, Question, Reason, Verdict
from grader.report.page import band_words, write_feedback
from grader.results.entries import Result
from html_elements import Parsed
from page_examples import ASSIGNMENT, HOSTILE, WRONG_QUESTIONS, class_of, hostile, result
from page_examples import page as teachers_page
from record_examples import ABSENT, check, entry, submission

WIDTH = Finding(
    Deviation.WRONG_WIDTH,
    "stage 2",
    "In stage 2, a convolution has 64 output channels; the handout asks for 128 (section 3.1.3).",
)


def feedback(folder: Path, row: Result) -> tuple[str, str]:
    """One student's files: the HTML with its text in one line, and the Markdown."""
    write_feedback([row], ASSIGNMENT, folder)
    html, markdown = sorted(folder.iterdir())
    words = " ".join(text for tag, text in Parsed(html.read_text(encoding="utf-8")).texts if tag != "style")
    return " ".join(words.split()), markdown.read_text(encoding="utf-8")


def test_it_says_points_accuracy_what_ran_and_what_differs(tmp_path: Path) -> None:
    known = entry(check=check(verdict=Verdict.DEVIATES, findings=(WIDTH,), blanks_left=("Q4",)))
    for text in feedback(tmp_path, result(submission(), known)):
        plain = text.replace("\N{NO-BREAK SPACE}", " ")
        for said in ("20", "71.20 %", "5.00 epochs in 13 min 32 s", "cpu, PyTorch 2.15.0", "Q4", "more than 70 %"):
            assert said in plain, said
        assert WIDTH.sentence in plain


def test_it_says_nothing_that_is_meant_for_the_teacher_or_about_others(tmp_path: Path) -> None:
    rows = [
        result(
            submission(student_id=student, name=f"Name of {student}", remarks=("a secret remark",)),
            entry(student_id=student, flags=(Reason.of("a secret flag"),)),
        )
        for student in ("anna", "berta")
    ]
    write_feedback(rows, ASSIGNMENT, tmp_path)
    for name in ("anna.html", "anna.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "Name of anna" in text
        for foreign in ("berta", "secret", "seed", "isolation", "2" * 16):
            assert foreign not in text


def test_questions_of_which_none_was_reached_are_one_sentence(tmp_path: Path) -> None:
    reason = "In the watched run, the script does not reach its training."
    unknown = tuple(Question(f"Q{number}", Answer.UNKNOWN, reason) for number in range(1, 10))
    for text in feedback(tmp_path, result(submission(), entry(check=check(questions=unknown)))):
        assert text.count(f"Q1 to Q9 are unclear: {reason}") == text.count(reason) == 1


def test_the_reason_of_a_change_is_the_teacher_s_own(tmp_path: Path) -> None:
    (row,) = [row for row in class_of(3) if row.changes]
    assert not any("server was down" in text for text in feedback(tmp_path, row))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (result(ABSENT), "The grader found no hw6.py from you."),
        (result(submission()), "Your file is not graded yet."),
        (result(submission(), entry(outcome=Outcome.INFRASTRUCTURE, correct=None)), "not your fault"),
    ],
    ids=["absent", "pending", "infrastructure"],
)
def test_whoever_has_no_result_has_feedback_too(tmp_path: Path, row: Result, said: str) -> None:
    for text in feedback(tmp_path, row):
        assert said in text
        assert "%" not in text.split("How points follow")[0]


def test_hostile_text_is_inert_in_both(tmp_path: Path) -> None:
    write_feedback([hostile(), hostile("calm")], ASSIGNMENT, tmp_path)
    (attacked,) = tmp_path.glob("*~*.html")
    parsed, calm = (Parsed(path.read_text(encoding="utf-8")) for path in (attacked, tmp_path / "calm.html"))
    assert not parsed.all_of("script")
    assert {tag for tag, _ in parsed.elements} == {tag for tag, _ in calm.elements}
    (rules,) = [meta["content"] for meta in parsed.all_of("meta") if "http-equiv" in meta]
    assert "script-src" not in rules
    assert rules.startswith("default-src 'none'")
    (markdown,) = tmp_path.glob("*~*.md")
    text = markdown.read_text(encoding="utf-8")
    assert "<" not in text.replace("\\<", "")
    assert "`" not in text.replace("\\`", "")


def test_a_line_break_cannot_begin_a_heading_or_a_list(tmp_path: Path) -> None:
    row = result(submission(name="Kim\n\n# 20 points\n- all right"), entry(error="a\n# b"))
    _, markdown = feedback(tmp_path, row)
    assert "\n# 20" not in markdown
    assert "\n- all" not in markdown
    assert "\n# b" not in markdown


def test_files_are_private_and_stay_in_their_folder(tmp_path: Path) -> None:
    rows = [
        result(submission(student_id=student), entry()) for student in ("../../out", "/etc/x", "kim", "..", HOSTILE)
    ]
    folder = tmp_path / "a" / "feedback"
    write_feedback(rows, ASSIGNMENT, folder)
    assert len(list(folder.iterdir())) == 2 * len(rows)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != folder] == []


def test_bands_are_said_as_the_assignment_has_them() -> None:
    assert [band_words(band) for band in ASSIGNMENT.bands] == ["more than 70 %", "from 30 %", "less"]


def test_the_nine_answers_are_there_with_what_is_wrong_about_them(tmp_path: Path) -> None:
    known = entry(check=check(questions=WRONG_QUESTIONS, blanks_left=("Q4",)))
    for text in feedback(tmp_path, result(submission(), known)):
        for said in (
            "Right: Q1, Q2, Q3, Q6",
            "Q5 is wrong: Gradients of",
            "still empty: Q4.",
            "do not change your points",
        ):
            assert said in text


def test_each_thing_is_said_once(tmp_path: Path) -> None:
    found = check(
        verdict=Verdict.DEVIATES,
        findings=(WIDTH, WIDTH),
        message=WIDTH.sentence,
        blanks_left=("Q4",),
        questions=WRONG_QUESTIONS,
        notes=("A note on the file.",),
    )
    known = entry(check=found, notes=("A note on the run.",), error="NameError: no such name")
    row = result(submission(), known)
    said = (WIDTH.sentence, "empty: Q4", "Q5 is wrong", "A note on the file.", "A note on the run.", "NameError")
    pages = *feedback(tmp_path, row), " ".join(text for _, text in Parsed(teachers_page([row], tmp_path)).texts)
    for text in (row.grade.message, *pages):
        assert [sentence for sentence in said if text.count(sentence) != 1] == []
