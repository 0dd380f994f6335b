"""A student learns what happened and what to do; a teacher learns why to look."""

from dataclasses import replace
from typing import Any

import pytest

from grader.assignment import Assignment, load_assignment
from grader.records import (
    Answer,
    Check,
    Deviation,
    Finding,
    Outcome,
    Question,
    Reason,
    StopReason,
    Submission,
    Verdict,
)
from grader.results.entries import Entry
from grader.results.messages import ERROR_LENGTH, for_teacher
from grader.results.score import grade
from grader.run.check import message_of
from message_table import rows_about, rows_of_runs
from record_examples import ABSENT, SUBMISSION, check, entry, submission

ASSIGNMENT = load_assignment()
ERROR = "RuntimeError: shape mismatch"


def student(of: Entry | None, submission: Submission = SUBMISSION, assignment: Assignment = ASSIGNMENT) -> str:
    return grade(submission, of, assignment).message


def teacher(of: Entry | None, submission: Submission = SUBMISSION) -> str:
    return "; ".join(reason.words for reason in for_teacher(of, submission, ASSIGNMENT))


def failed(outcome: Outcome, **changes: Any) -> Entry:
    return entry(outcome=outcome, correct=None, stop_reason=StopReason.KILLED, samples=0, **changes)


def with_changes(table: str, **changes: object) -> Assignment:
    return ASSIGNMENT.model_copy(update={table: getattr(ASSIGNMENT, table).model_copy(update=changes)})


@pytest.mark.parametrize("outcome", [Outcome.GRADED, Outcome.CRASHED], ids=str)
def test_a_student_reads_what_was_set_aside_and_supplied(outcome: Outcome) -> None:
    seen = entry() if outcome is Outcome.GRADED else failed(outcome)
    before, during = "The grader set aside 2 lines that only a notebook understands.", "Your script asked for input()"
    said = student(entry(seen, check=check(notes=(before,)), notes=(during,)))
    assert said.endswith(
        " The grader set aside 2 lines that only a notebook understands. Your script asked for input()."
    )


def test_another_data_set_is_named_and_nothing_is_claimed_about_what_is_in_it() -> None:
    elsewhere = entry(evidence=replace(entry().evidence, data_name="copy.npz"))
    assert "This result is for the data set copy.npz." in student(elsewhere)
    assert "CIFAR" not in student(elsewhere)


def test_the_page_of_messages_says_what_a_student_reads_of_each_outcome() -> None:
    for row in rows_of_runs():
        assert rows_about(row.split("|")[1].strip()) == [row], "python tests/helpers/message_table.py writes it anew"


def test_a_graded_student_reads_the_exact_count() -> None:
    assert student(entry()) == "Your network classified 7120 of 10000 test images correctly."


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (
            StopReason.EPOCH_BUDGET,
            "The grader stopped your script after 5 epochs, as the handout says, and tested the network in that state.",
        ),
        (
            StopReason.TIME_BUDGET,
            "The grader stopped training after 2 hours, as the handout says, and tested the network in that state.",
        ),
        (StopReason.ERROR, "Your script stopped with an error. The grader tested the network in that state."),
        (StopReason.KILLED, "Something outside your script stopped it. The grader tested the network in that state."),
    ],
)
def test_a_graded_student_reads_why_training_stopped(reason: StopReason, sentence: str) -> None:
    assert student(entry(stop_reason=reason)).endswith(sentence)


@pytest.mark.parametrize("answer", [Answer.WRONG, Answer.OK, Answer.BLANK])
def test_whose_own_test_counts_as_training_reads_that_it_may_not_have_run(answer: Answer) -> None:
    seen = check(questions=(Question("Q9", answer),))
    said = student(entry(check=seen, stop_reason=StopReason.EPOCH_BUDGET))
    assert ("own test" in said) is (answer is Answer.WRONG)


