"""Rates, times left and counts follow from the events alone."""

from decimal import Decimal

import pytest

from grader.progress import (
    Advanced,
    Event,
    Plan,
    Printed,
    RunEnded,
    Running,
    Scene,
    Stage,
    StageBegun,
    after,
    class_left,
    epochs,
    rate,
    run_left,
    with_result,
    worth_a_line,
)
from grader.text import duration

PLAN = Plan(due=10, done=0, epoch_samples=1_000, epochs=5, limit_seconds=100.0, jobs=2)
PRIOR = Plan(due=10, done=0, epoch_samples=1_000, epochs=5, limit_seconds=100.0, jobs=2, run_seconds=60.0)


def scene(*events: tuple[float, Event], plan: Plan = PLAN) -> Scene:
    """What is known after the events, each with its time."""
    known = Scene(begun=0.0)
    for now, event in events:
        known = after(known, event, plan, now)
    return known


def training(*advances: tuple[float, int], student: str = "kim", begun: float = 0.0) -> list[tuple[float, Event]]:
    """The events of a run that trains: seconds of training, and images used by then."""
    events: list[tuple[float, Event]] = [
        (begun, StageBegun(student, Stage.CHECKING)),
        (begun, StageBegun(student, Stage.TRAINING)),
    ]
    return events + [(begun + seconds, Advanced(student, samples, seconds)) for seconds, samples in advances]


def run(*advances: tuple[float, int]) -> Running:
    (only,) = scene(*training(*advances)).running
    return only


def graded(known: Scene, student: str, points: str | None, *, copied: bool = False) -> Scene:
    return with_result(known, student, None if points is None else Decimal(points), copied=copied)


def test_a_steady_run_has_its_rate_from_the_second_event_on() -> None:
    assert rate(run((0, 128))) is None
    assert rate(run((0, 128), (1, 178))) == pytest.approx(50)
    assert rate(run(*((second, 50 * second) for second in range(60)))) == pytest.approx(50)


def test_a_rate_that_changes_is_followed_smoothly() -> None:
    slow = [(second, 10 * second) for second in range(41)]
    faster = [(40 + second, 400 + 30 * second) for second in range(1, 61)]
    rates = [rate(run(*slow, *faster[:count])) or 0 for count in (0, 1, 30, 60)]
    assert rates[0] == pytest.approx(10)
    assert 10 < rates[1] < 12
    assert 20 < rates[2] < rates[3] < 30


