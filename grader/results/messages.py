"""Every sentence about an outcome: what a student reads, and why a teacher should look."""

from collections.abc import Sequence

from grader.assignment import Assignment, Limits
from grader.data import ASSIGNED_DATA
from grader.records import NOT_ON_ROSTER, Answer, Check, Outcome, Reason, StopReason, Submission, Verdict
from grader.results.entries import Entry, Override, Regrade
from grader.text import counted, duration_in_words, one_line

_NOTABLY_SLOWER = 1.1
_OF_FILES = "which file counts, or whose it is"
_AGAIN = "run the same command again"
_SPENT = 'ask for a third run with make regrade STUDENTS="..." WHY="..."'
ERROR_LENGTH = 300  # characters of a student's own error text; the log has all of it
_WHOLE_LENGTH = 1000  # of what the grader says itself, in whole sentences

# The limit says all: an error that came with it would only distract.
_SAYS_ALL = (Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY, Outcome.TOO_MUCH_OUTPUT)
# Where the package to install is not called what the script imports.
_PACKAGES = {
    "cv2": "opencv-python-headless",
    "IPython": "ipython",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def for_student(entry: Entry | None, submission: Submission, assignment: Assignment, *, spent: bool = False) -> str:
    """Say what happened to a submission and what to do about it, in a few short sentences on one line; then `details`.

    Args:
        entry: What the ledger says of the submission; None if it says nothing.
        spent: Whether no run follows before a person asks for it.
    """
    if entry is None:
        return _without_entry(submission, assignment)
    if entry.outcome is Outcome.INFRASTRUCTURE and spent:
        return "The grader failed on your file twice. Your teacher will look at it."
    return " ".join(_graded(entry, assignment) if entry.outcome is Outcome.GRADED else _not_graded(entry, assignment))


def details(entry: Entry) -> tuple[str, ...]:
    """Say what differs from the handout, which answers are not right, and what the grader set aside or supplied."""
    check = entry.check
    findings = [check.message] if check.findings else []
    said = (*findings, *_blanks(check), *check.notes, *check.open_questions, *entry.run.notes)
    return tuple(sentence for text in said for sentence in _whole(text))


def answers(check: Check) -> tuple[str, ...]:
    """Say of the nine answers which are right, wrong, unclear or blank, in a sentence or more."""
    right = [each.name for each in check.questions if each.answer is Answer.OK]
    whole = right and len(right) == len(check.questions)
    said = ["All nine are right."] if whole else [f"Right: {', '.join(right)}."] if right else []
    return (*said, *check.open_questions, *_blanks(check))


def _blanks(check: Check) -> list[str]:
    return [f"These blanks are still empty: {', '.join(check.blanks_left)}."] if check.blanks_left else []


def for_teacher(
    entry: Entry | None, submission: Submission, assignment: Assignment, *, spent: bool = False
) -> tuple[Reason, ...]:
    """Give every reason why a person should look at a submission; arguments as `for_student`."""
    reasons = [Reason(each if each == NOT_ON_ROSTER else _OF_FILES, each) for each in submission.remarks]
    if entry is None:
        reasons += _missing_entry(submission)
    else:
        reasons += _doubts(entry)
        if entry.outcome is Outcome.INFRASTRUCTURE:
            reasons.append(_way_out(entry, assignment, _SPENT if spent else _AGAIN))
    return tuple(dict.fromkeys(Reason(reason.kind, _bounded(reason.words)) for reason in reasons))


def for_student_of(override: Override) -> str:
    """Say that a person set the points."""
    return f"Your teacher set your points to {override.points:f}."


def of_history(
    entry: Entry | None, tries: Sequence[Entry], override: Override | None, pending: Regrade | None, *, due: bool
) -> list[Reason]:
    """Tell the teacher what came before this result, and that it may not be the last word.

    Args:
        tries: Other runs that ended without a result when the script had begun.
        override: That holds now.
        pending: A regrade that has no result yet.
        due: Whether the submission needs another run.
    """
    ended = "another run ended without a result"
    reasons = [Reason.of(ended, _bounded(end.run.error) or "no cause given") for end in tries]
    if override is not None:
        said = f"points set by {override.who}: {_bounded(override.why)}"
        reasons.append(Reason("points set by a person", said))
    if pending is not None:
        reasons.append(Reason.of("a regrade is due and has no result yet", "run make grade"))
    elif due and entry is not None and entry.outcome is not Outcome.INFRASTRUCTURE:
        reasons.append(Reason.of("not final, another run is due", "run make grade"))
    return reasons


def of_other_files(entry: Entry | None, others: Sequence[str], outdated: Override | None) -> list[Reason]:
    """Tell the teacher, and never a student, who else handed in the same files, and what holds for other files only.

    Args:
        others: The ids of those who did.
        outdated: An override of another file than the one that counts.
    """
    reasons: list[Reason] = []
    if entry and entry.run_of:
        reasons.append(Reason.of("result copied", f"{entry.run_of} handed in the same files"))
    if others:
        reasons.append(Reason.of("the same files as others", _bounded(", ".join(others))))
    if outdated is not None:
        said = f"the override to {outdated.points:f} points is for another file and does not apply to this one"
        reasons.append(Reason("an override is for another file", said))
    return reasons


def _without_entry(submission: Submission, assignment: Assignment) -> str:
    if submission.spoilt:
        return (
            f"The grader cannot read the file that you handed in: {_full_stop(_bounded(submission.unreadable))} "
            "If you have a copy that opens, show it to your teacher."
        )
    if submission.unreadable:
        return "The grader could not read your file. This is not your fault, and the grader will try again."
    if submission.content is not None:
        return "Your file is not graded yet. This is not your fault: the grader will grade it later."
    if submission.late:
        late = _full_stop(_bounded(submission.late))
        return f"You did not hand in {assignment.file} by the deadline: {late} If that is wrong, tell your teacher."
    return _nothing_came(assignment)


def _nothing_came(assignment: Assignment) -> str:
    return f"The grader found no {assignment.file} from you. If you handed one in, tell your teacher."


def _not_graded(entry: Entry, assignment: Assignment) -> list[str]:
    """What happened, the error where it says more, and what to do."""
    # The findings stand in the details.
    found = entry.check.message if entry.check.findings else ""
    error = "" if entry.run.error == found else entry.run.error
    reason = _sentence(error) or _whole("" if found else entry.check.message)
    match entry.outcome:
        case Outcome.INVALID:
            happened = "The grader could not run your file as a solution."
            what = "this" if reason else "what differs from the handout"
            advice = f"Fix {what}, then run the whole file once to check."
        case Outcome.CRASHED:
            happened, reason = "Your script failed before the grader could test its network.", [*reason, *_where(entry)]
            advice = "Run the whole file once in a fresh runtime to check."
        case Outcome.INFRASTRUCTURE:
            return ["The grader failed on your file. This is not your fault, and the grader will try again."]
        case Outcome.NO_SUBMISSION:
            return [_nothing_came(assignment)]
        case _:
            happened, advice = _of_a_limit(entry, assignment.limits)
            reason = [] if entry.outcome in _SAYS_ALL else reason
    return [happened, *reason, advice]


def _of_a_limit(entry: Entry, limits: Limits) -> tuple[str, str]:
    """Which limit a script met, and how to stay below it."""
    full = entry.run.filled_its_card
    memory = "of the GPU's memory than a run may use" if full else f"than {_memory(limits.memory_mb)} of memory"
    return {
        Outcome.TIMED_OUT: (
            "The grader stopped your script at a time limit, before it could test the network. "
            f"A script has {duration_in_words(limits.setup_seconds)} to begin training, "
            f"{duration_in_words(entry.evidence.limit_seconds)} to train "
            f"and {duration_in_words(limits.evaluation_seconds)} for the test.",
            "Run the whole file once to see where it waits, or which loop does not end.",
        ),
        Outcome.OUT_OF_MEMORY: (
            f"The grader stopped your script because it used more {memory}.",
            "Use a smaller batch, and add up losses with .item() so that PyTorch can free old graphs.",
        ),
        Outcome.OUT_OF_PROCESSOR_TIME: (
            "The grader stopped your script because it used more processor time than a run may use.",
            "Look for a loop that never ends, and end the processes that you start.",
        ),
        Outcome.OUT_OF_PROCESSES: (
            f"Your script tried to run more than {limits.processes} processes and threads.",
            "Use fewer DataLoader workers, and end the processes that you start.",
        ),
        Outcome.OUT_OF_DISK: (
            f"Your script wrote more than {_memory(limits.scratch_mb)} to its folder.",
            "Save the network once, not in each step.",
        ),
        Outcome.OUT_OF_DESCRIPTORS: (
            f"Your script had more than {limits.open_files} files open.",
            "Close the files you open.",
        ),
        Outcome.TOO_MUCH_OUTPUT: (
            f"The grader stopped your script because it printed more than {limits.output_mb} MB.",
            "Print once for each epoch, not for each batch.",
        ),
    }[entry.outcome]


def _graded(entry: Entry, assignment: Assignment) -> list[str]:
    sentences = []
    if entry.score is not None:
        sentences.append(f"Your network classified {entry.score.correct} of {entry.score.total} test images correctly.")
    if entry.evidence.data_name != ASSIGNED_DATA:
        sentences.append(f"This result is for the data set {entry.evidence.data_name}.")
    if entry.run.training.samples == 0:
        sentences.append("The grader saw no training, so it tested the network as your script built it.")
    sentences += _stop(entry, assignment)
    sentences += _whole("" if entry.check.findings else entry.check.message)
    if assignment.policy.architecture == "require" and entry.check.verdict is Verdict.DEVIATES:
        sentences.append("The network is not the one that the handout asks for. This limits its points.")
    return sentences


def _where(entry: Entry) -> list[str]:
    line = entry.run.error_line
    return [f"The error comes from line {line} of your script."] if line else []


def _stop(entry: Entry, assignment: Assignment) -> list[str]:
    error = _bounded(entry.run.error)
    tested = "The grader tested the network in that state."
    evidence = entry.evidence
    match entry.run.stop_reason:
        case StopReason.EPOCH_BUDGET:
            epochs = counted(assignment.budget.epochs, "epoch")
            when = f"after {epochs}, as the handout says"
            # The training may have been over: to the budget, a forward that builds a graph is one of training.
            said = [f"The grader stopped your script {when}, and tested the network in that state.", *_own_test(entry)]
        case StopReason.TIME_BUDGET:
            limit = duration_in_words(evidence.limit_seconds)
            longer = evidence.limit_seconds > evidence.wall_seconds
            why = "the handout's limit scaled to this machine's speed" if longer else "as the handout says"
            said = [f"The grader stopped training after {limit}, {why}, and tested the network in that state."]
        case StopReason.ERROR:
            named = f" ({error})" if error else ""
            return [f"Your script stopped with an error{named}.", *_where(entry), tested]
        case StopReason.KILLED:
            said = [f"Something outside your script stopped it. {tested}"]
        case _:
            said = []
    return [*said, f"Your script reported an error: {_full_stop(error)}"] if error else said


def _own_test(entry: Entry) -> list[str]:
    """Why the accuracy that a script prints itself may be missing in its log."""
    graphs = any(each.name == "Q9" and each.answer is Answer.WRONG for each in entry.check.questions)
    said = "Your script's own test keeps gradients on (Q9), so it counts as training and may not have run."
    return [said] if graphs else []


def _doubts(entry: Entry) -> list[Reason]:
    check = entry.check
    reasons: list[Reason] = []
    if check.verdict is Verdict.DEVIATES:
        codes = dict.fromkeys(finding.code.value for finding in check.findings)
        reasons.append(Reason.of("architecture deviates", ", ".join(codes) or "no code given"))
    if check.verdict is Verdict.UNREADABLE and entry.outcome is Outcome.GRADED:
        reasons.append(Reason.of("architecture could not be read, but the network was graded"))
    reasons += check.flags
    if check.blanks_left:
        reasons.append(Reason.of("blanks left", ", ".join(check.blanks_left)))
    if entry.outcome is Outcome.CRASHED and (module := entry.run.training.missing_module):
        may_be = "a file that was not handed in, or a package that Colab lacks too unless the script installs it"
        reasons.append(Reason.of("a module is missing", f"{module}, which is {may_be}"))
    if entry.outcome is Outcome.GRADED and entry.run.training.samples == 0:
        reasons.append(Reason.of("the grader saw no training"))
    return [*reasons, *_cut_by_time(entry), *entry.run.flags]


def _cut_by_time(entry: Entry) -> list[Reason]:
    """Doubt a run that time ended on a machine slower than the one that the handout's two hours are meant for."""
    evidence = entry.evidence
    if entry.run.stop_reason is not StopReason.TIME_BUDGET and entry.outcome is not Outcome.TIMED_OUT:
        return []
    if evidence.calibrated_seconds is None:
        untimed = Reason.of("stopped at the time limit on a machine that was not timed", "run make calibrate")
        return [] if entry.run.on_card else [untimed]
    slower = evidence.calibrated_seconds / evidence.wall_seconds
    if slower < _NOTABLY_SLOWER or evidence.limit_seconds > evidence.wall_seconds:
        return []
    said = (
        f"stopped at the time limit on a machine {slower:.1f} times slower than Colab's GPU: "
        f'time_limit = "calibrated" would give it {duration_in_words(evidence.calibrated_seconds)}'
    )
    return [Reason("stopped at the time limit on a slow machine", said)]


def _missing_entry(submission: Submission) -> list[Reason]:
    if submission.spoilt:
        said = f"the student's file cannot be read ({submission.unreadable}): ask the student for a copy that opens"
        return [Reason("the student's file cannot be read", said)]
    if submission.unreadable:
        said = f"the file could not be read ({submission.unreadable}): fix that, then {_AGAIN}"
        return [Reason("the file could not be read", said)]
    if submission.content is not None:
        return [Reason.of("not graded yet", _AGAIN)]
    return []


def _way_out(entry: Entry, assignment: Assignment, what_next: str) -> Reason:
    # The name comes out of the process that runs the student's code. Only what the assignment grants may become a
    # command that a teacher types.
    module = entry.run.training.missing_module.partition(".")[0]
    if module in assignment.colab.modules:
        install = f"pip install {_PACKAGES.get(module, module)}"
        said = f"not graded, the grader's machine lacks {module}: {install}, then {what_next}"
        return Reason("not graded, the grader's machine lacks a module", said)
    cause = _bounded(entry.run.error or entry.check.message) or "no cause given"
    said = f"not graded because the grader or its machine failed ({cause}): {what_next}"
    return Reason("not graded because the grader or its machine failed", said)


def _sentence(text: str) -> list[str]:
    text = _bounded(text)
    return [_full_stop(text)] if text else []


def _whole(text: str) -> list[str]:
    """What the grader says, to the end of the last sentence that there is room for."""
    text = " ".join(text.split())
    if len(text) > _WHOLE_LENGTH:
        whole = text[: text.rfind(". ", 0, _WHOLE_LENGTH) + 1]
        text = whole or text[: _WHOLE_LENGTH - 1] + "…"
    return [_full_stop(text)] if text else []


def _bounded(text: str) -> str:
    return one_line(text, ERROR_LENGTH)


def _full_stop(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else text + "."


def _memory(megabytes: int) -> str:
    return f"{megabytes // 1024} GB" if megabytes % 1024 == 0 else f"{megabytes} MB"