@pytest.mark.parametrize(
    ("epochs", "seconds", "reason", "named"),
    [
        (1, 1, StopReason.EPOCH_BUDGET, "after 1 epoch,"),
        (3, 1, StopReason.EPOCH_BUDGET, "after 3 epochs,"),
        (1, 3600, StopReason.TIME_BUDGET, "after 1 hour,"),
        (1, 5400, StopReason.TIME_BUDGET, "after 1 hour 30 minutes,"),
        (1, 90, StopReason.TIME_BUDGET, "after 1 minute 30 seconds,"),
    ],
)
def test_the_budget_is_named_as_the_assignment_sets_it(
    epochs: int, seconds: int, reason: StopReason, named: str
) -> None:
    assignment = with_changes("budget", epochs=epochs, train_seconds=seconds)
    evidence = replace(entry().evidence, wall_seconds=seconds, limit_seconds=seconds)
    assert named in student(entry(stop_reason=reason, evidence=evidence), assignment=assignment)


def test_a_limit_that_was_stretched_to_the_machine_is_named_as_such() -> None:
    evidence = replace(entry().evidence, calibrated_seconds=16_571.4, limit_seconds=16_571)
    said = student(entry(stop_reason=StopReason.TIME_BUDGET, evidence=evidence))
    assert "after 4 hours 36 minutes, the handout's limit scaled to this machine's speed" in said


@pytest.mark.parametrize(
    ("calibrated", "limit", "device", "doubt"),
    [
        (None, 7200, "CPU, 2 threads", "not timed: run make calibrate"),
        (None, 7200, "NVIDIA T4", ""),
        (7200.0, 7200, "CPU, 2 threads", ""),
        (
            14_400.0,
            7200,
            "CPU, 2 threads",
            '2.0 times slower than Colab\'s GPU: time_limit = "calibrated" would give it 4 hours',
        ),
        (14_400.0, 14_400, "CPU, 2 threads", ""),
    ],
)
def test_a_run_that_time_cut_on_a_slower_machine_is_flagged(
    calibrated: float | None, limit: float, device: str, doubt: str
) -> None:
    evidence = replace(entry().evidence, calibrated_seconds=calibrated, limit_seconds=limit)
    said = teacher(entry(stop_reason=StopReason.TIME_BUDGET, evidence=evidence, on_card=not device.startswith("CPU")))
    assert said.endswith(doubt)
    assert bool(said) == bool(doubt)


@pytest.mark.parametrize("reason", StopReason, ids=str)
def test_an_error_in_a_graded_script_is_named_however_it_stopped(reason: StopReason) -> None:
    assert ERROR in student(entry(stop_reason=reason, error=ERROR))


def test_a_network_that_never_trained_is_told_apart_from_a_poor_one() -> None:
    assert "The grader saw no training" in student(entry(samples=0))
    assert "The grader saw no training" not in student(entry(samples=1))
    assert teacher(entry(samples=0)) == "the grader saw no training"


def test_a_required_architecture_is_mentioned_only_where_it_costs_points() -> None:
    deviating = entry(check=check(verdict=Verdict.DEVIATES))
    required = with_changes("policy", architecture="require")
    assert "limits its points" in student(deviating, assignment=required)
    assert "limits its points" not in student(deviating)
    assert "limits its points" not in student(entry(), assignment=required)


def test_a_crashed_student_reads_the_error() -> None:
    assert ERROR in student(failed(Outcome.CRASHED, error=ERROR))


@pytest.mark.parametrize("outcome", [Outcome.INVALID, Outcome.CRASHED], ids=str)
def test_a_file_that_fails_the_check_is_explained_by_the_check(outcome: Outcome) -> None:
    checked = check(outcome=outcome, message="Line 12 is not valid Python", verdict=Verdict.UNREADABLE)
    message = student(failed(outcome, check=checked, error=""))
    assert "Line 12 is not valid Python. " in message
    assert ERROR not in message


@pytest.mark.parametrize(("megabytes", "named"), [(12288, "12 GB"), (1500, "1500 MB")])
def test_a_student_out_of_memory_reads_the_limit(megabytes: int, named: str) -> None:
    message = student(failed(Outcome.OUT_OF_MEMORY), assignment=with_changes("limits", memory_mb=megabytes))
    assert f"more than {named} of memory" in message


def test_a_student_out_of_a_card_s_memory_is_not_told_the_machine_s_limit() -> None:
    error = "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB."
    message = student(failed(Outcome.OUT_OF_MEMORY, error=error, on_card=True))
    assert "more of the GPU's memory than a run may use. Use a smaller batch" in message
    assert "GB of memory" not in message


