"""Points follow from exact counts, by the handout's bands."""

from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pytest

from grader.assignment import Assignment, load_assignment
from grader.data import count_correct
from grader.records import Outcome, Score, Verdict, accuracy_percent
from grader.results.score import grade, points
from record_examples import ABSENT, SUBMISSION, check, entry, submission

ASSIGNMENT = load_assignment()


def changed_policy(**changes: object) -> Assignment:
    return ASSIGNMENT.model_copy(update={"policy": ASSIGNMENT.policy.model_copy(update=changes)})


def one_hot(classes: list[int]) -> npt.NDArray[np.float32]:
    return np.eye(10, dtype="<f4")[classes]


def labels(*classes: int) -> npt.NDArray[np.int64]:
    return np.array(classes, dtype=np.int64)


def test_rows_are_counted_where_the_highest_score_is_the_label() -> None:
    assert count_correct(one_hot([3, 0, 9, 4]).tobytes(), labels(3, 1, 9, 4)) == 3


def test_scores_are_read_row_by_row_as_little_endian() -> None:
    row = np.arange(10, dtype=">f4").astype("<f4")
    assert count_correct(row.tobytes() + row[::-1].tobytes(), labels(9, 0)) == 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 3, 9])
def test_a_row_with_a_value_that_is_not_finite_is_wrong(value: float, column: int) -> None:
    scores = one_hot([3, 3])
    scores[0, column] = value
    assert count_correct(scores.tobytes(), labels(3, 3)) == 1


def test_equal_scores_are_a_vote_for_the_first_class() -> None:
    assert count_correct(np.zeros((10, 10), "<f4").tobytes(), labels(*range(10))) == 1


@pytest.mark.parametrize("length", [0, 39, 41, 79, 81, 120])
def test_any_other_length_of_scores_is_our_own_fault(length: int) -> None:
    with pytest.raises(ValueError, match="80 bytes"):
        count_correct(bytes(length), labels(1, 2))


@pytest.mark.parametrize(
    ("correct", "total", "expected"),
    [
        (10_000, 10_000, 20),
        (7_001, 10_000, 20),
        (7_000, 10_000, 6),
        (3_000, 10_000, 6),
        (2_999, 10_000, 2),
        (0, 10_000, 2),
        (252, 360, 6),
        (253, 360, 20),
        (108, 360, 6),
        (107, 360, 2),
        (1_000_000 * 7 + 1, 10_000_000, 20),
        (1_000_000 * 3 - 1, 10_000_000, 2),
    ],
)
def test_the_edges_of_the_bands_are_exact(correct: int, total: int, expected: int) -> None:
    assert points(Outcome.GRADED, Score(correct, total), Verdict.CONFORMING, ASSIGNMENT) == Decimal(expected)


ENDED = frozenset(Outcome) - {Outcome.GRADED, Outcome.NO_SUBMISSION, Outcome.INFRASTRUCTURE, Outcome.PENDING}


@pytest.mark.parametrize("outcome", sorted(ENDED), ids=str)
def test_a_file_that_cannot_be_run_earns_what_the_policy_says(outcome: Outcome) -> None:
    assignment = changed_policy(points_if_not_runnable=Decimal("1.5"))
    assert points(outcome, None, Verdict.UNREADABLE, assignment) == Decimal("1.5")


def test_nothing_handed_in_earns_what_the_policy_says() -> None:
    assignment = changed_policy(points_if_missing=Decimal("0.5"))
    assert points(Outcome.NO_SUBMISSION, None, None, assignment) == Decimal("0.5")


@pytest.mark.parametrize("score", [None, Score(9_000, 10_000)])
def test_a_fault_of_ours_never_becomes_points(score: Score | None) -> None:
    assert points(Outcome.INFRASTRUCTURE, score, Verdict.CONFORMING, ASSIGNMENT) is None


