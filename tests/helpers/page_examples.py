"""Classes for the pages: results of every kind, and texts that mean harm."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from command import SUBMISSIONS
from grader.assignment import load_assignment
from grader.records import (
    Answer,
    CurvePoint,
    Decision,
    Deviation,
    Finding,
    Layer,
    Outcome,
    Question,
    Reason,
    Status,
    StopReason,
    Submission,
    Verdict,
)
from grader.report.page import render_report
from grader.report.since import Since
from grader.results.entries import Change, Entry, Result, RunReason
from grader.results.score import grade
from record_examples import ENTRY, KOREA, check, entry, submission

ASSIGNMENT = load_assignment()
SOURCE = (SUBMISSIONS / "demo" / "s20261001" / "hw6.py").read_bytes()
QUESTIONS = tuple(Question(f"Q{number}", Answer.OK) for number in range(1, 10))
WRONG_QUESTIONS = (
    *QUESTIONS[:3],
    Question("Q4", Answer.BLANK, "Its dots are still there."),
    Question("Q5", Answer.WRONG, "Gradients of the batch before were still there at the backward pass."),
    *QUESTIONS[5:],
)
LAYERS = (
    Layer(
        "the stem",
        "first convolution  3 x 3, 64 channels, stride 1",
        "convolution 3 x 3, 64 channels, stride 1 conv",
        False,
    ),
    Layer(
        "stage 2, block 1",
        "convolution  3 x 3, 128 channels, stride 2",
        "convolution 3 x 3, 64 channels, stride 2 c1",
        True,
    ),
    Layer("stage 2, block 1", "batch normalization", "missing", True),
)
NAMES = ("김서연", "이도윤", "Emma Larsson", "Nguyễn Minh Anh", "박지우", "Olu Adeyemi")
HOSTILE = (
    "</script><script>document.title = 'run'</script></pre></title></textarea></style>"
    "<img src=x onerror=\"document.title = 'run'\"><!-- {{ 7 * 7 }} {% raw %} ]]> "
    "' onmouseover='document.title = 1' \" autofocus onfocus=\"document.title = 1\" &lt;b&gt; \x1b[31m\u202e\ud800"
)


def result(of: Submission, known: Entry | None = None, changes: tuple[Change, ...] = ()) -> Result:
    return Result(of, known, grade(of, known, ASSIGNMENT), (known,) if known else (), changes)


def class_of(size: int) -> list[Result]:
    """As many students, of every outcome, the same each time."""
    chance = random.Random(1)
    return [_student(number, chance) for number in range(size)]


def hostile(text: str = HOSTILE) -> Result:
    """A student all of whose texts are this one."""
    finding = Finding(Deviation.EXTRA_LAYER, text, text)
    known = entry(
        student_id=text,
        check=check(
            verdict=Verdict.DEVIATES,
            findings=(finding,),
            notes=(text,),
            blanks_left=(text,),
            questions=(Question(text, Answer.WRONG, text), *QUESTIONS[1:]),
            layers=(Layer(text, text, text, True),),
        ),
        error=text,
        notes=(text,),
        flags=(Reason.of(text),),
        curve=(CurvePoint(100, 2.3, 0.1), CurvePoint(200, 1.0, 0.6)),
        device=text,
        torch_version=text,
    )
    handed_in = {"file": text, "original": text, "late": text, "content": text.encode("utf-8", "replace")}
    of = submission(student_id=text, name=text, on_roster=False, **handed_in)
    change = Change("override", text, text, datetime(2026, 11, 22, tzinfo=UTC), Decimal(2), Decimal(6))
    return result(of, known, (change,))


def page(results: list[Result], logs: Path, more: tuple[Decision, ...] = (), since: Since | None = None) -> str:
    """The report of a class, each of whose logs is `any.log`; `more` was decided of files."""
    decisions = [
        Decision(
            f"{one.submission.student_id}/hw6 ({number}).py", one.submission.student_id, status, "a newer one counts"
        )
        for one in results[:20]
        for number, status in enumerate((Status.SUPERSEDED, Status.TAKEN))
    ]
    return render_report(results, [*decisions, *more], ASSIGNMENT, lambda _: logs / "any.log", since)


def _student(number: int, chance: random.Random) -> Result:
    of = submission(
        student_id=f"s2026{number:04}",
        name=NAMES[number % len(NAMES)],
        file=f"s2026{number:04}/hw6.py",
        content=SOURCE,
        submitted_at=datetime(2026, 11, 20, 12, tzinfo=KOREA) + timedelta(minutes=number),
        remarks=("not on the roster",) if number % 61 == 7 else (),
    )
    if number % 23 == 5:
        return result(replace(of, content=None, file="", sha256="", submitted_at=None))
    if number % 29 == 11:
        failed = entry(
            outcome=Outcome.CRASHED,
            stop_reason=StopReason.ERROR,
            correct=None,
            samples=0,
            seconds=0.0,
            error="NameError: name 'optimiser' is not defined (line 84)",
        )
        return result(of, replace(failed, student_id=of.student_id))
    correct = (
        max(900, min(8_300, round(chance.gauss(7_100, 900)))) if number % 9 else round(chance.uniform(1_000, 6_900))
    )
    curve = tuple(
        CurvePoint(
            round(250_000 * (step + 1) / 60),
            round(2.4 * 0.965**step + 0.35 + chance.uniform(-0.04, 0.04), 4),
            round(0.9 - 0.8 * 0.96**step + chance.uniform(-0.015, 0.015), 4),
        )
        for step in range(60)
    )
    known = entry(
        student_id=of.student_id,
        correct=correct,
        check=check(questions=QUESTIONS),
        curve=curve,
        stop_reason=StopReason.EPOCH_BUDGET,
        seconds=round(chance.uniform(700, 3_000), 1),
        finished_at=ENTRY.finished_at + timedelta(minutes=20 * number),
    )
    if number % 17 == 3:
        known = _deviating(known)
    if number % 31 == 2:
        before = entry(known, correct=6_950, reason=RunReason.FIRST)
        known = entry(known, correct=7_044, reason=RunReason.BORDERLINE)
        return replace(
            result(of, known),
            runs=(before, known),
            changes=(
                Change(
                    "regrade", "the course's server was down", "teacher", known.finished_at, Decimal(2), Decimal(20)
                ),
            ),
        )
    return result(of, known)


def _deviating(known: Entry) -> Entry:
    """The same run of a network that is not the handout's, by a script with a blank and a mistake."""
    findings = (
        Finding(Deviation.WRONG_WIDTH, "stage 2", "In stage 2 a convolution has 64 channels, not 128."),
        Finding(Deviation.MISSING_LAYER, "stage 3", "In stage 3 the convolutions that ran are 3; the handout has 4."),
    )
    said = " ".join(finding.sentence for finding in findings)
    return replace(
        known,
        check=check(
            verdict=Verdict.DEVIATES,
            findings=findings,
            message=said,
            blanks_left=("Q4",),
            questions=WRONG_QUESTIONS,
            layers=LAYERS,
        ),
    )
