"""What the tests of the display share: plans, a clock that they set, results, and a name that means harm."""

from decimal import Decimal

from grader.progress import Plan
from grader.records import Outcome
from grader.results.entries import Grade, Result
from record_examples import submission

PLAN = Plan(due=10, done=0, epoch_samples=1_000, epochs=5, limit_seconds=7_200.0, jobs=2)
RESUMED = Plan(due=10, done=15, epoch_samples=1_000, epochs=5, limit_seconds=7_200.0, jobs=2, run_seconds=60.0)
HOSTILE = "[red]x[/red]\x1b[2J\x9b31m\r:smile:\u202e\udc80"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def graded(student: str, points: str = "20", accuracy: str = "71.23") -> Result:
    grade = Grade(Outcome.GRADED, Decimal(points), Decimal(accuracy), "", ())
    return Result(submission(student_id=student), None, grade)


def failed(student: str) -> Result:
    """A result that the grader's own fault left without points."""
    return Result(submission(student_id=student), None, Grade(Outcome.INFRASTRUCTURE, None, None, "", ()))