@pytest.mark.parametrize(
    ("outcome", "limit", "value", "named"),
    [
        (Outcome.OUT_OF_PROCESSOR_TIME, "processor_share", 2, "more processor time than a run may"),
        (Outcome.OUT_OF_PROCESSES, "processes", 77, "more than 77 processes and threads"),
        (Outcome.OUT_OF_DISK, "scratch_mb", 77, "wrote more than 77 MB"),
        (Outcome.OUT_OF_DESCRIPTORS, "open_files", 77, "more than 77 files open"),
        (Outcome.TOO_MUCH_OUTPUT, "output_mb", 77, "printed more than 77 MB"),
    ],
)
def test_a_student_who_met_a_limit_reads_which_one(outcome: Outcome, limit: str, value: int, named: str) -> None:
    assert named in student(failed(outcome), assignment=with_changes("limits", **{limit: value}))


def test_a_student_out_of_time_reads_the_three_limits() -> None:
    message = student(failed(Outcome.TIMED_OUT))
    assert "10 minutes to begin training, 2 hours to train and 30 minutes for the test" in message


@pytest.mark.parametrize(
    ("given", "handed_in"),
    [
        (failed(Outcome.INFRASTRUCTURE, error="No space left on device"), SUBMISSION),
        (None, SUBMISSION),
        (None, submission(content=None, unreadable="permission denied")),
    ],
    ids=["failed", "not graded yet", "unreadable"],
)
def test_a_fault_of_ours_is_not_put_on_the_student(given: Entry | None, handed_in: Submission) -> None:
    assert "not your fault" in student(given, handed_in)
    assert "No space" not in student(given, handed_in)
    assert "run the same command again" in teacher(given, handed_in)


def test_a_student_who_handed_in_nothing_is_told_so_by_file_name() -> None:
    message = student(None, ABSENT)
    assert message.startswith("The grader found no hw6.py from you.")
    assert message == student(failed(Outcome.NO_SUBMISSION), ABSENT)
    assert teacher(None, ABSENT) == ""


def test_a_student_whose_file_came_late_is_told_how_late_on_one_line() -> None:
    late = "kim\n_hw6.py came 2 hours after the deadline, 2026-12-01 23:59:00+09:00"
    message = student(None, submission(content=None, late=late))
    assert message.startswith(
        "You did not hand in hw6.py by the deadline: kim _hw6.py came 2 hours after the deadline,"
    )
    assert message.endswith("If that is wrong, tell your teacher.")
    assert teacher(None, submission(content=None, late=late, remarks=("late by 2 hours",))) == "late by 2 hours"


@pytest.mark.parametrize("outcome", [Outcome.GRADED, Outcome.CRASHED, Outcome.TIMED_OUT], ids=str)
def test_blanks_are_named_to_both(outcome: Outcome) -> None:
    blank = entry(outcome=outcome, check=check(blanks_left=("Q4", "line 12")))
    assert "These blanks are still empty: Q4, line 12." in student(blank)
    assert "blanks left: Q4, line 12" in teacher(blank)


@pytest.mark.parametrize("said", ["Q4 is still blank", "Q41 is odd", ""])
def test_blanks_are_named_whatever_the_script_said(said: str) -> None:
    checked = check(blanks_left=("Q4",), message=said, outcome=Outcome.INVALID)
    assert student(failed(Outcome.INVALID, check=checked)).count("These blanks are still empty: Q4.") == 1


def test_a_network_that_cannot_be_run_is_explained_by_its_findings_once() -> None:
    finding = Finding(Deviation.OUTPUT_SHAPE, "forward", "The output has eleven scores.")
    found = check(verdict=Verdict.DEVIATES, findings=(finding,), message=finding.sentence, outcome=Outcome.INVALID)
    said = student(failed(Outcome.INVALID, check=found, error=finding.sentence))
    assert said.count(finding.sentence) == 1
    assert "Fix what differs from the handout, then run the whole file" in said


def test_a_message_is_one_line_of_bounded_length() -> None:
    message = student(failed(Outcome.CRASHED, error="first\nsecond\r\n" + "x" * 10_000))
    assert "first second xxx" in message
    assert "\n" not in message
    assert len(message) < ERROR_LENGTH + 200


