"""Which runs count, and which submission needs another: nobody loses by chance or by company."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from grader.assignment import Assignment, load_assignment
from grader.records import Outcome, Score, StopReason
from grader.results.entries import Entry, Line, Override, Regrade, RunReason
from grader.results.reruns import counting_run, generations, next_run, standing_override, standing_runs
from grader.results.score import result_of
from record_examples import ENTRY, SUBMISSION, entry

ASSIGNMENT = load_assignment()
NOW = ENTRY.finished_at
KEY = ENTRY.run_key


def borderline(**changes: Any) -> Assignment:
    policy = ASSIGNMENT.borderline.model_copy(update=changes)
    return ASSIGNMENT.model_copy(update={"borderline": policy})


def run(
    correct: int | None,
    reason: RunReason = RunReason.FIRST,
    *,
    seed: int = 1,
    jobs: int = 1,
    card: str = "",
    **more: Any,
) -> Entry:
    evidence = replace(ENTRY.evidence, seed=seed, jobs=jobs, card=card)
    return entry(correct=correct, reason=reason, evidence=evidence, **more)


def regrade(why: str = "asked") -> Regrade:
    return Regrade(ENTRY.student_id, ENTRY.sha256, why, "kim", NOW)


def override(points: str) -> Override:
    return Override(ENTRY.student_id, ENTRY.sha256, Decimal(points), "by mail", "kim", NOW)


def points(*lines: Line, assignment: Assignment = ASSIGNMENT) -> Decimal | None:
    return result_of(SUBMISSION, lines, KEY, assignment).grade.points


def reason_of_next(*runs: Entry, assignment: Assignment = ASSIGNMENT) -> RunReason | None:
    planned = next_run(runs, assignment)
    return planned.reason if planned else None


CUT: dict[str, Any] = {"stop_reason": StopReason.TIME_BUDGET}
HUNG: dict[str, Any] = {"outcome": Outcome.TIMED_OUT, "stop_reason": StopReason.KILLED}
OURS: dict[str, Any] = {"outcome": Outcome.INFRASTRUCTURE}


def test_a_submission_without_a_run_is_run_with_the_assignments_seed() -> None:
    planned = next_run([], ASSIGNMENT)
    assert planned is not None
    assert (planned.reason, planned.seed) == (RunReason.FIRST, ASSIGNMENT.seed)


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.GRADED], ids=str)
def test_only_a_fault_of_ours_is_tried_again(outcome: Outcome) -> None:
    again = reason_of_next(run(None, outcome=outcome))
    assert again is (RunReason.FIRST if outcome is Outcome.INFRASTRUCTURE else None)


@pytest.mark.parametrize(
    ("correct", "repeated"),
    [(6849, False), (6850, True), (7000, True), (7001, False), (2849, False), (2850, True), (3000, False)],
)
def test_a_run_at_most_one_and_a_half_points_below_an_edge_is_repeated(correct: int, repeated: bool) -> None:
    assert reason_of_next(run(correct)) is (RunReason.BORDERLINE if repeated else None)


def test_the_repetitions_have_seeds_of_their_own_and_an_end() -> None:
    runs = [run(6900)]
    seeds = []
    while planned := next_run(runs, ASSIGNMENT):
        seeds.append(planned.seed)
        runs.append(run(6900, planned.reason, seed=planned.seed))
    assert seeds == [2, 3]


def test_a_repetition_that_passes_the_edge_is_the_last() -> None:
    assert reason_of_next(run(6900), run(7100, RunReason.BORDERLINE, seed=2)) is None


def test_by_the_median_every_repetition_is_made() -> None:
    runs = [run(6900), run(7100, RunReason.BORDERLINE, seed=2)]
    assert reason_of_next(*runs, assignment=borderline(grade_by="median")) is RunReason.BORDERLINE


def test_a_script_with_its_own_seed_is_not_repeated() -> None:
    assert reason_of_next(run(6900, own_seed=True)) is None


@pytest.mark.parametrize(("grade_by", "correct"), [("best", 7100), ("median", 6950)])
def test_the_policy_says_which_of_several_runs_counts(grade_by: str, correct: int) -> None:
    repeated = [run(number, RunReason.BORDERLINE, seed=seed) for seed, number in ((2, 7100), (3, 6950))]
    counting = counting_run([run(6900), *repeated], borderline(grade_by=grade_by))
    assert counting is not None
    assert counting.score == Score(correct, 10_000)


@pytest.mark.parametrize("how", [CUT, HUNG], ids=["cut", "hung"])
def test_a_run_that_time_cut_in_company_is_repeated_alone(how: dict[str, Any]) -> None:
    cut = run(None if how is HUNG else 4000, jobs=2, **how)
    assert reason_of_next(cut) is RunReason.ALONE
    assert reason_of_next(cut, run(4500, RunReason.ALONE, **CUT)) is None


@pytest.mark.parametrize(("busy", "again"), [(700.0, None), (750.0, RunReason.ALONE), (7_000.0, RunReason.ALONE)])
def test_a_run_that_slept_until_its_time_was_over_gets_no_other(busy: float, again: RunReason | None) -> None:
    for cut in (CUT, HUNG):
        slept = run(None if cut is HUNG else 4000, jobs=2, job_seconds=7_200.0, processor_seconds=busy, **cut)
        assert reason_of_next(slept) is again


def test_after_two_ends_without_a_result_a_person_decides() -> None:
    failed, again = (run(None, **OURS, error=f"The kernel killed the script, {time}") for time in ("once", "again"))
    assert reason_of_next(failed) is RunReason.FIRST
    assert reason_of_next(failed, again) is None
    assert reason_of_next(run(4000, jobs=2, **CUT), failed, again) is None
    lines: tuple[list[Line], ...] = ([failed], [failed, again], [failed, again, regrade()])
    rows = [result_of(SUBMISSION, each, KEY, ASSIGNMENT) for each in lines]
    assert [row.due for row in rows] == [True, False, True]
    assert [row.grade.points for row in rows] == [None, None, None]
    assert "run the same command again" in rows[0].grade.review[0]
    assert "make regrade" in rows[1].grade.review[0]
    assert "another run ended without a result: The kernel killed" in "; ".join(rows[1].grade.review)
    assert "twice" in rows[1].grade.message


def test_what_fails_before_the_script_begins_is_tried_as_often_as_a_person_likes() -> None:
    before = run(None, **OURS, device="")
    assert reason_of_next(*[before] * 5) is RunReason.FIRST


def test_a_try_without_a_result_stays_in_review_beside_the_run_that_counts() -> None:
    rows = result_of(SUBMISSION, [run(None, **OURS, error="It was killed"), run(7_200)], KEY, ASSIGNMENT)
    assert rows.grade.points == 20
    assert "another run ended without a result: It was killed" in rows.grade.review


def test_an_override_stands_while_a_regrade_has_no_result() -> None:
    failed = run(None, **OURS)
    assert points(run(4000), override("15"), regrade(), failed, failed) == 15


def test_a_run_whose_share_of_a_card_was_too_small_is_repeated_alone() -> None:
    full: dict[str, Any] = {
        "outcome": Outcome.OUT_OF_MEMORY,
        "stop_reason": StopReason.ERROR,
    }
    assert reason_of_next(run(None, jobs=2, card="0", **full)) is RunReason.ALONE
    assert reason_of_next(run(None, jobs=1, card="0", **full)) is None
    assert reason_of_next(run(None, jobs=2, **full)) is None, "each run has its own limit of the machine's memory"


def test_a_run_that_met_a_full_card_after_its_first_steps_is_repeated_alone_too() -> None:
    full: dict[str, Any] = {
        "stop_reason": StopReason.ERROR,
        "error": "OutOfMemoryError: CUDA out of memory.",
        "on_card": True,
    }
    assert reason_of_next(run(1000, jobs=4, card="0", **full)) is RunReason.ALONE
    assert reason_of_next(run(1000, jobs=4, card="0", **full), run(1000, RunReason.ALONE, card="0", **full)) is None
    assert reason_of_next(run(1000, jobs=4, **full)) is None
    counting = counting_run([run(1000, jobs=4, card="0", **full), run(7100, RunReason.ALONE, card="0")], ASSIGNMENT)
    assert counting is not None
    assert counting.reason is RunReason.ALONE


def test_a_run_that_time_cut_with_nothing_beside_it_stands() -> None:
    assert reason_of_next(run(4000, **CUT)) is None


def test_a_run_that_time_cut_with_full_points_is_not_repeated() -> None:
    assert reason_of_next(run(7500, jobs=2, **CUT)) is None


@pytest.mark.parametrize("grade_by", ["best", "median"])
@pytest.mark.parametrize(
    ("before", "again", "counts"),
    [
        ((4500, 180), (1600, 88), 4500),
        ((4500, 180), (7100, 88), 4500),
        ((4500, 180), (7100, 250), 7100),
        ((4500, 180), (1600, 250), 4500),
        ((4500, 180), (4500, 180), 4500),
    ],
    ids=["fewer images, worse", "fewer images, better", "more images, better", "more images, worse", "the same"],
)
def test_a_repetition_takes_nothing_away_and_counts_only_if_it_saw_no_fewer_images(
    before: tuple[int, int], again: tuple[int, int], counts: int, grade_by: str
) -> None:
    cut = run(before[0], jobs=2, samples=before[1], **CUT)
    alone = run(again[0], RunReason.ALONE, samples=again[1], **CUT)
    counting = counting_run([cut, alone], borderline(grade_by=grade_by))
    assert counting is not None
    assert counting.score == Score(counts, 10_000)
    assert reason_of_next(cut, alone) is None


def test_of_several_repetitions_the_better_one_counts() -> None:
    cut = run(2000, jobs=2, samples=100, **CUT)
    repeated = [run(correct, RunReason.ALONE, samples=200) for correct in (4000, 7100, 6000)]
    assert points(cut, *repeated) == 20


def test_a_repetition_that_was_tested_counts_however_much_a_run_saw_that_was_not() -> None:
    assert points(run(None, jobs=2, samples=500, **HUNG), run(7100, RunReason.ALONE, samples=400)) == 20


def test_a_repetition_stands_for_the_run_of_its_own_seed_only() -> None:
    runs = [
        run(6900, samples=250),
        run(6950, RunReason.BORDERLINE, seed=2, jobs=2, samples=180, **CUT),
        run(6980, RunReason.ALONE, seed=2, samples=200),
    ]
    counting = counting_run([*runs, run(6100, RunReason.BORDERLINE, seed=3)], borderline(grade_by="median"))
    assert counting is not None
    assert counting.score == Score(6900, 10_000)


def test_a_fault_of_ours_in_a_repetition_leaves_the_first_run_standing() -> None:
    runs = [run(6900), run(None, RunReason.BORDERLINE, seed=2, **OURS)]
    assert points(*runs) == 6
    assert reason_of_next(*runs) is RunReason.BORDERLINE


def test_runs_under_other_conditions_do_not_count() -> None:
    assert standing_runs([run(7100, run_key="other")], KEY, ASSIGNMENT) == ()


def test_a_regrade_asks_for_a_run_and_the_old_one_counts_until_then() -> None:
    lines: list[Line] = [run(7100), regrade()]
    assert next_run(generations(lines, KEY)[-1].runs, ASSIGNMENT) is not None
    assert points(*lines) == 20
    assert points(*lines, run(None, **OURS)) == 20
    assert points(*lines, run(4000)) == 6


def test_a_regrade_that_needs_another_run_takes_nothing_before_that_is_there() -> None:
    lines: list[Line] = [run(7100), regrade(), run(6900)]
    assert points(*lines) == 20
    assert points(*lines, run(6950, RunReason.BORDERLINE), run(6950, RunReason.BORDERLINE)) == 6


def test_an_override_holds_until_a_regrade_has_all_its_runs() -> None:
    assert points(run(1000), override("20")) == 20
    assert points(run(1000), override("20"), override("6")) == 6
    asked: list[Line] = [run(1000), override("20"), regrade()]
    assert points(*asked) == 20
    assert points(*asked, run(None, **OURS)) == 20
    assert points(*asked, run(6900)) == 20, "just below an edge: two more runs are due"
    assert points(*asked, run(1000)) == 2
    assert standing_override([override("20"), regrade(), run(1000)], ASSIGNMENT) is None


def test_a_result_that_another_run_may_change_is_not_told_as_final() -> None:
    row = result_of(SUBMISSION, [run(6900)], KEY, ASSIGNMENT)
    assert row.due
    assert "not final, another run is due" in " ".join(row.grade.review)
    done = result_of(SUBMISSION, [run(4000)], KEY, ASSIGNMENT)
    assert not done.due
    assert "not final" not in " ".join(done.grade.review)


def test_an_override_of_another_file_moves_no_points_and_is_told() -> None:
    row = result_of(SUBMISSION, [run(1000), replace(override("20"), sha256="cd" * 32)], KEY, ASSIGNMENT)
    assert row.grade.points == 2
    assert "another file" in " ".join(row.grade.review)


def test_the_table_gets_old_points_new_points_and_why() -> None:
    lines: list[Line] = [run(1000), override("20"), regrade("asked again"), run(4000)]
    changes = result_of(SUBMISSION, lines, KEY, ASSIGNMENT).changes
    told = [f"{change.what} {change.before} -> {change.after} ({change.why})" for change in changes]
    assert told == ["override 2 -> 20 (by mail)", "regrade 20 -> 6 (asked again)"]


def test_changed_bands_move_points_without_a_run() -> None:
    kinder = ASSIGNMENT.model_copy(
        update={"bands": (ASSIGNMENT.bands[0].model_copy(update={"above": Decimal(60)}), *ASSIGNMENT.bands[1:])}
    )
    assert points(run(6500)) == 6
    assert points(run(6500), assignment=kinder) == 20
