"""`make grade`: when the reference is timed before the class is."""

import pytest

from grader.assignment import Assignment
from grader.cli.grade import worth_timing


@pytest.mark.parametrize(
    ("time_limit", "images", "cards", "timed"),
    [
        ("wall", 20_000, False, True),
        ("wall", 19_999, False, False),
        ("wall", 500_000, True, False),
        ("wall", 750_000, True, True),
        ("calibrated", 1, True, True),
        ("calibrated", 0, False, False),
    ],
    ids=["worth it", "small", "two whole runs on a card", "three", "it sets the limit", "nothing is due"],
)
def test_the_reference_is_timed_where_that_sets_the_limit_or_is_worth_the_wait(
    assignment: Assignment, time_limit: str, images: int, cards: bool, timed: bool
) -> None:
    budget = assignment.budget.model_copy(update={"time_limit": time_limit})
    rules = assignment.model_copy(update={"budget": budget})
    assert worth_timing(rules, images, cards=cards) is timed