def test_a_message_names_the_main_findings_once_and_in_whole_sentences() -> None:
    sentences = [f"Finding {number} {'is long ' * 20}and ends here." for number in range(9)]
    findings = [Finding(Deviation.WRONG_WIDTH, "stage 2", sentence) for sentence in sentences for _ in range(2)]
    said = student(
        entry(check=check(verdict=Verdict.DEVIATES, findings=tuple(findings), message=message_of(tuple(findings))))
    )
    assert said.endswith(f"{' '.join(sentences[:3])} Your feedback lists 6 more.")
    assert message_of(()) == ""
    assert message_of((findings[0],)) == sentences[0]


def test_a_note_is_whole() -> None:
    note = f"The script uses what newer versions no longer have: {'torch.something, ' * 30}and one more thing."
    assert student(entry(notes=(note,))).endswith(note)


def test_what_the_check_says_ends_with_a_sentence_however_long_it_is() -> None:
    said = student(entry(check=check(message="A sentence of some length. " * 100)))
    assert said.endswith("A sentence of some length.")
    assert len(said) < 1100
    assert len(student(entry(check=check(message="x" * 10_000)))) < 1100


def test_nothing_to_look_at_leaves_the_review_empty() -> None:
    assert teacher(entry()) == ""
    assert teacher(entry(check=check(verdict=Verdict.VARIANT, notes=("option A",)))) == ""
    assert teacher(failed(Outcome.CRASHED, error=ERROR, check=check(verdict=Verdict.UNREADABLE))) == ""


def test_a_file_that_fails_for_a_missing_module_is_looked_at() -> None:
    said = teacher(failed(Outcome.CRASHED, missing_module="tyro", error=ERROR))
    assert said == (
        "a module is missing: tyro, which is a file that was not handed in, or a package that Colab lacks too "
        "unless the script installs it"
    )
    assert teacher(entry(missing_module="tyro")) == ""


def test_every_reason_to_look_is_listed() -> None:
    findings = (
        Finding(Deviation.WRONG_WIDTH, "stage 2", "a"),
        Finding(Deviation.EXTRA_LAYER, "stage 3", "b"),
        Finding(Deviation.WRONG_WIDTH, "stage 4", "c"),
    )
    given = entry(
        check=Check(Verdict.DEVIATES, findings, blanks_left=("Q7",)), flags=(Reason.of("inputs differ from training"),)
    )
    handed_in = submission(remarks=("not on the roster", "two files\nwere found; both count"))
    assert [reason.words for reason in for_teacher(given, handed_in, ASSIGNMENT)] == [
        "not on the roster",
        "two files were found; both count",
        "architecture deviates: wrong-width, extra-layer",
        "blanks left: Q7",
        "inputs differ from training",
    ]


def test_a_network_that_does_not_behave_like_its_graph_is_looked_at() -> None:
    assert teacher(entry(check=check(flags=(Reason.of("the trace differs"),)))) == "the trace differs"


def test_a_graded_network_whose_architecture_is_unknown_is_looked_at() -> None:
    assert "architecture could not be read" in teacher(entry(check=Check(Verdict.UNREADABLE)))


def test_remarks_are_shown_where_nothing_was_graded() -> None:
    assert teacher(None, submission(content=None, remarks=("folder holds no hw6.py",))) == "folder holds no hw6.py"


@pytest.mark.parametrize(
    ("module", "package"),
    [("seaborn", "seaborn"), ("cv2", "opencv-python-headless"), ("sklearn.svm", "scikit-learn"), ("PIL", "pillow")],
)
def test_a_module_that_this_machine_lacks_comes_with_its_install_line(module: str, package: str) -> None:
    review = teacher(failed(Outcome.INFRASTRUCTURE, missing_module=module))
    assert f"pip install {package}, then run the same command again" in review


@pytest.mark.parametrize("module", ["evil", "numpy evil", "--editable=evil", "numpy;evil", ""])
def test_a_module_that_the_assignment_does_not_grant_is_never_put_into_a_command(module: str) -> None:
    assert "pip install" not in teacher(failed(Outcome.INFRASTRUCTURE, missing_module=module, error=ERROR))


@pytest.mark.parametrize("outcome", [Outcome.GRADED, Outcome.CRASHED], ids=str)
def test_the_line_of_an_error_is_named_where_it_is_known(outcome: Outcome) -> None:
    known = entry(outcome=outcome, stop_reason=StopReason.ERROR, error=ERROR, error_line=41)
    assert "The error comes from line 41 of your script." in student(known)
    assert "line" not in student(entry(known, error_line=0))