@pytest.mark.parametrize(
    ("policy", "verdict", "correct", "expected"),
    [
        ("flag", Verdict.DEVIATES, 9_000, 20),
        ("require", Verdict.DEVIATES, 9_000, 2),
        ("require", Verdict.DEVIATES, 5_000, 2),
        ("require", Verdict.DEVIATES, 1_000, 2),
        ("require", Verdict.VARIANT, 9_000, 20),
        ("require", Verdict.CONFORMING, 9_000, 20),
        ("require", Verdict.UNREADABLE, 9_000, 20),
    ],
)
def test_the_architecture_moves_points_only_where_it_is_required(
    policy: str, verdict: Verdict, correct: int, expected: int
) -> None:
    assignment = changed_policy(architecture=policy)
    assert points(Outcome.GRADED, Score(correct, 10_000), verdict, assignment) == Decimal(expected)


def test_the_cap_for_a_deviating_network_never_raises_points() -> None:
    assignment = changed_policy(architecture="require", points_if_not_runnable=Decimal(5))
    assert points(Outcome.GRADED, Score(1_000, 10_000), Verdict.DEVIATES, assignment) == Decimal(2)


@pytest.mark.parametrize("score", [None, Score(11, 10), Score(-1, 10), Score(0, 0)])
def test_a_graded_submission_without_a_valid_count_is_our_own_fault(score: Score | None) -> None:
    with pytest.raises(ValueError, match="count"):
        points(Outcome.GRADED, score, Verdict.CONFORMING, ASSIGNMENT)


@pytest.mark.parametrize(
    ("correct", "total", "shown"),
    [
        (7_120, 10_000, "71.20"),
        (69_999, 100_000, "69.99"),
        (2, 3, "66.66"),
        (29_999, 100_000, "29.99"),
        (10_000, 10_000, "100.00"),
        (0, 10_000, "0.00"),
    ],
)
def test_a_shown_accuracy_never_claims_more_than_was_reached(correct: int, total: int, shown: str) -> None:
    assert str(accuracy_percent(correct, total)) == shown


def test_a_grade_holds_everything_that_the_table_needs() -> None:
    graded = grade(SUBMISSION, entry(correct=7_001), ASSIGNMENT)
    assert (graded.outcome, graded.points, graded.accuracy) == (Outcome.GRADED, Decimal(20), Decimal("70.01"))
    assert graded.message
    assert graded.review == ()


def test_a_deviating_network_is_marked_for_review_and_keeps_its_points() -> None:
    graded = grade(SUBMISSION, entry(check=check(verdict=Verdict.DEVIATES)), ASSIGNMENT)
    assert graded.points == Decimal(20)
    assert any("deviates" in reason for reason in graded.review)


def test_an_outcome_other_than_graded_shows_no_accuracy() -> None:
    graded = grade(SUBMISSION, entry(outcome=Outcome.CRASHED), ASSIGNMENT)
    assert (graded.points, graded.accuracy) == (Decimal(2), None)


def test_nothing_handed_in_and_nothing_in_the_ledger_is_no_submission() -> None:
    graded = grade(ABSENT, None, ASSIGNMENT)
    assert (graded.outcome, graded.points) == (Outcome.NO_SUBMISSION, Decimal(0))


UNREADABLE = {"content": None, "sha256": "", "unreadable": "permission denied"}


@pytest.mark.parametrize(
    ("changes", "outcome"), [({}, Outcome.PENDING), (UNREADABLE, Outcome.INFRASTRUCTURE)], ids=["read", "unreadable"]
)
def test_a_file_that_we_still_owe_a_result_is_never_counted_as_missing(
    changes: dict[str, object], outcome: Outcome
) -> None:
    graded = grade(submission(**changes), None, ASSIGNMENT)
    assert (graded.outcome, graded.points) == (outcome, None)
    assert graded.review


def test_a_file_that_is_unreadable_as_it_was_handed_in_has_the_points_of_one_that_cannot_be_run() -> None:
    graded = grade(submission(**UNREADABLE, spoilt=True), None, ASSIGNMENT)
    assert (graded.outcome, graded.points) == (Outcome.INVALID, Decimal(2))
    assert "not your fault" not in graded.message