def test_batches_that_take_seconds_do_not_shake_the_rate() -> None:
    rates = [rate(run(*((second, second // 5 * 100) for second in range(last)))) for last in range(40, 50)]
    assert all(17 < (seen or 0) < 23 for seen in rates)


def test_a_run_that_stands_still_slows_down() -> None:
    moving = [(second, 50 * second) for second in range(20)]
    still = [(second, 950) for second in range(20, 120)]
    assert (rate(run(*moving, *still)) or 0) < 2


@pytest.mark.parametrize(
    ("advances", "left"),
    [
        ([(0, 0), (10, 1_000)], 40.0),  # 4,000 images at 100 a second, before the 90 s that the limit leaves
        ([(0, 0), (10, 100)], 90.0),  # at 10 a second, the limit comes first
        ([(0, 0), (10, 5_000)], 0.0),
        ([(0, 0), (200, 100)], 0.0),  # over the limit already
        ([(0, 128)], None),
        ([], None),
    ],
    ids=["images", "time", "all images", "late", "one event", "no event"],
)
def test_a_run_ends_by_images_or_by_time_whichever_is_first(
    advances: list[tuple[float, int]], left: float | None
) -> None:
    known = run(*advances)
    assert run_left(known, PLAN, now=known.heard) == (None if left is None else pytest.approx(left))


def test_time_goes_on_between_events() -> None:
    known = run((0, 0), (10, 1_000))
    assert run_left(known, PLAN, now=13.0) == pytest.approx(37)
    assert run_left(known, PLAN, now=99.0) == 0


def test_a_check_has_no_time_left_and_a_test_has_none_to_wait_for() -> None:
    (checked,) = scene((0, StageBegun("kim", Stage.CHECKING))).running
    (tested,) = scene(*training((0, 0), (10, 1_000)), (11, StageBegun("kim", Stage.TESTING))).running
    assert (run_left(checked, PLAN, 1), run_left(tested, PLAN, 12)) == (None, 0.0)
    assert epochs(tested, PLAN) == 1


def test_a_repeated_run_begins_anew_and_keeps_its_place() -> None:
    first = [*training((0, 0), (10, 1_000)), (10.0, StageBegun("lee", Stage.CHECKING))]
    known = scene(*first, (30, StageBegun("kim", Stage.CHECKING, "again, alone")))
    kim, lee = known.running
    assert (kim.student_id, kim.detail, kim.begun, kim.samples, kim.seconds) == ("kim", "again, alone", 30, 0, None)
    assert lee.student_id == "lee"
    assert (known.runs_over, known.run_seconds) == (1, 30)


@pytest.mark.parametrize("event", [Advanced("kim", 1, 1.0), RunEnded("kim"), Printed("kim", b"x")], ids=repr)
def test_news_of_an_unknown_run_change_nothing(event: Event) -> None:
    assert scene((1, event)) == Scene(begun=0.0)


@pytest.mark.parametrize(
    ("samples", "seconds"),
    [(-5, 11.0), (10**400, 11.0), (0, float("nan")), (0, float("inf")), (0, -1.0), (10, 1e300), (999, 9.0)],
)
def test_numbers_that_cannot_be_do_no_harm(samples: int, seconds: float) -> None:
    known = scene(*training((0, 0), (10, 1_000)), (11, Advanced("kim", samples, seconds, float("nan"))))
    (only,) = known.running
    assert 1 <= epochs(only, PLAN) <= 5
    assert (only.seconds or 0) >= 10
    assert duration(run_left(only, PLAN, 12))
    assert duration(class_left(known, PLAN, 12))


def test_a_loss_is_kept_until_the_next_is_known() -> None:
    events = [*training(), (1.0, Advanced("kim", 10, 1.0, 2.5)), (2.0, Advanced("kim", 20, 2.0))]
    assert scene(*events).running[0].loss == 2.5


def test_without_any_run_the_class_takes_what_the_plan_estimates() -> None:
    assert class_left(scene(), PLAN, 0) is None
    assert class_left(scene(), PRIOR, 0) == pytest.approx(60 * 10 / 2)


def test_whoever_waits_takes_the_mean_of_the_runs_that_are_over() -> None:
    ended: list[tuple[float, Event]] = []
    for student, seconds in (("kim", 10.0), ("lee", 30.0)):
        ended += [(0.0, StageBegun(student, Stage.CHECKING)), (seconds, RunEnded(student))]
    known = graded(graded(scene(*ended), "kim", "20"), "lee", "6")
    assert class_left(known, PLAN, 30) == pytest.approx(8 * 20 / 2)
    # The estimate counts as one run more: (10 + 30 + 60) / 3.
    assert class_left(known, PRIOR, 30) == pytest.approx(8 * 100 / 3 / 2)


def test_running_ones_count_by_what_is_left_of_them() -> None:
    known = scene(*training((0, 0), (10, 1_000)))
    # 40 s of this one, and nine that wait for 50 s each, two at a time.
    assert class_left(known, PLAN, 10) == pytest.approx((40 + 9 * 50) / 2)


def test_the_class_takes_no_less_than_its_longest_run() -> None:
    last = Plan(due=1, done=9, epoch_samples=1_000, epochs=5, limit_seconds=100.0, jobs=8)
    assert class_left(scene(*training((0, 0), (10, 1_000))), last, 10) == pytest.approx(40)


def test_a_run_that_takes_longer_than_thought_has_nothing_left_rather_than_less() -> None:
    known = scene((0, StageBegun("kim", Stage.CHECKING)), plan=PRIOR)
    assert class_left(known, PRIOR, 500) == pytest.approx(9 * 60 / 2)


def test_nothing_is_left_when_everyone_has_a_result() -> None:
    known = scene(*training((0, 0), (10, 1_000)), (20, RunEnded("kim")))
    for number in range(10):
        known = graded(known, f"s{number}", "20")
    assert class_left(known, PLAN, 20) == 0


def test_a_student_with_two_results_counts_once() -> None:
    known = graded(graded(scene(), "kim", None), "kim", "20")
    assert known.points == {"kim": Decimal(20)}


@pytest.mark.parametrize(
    ("silence", "images", "worth"),
    [(29, 2_000, False), (30, 1_000, True), (31, 999, False), (299, 999, False), (300, 0, True)],
)
def test_a_log_has_a_line_for_an_epoch_but_not_each_second(silence: float, images: int, worth: bool) -> None:
    (told,) = scene(*training()).running
    assert worth_a_line(told, run((silence, images)), PLAN) is worth


def test_a_run_that_is_trained_again_begins_anew() -> None:
    again = [(9.0, StageBegun("kim", Stage.TESTING)), (9.5, StageBegun("kim", Stage.TRAINING))]
    (begun,) = scene(*training((0, 100), (8, 900)), *again).running
    assert (begun.samples, begun.seconds, run_left(begun, PLAN, 9.5)) == (0, None, None)
    (further,) = scene(*training((0, 100), (8, 900)), *again, (10.0, Advanced("kim", 50, 0.5))).running
    assert (further.samples, further.seconds) == (50, 0.5)


def test_whoever_gets_a_copy_of_another_one_s_run_takes_no_time() -> None:
    alike = Plan(due=4, done=0, epoch_samples=1_000, epochs=5, limit_seconds=1e6, jobs=1, run_seconds=6_000.0, copies=3)
    known = scene(plan=alike)
    assert class_left(known, alike, 0) == pytest.approx(6_000)
    for student in ("lee", "park", "choi"):  # they have the files of somebody who was graded before
        known = graded(known, student, "20", copied=True)
        assert class_left(known, alike, 0) == pytest.approx(6_000)
    assert class_left(graded(known, "han", "20"), alike, 0) == 0


def test_the_copies_that_are_still_to_come_count_for_nothing_while_the_run_goes_on() -> None:
    alike = Plan(due=4, done=0, epoch_samples=1_000, epochs=5, limit_seconds=100.0, jobs=1, copies=2)
    known = scene(*training((0, 0), (10, 1_000)), plan=alike)
    assert class_left(known, alike, 10) == pytest.approx(40 + 50)
