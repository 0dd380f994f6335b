"""The check stage: run one submission up to its first training forward, and judge the network that it made.

A network is there only once the script has made it, and it may need whatever the script defines on its way (real ones
read a global `dev` in their constructor). So a check runs the script as a training does, with a budget of no images:
the worker wraps the class's `forward` to count what is learned from, and before the first image over the budget, here
the first of all, it does not call that forward but says what it saw and ends the process. It is no exception that the
script could catch (worker/budget.py `_before_forward`, worker/main.py `_finish` and `_check`).
"""

from dataclasses import replace

from grader.assignment import Assignment
from grader.judge.alignment import compare
from grader.judge.verdict import judge
from grader.protocol import Fault, NetworkSeen, QuestionsSeen, SourceRead
from grader.records import (
    Check,
    Deviation,
    Finding,
    Outcome,
    Question,
    Reason,
    Submission,
    Verdict,
    still_blank,
)
from grader.run.doubts import NOT_NEEDED, another_class, brought_along, newer_syntax
from grader.run.worker_client import EquippedSlot, Request, WorkerRun, start_worker
from grader.sandbox import Ending

_MESSAGE = 600  # characters, if that holds one finding
_REASON = 200  # characters
_ANOTHER_NETWORK = "the network that was tested is not the one that was checked"
_ONLY_TRAINED = "the network was judged after training only, in eval mode: the check did not come to see it"
# Of one image; the specified network takes 0.03 s on one core.
_LONGEST_FORWARD = 1.0


def check_architecture(submission: Submission, assignment: Assignment, slot: EquippedSlot) -> Check:
    """Check one submission in the sandbox.

    Raises:
        InfrastructureError: The worker could not be started.
    """
    run = start_worker(Request(submission, assignment, slot, "check", assignment.seed))
    check = _checked(run, assignment)
    doubts = (*brought_along(submission), *newer_syntax(submission, run.source))
    return replace(check, flags=(*doubts, *check.flags, *run.doubts))


def _checked(run: WorkerRun, assignment: Assignment) -> Check:
    source = run.source
    if source is None:
        return Check(Verdict.UNREADABLE, message="The grader could not read the script to its end.")
    if source.fault:
        return replace(_read(source), outcome=Outcome.INVALID, message=source.fault)
    if run.network is None:
        outcome, message = _why_no_network(run, assignment)
        lines = (*source.lines, *([run.stopped.line] if run.stopped else []))
        trained = another_class(outcome, run.stopped.training) if run.stopped else ()
        flags = (*_flags(source), *trained)
        return replace(_read(source), outcome=outcome, message=message, lines=lines, flags=flags)
    judged = judge(run.network, assignment.blocks)
    questions = _questions(run.questions)
    return replace(
        _read(source),
        blanks_left=still_blank(source.blanks, questions),
        verdict=judged.verdict,
        findings=judged.findings,
        notes=(*source.notes, *judged.notes),
        parameters=run.network.parameters,
        output_shape=run.network.output_shape,
        outcome=_fatal(run.network),
        message=message_of(judged.findings),
        flags=(*_flags(source), *judged.flags),
        questions=questions,
        layers=compare(run.network, assignment.blocks) if run.network.output is not None else (),
        image_seconds=_image_seconds(run.network.image_seconds),
    )


# From good to bad, where a network could be judged.
_WORSE = (Verdict.CONFORMING, Verdict.VARIANT, Verdict.DEVIATES)


def with_tested(check: Check, tested: NetworkSeen, assignment: Assignment) -> Check:
    """The check of a network whose trained graph was judged, too: it may be worse than what was checked, not better.

    The check saw the network in train mode: what only that has (a dropout) stays. Where the check saw no network, the
    trained one is all that can be judged.
    """
    judged = judge(tested, assignment.blocks)
    layers = compare(tested, assignment.blocks) if tested.output is not None else check.layers
    if check.verdict is Verdict.UNREADABLE and not check.findings:
        return replace(
            check,
            verdict=judged.verdict,
            findings=judged.findings,
            message=message_of(judged.findings),
            layers=layers,
            notes=(*check.notes, _ONLY_TRAINED),
        )
    # What the check saw run for nothing is no part of what was tested.
    dead = {finding.where for finding in check.findings if finding.code is Deviation.DEAD_LAYER}
    # What differs from the handout in the same way as before, and in another place or size, is another network too.
    differing = [layer for layer in layers if layer.differs and layer.place not in dead]
    changed = [layer for layer in differing if layer not in check.layers] if check.layers else []
    known = {finding.code for finding in check.findings}
    found = [each for each in judged.findings if each.where not in dead and each not in check.findings]
    new = [each for each in found if each.code not in known or changed]
    if check.verdict not in _WORSE or not (new or changed):
        return check
    why = new[0].sentence.rstrip(".") if new else f"{changed[0].place}: {changed[0].ran}"
    findings = (*new, *check.findings)
    return replace(
        check,
        verdict=max(check.verdict, judged.verdict, key=_WORSE.index),
        findings=findings,
        message=message_of(findings),
        layers=layers,
        flags=(*check.flags, Reason.of(_ANOTHER_NETWORK, why)),
    )


def _read(source: SourceRead) -> Check:
    """What is known from the file alone."""
    return Check(
        Verdict.UNREADABLE,
        notes=source.notes,
        blanks_left=source.blanks,
        lines=source.lines,
        flags=_flags(source),
        prepared_sha256=source.prepared_sha256,
    )


def _why_no_network(run: WorkerRun, assignment: Assignment) -> tuple[Outcome | None, str]:
    """An outcome only where the script itself came to an end without a network."""
    limits = assignment.limits
    stopped = {
        Ending.WALL_LIMIT: f"The script did not begin to train within {limits.check_seconds} seconds.",
        Ending.MEMORY_LIMIT: f"The script used more than {limits.memory_mb} MB of memory before it made a network.",
        Ending.OUTPUT_LIMIT: f"The script printed more than {limits.output_mb} MB before it made a network.",
        Ending.PROCESSOR_LIMIT: "The script used too much processor time before it made a network.",
        Ending.DISK_LIMIT: f"The script wrote more than {limits.scratch_mb} MB before it made a network.",
    }
    if run.execution.ending in stopped:
        return None, stopped[run.execution.ending]
    if run.stopped is None:
        return Outcome.CRASHED, "The script ended before it made a network."
    if run.stopped.training.missing_module in assignment.colab.modules:
        said = (
            f"The script needs {run.stopped.training.missing_module}, which Colab has and the grader's machine lacks."
        )
        return Outcome.INFRASTRUCTURE, said
    if run.stopped.error:
        return Outcome.CRASHED, f"The script failed before it made a network ({run.stopped.error})."
    if run.evaluated is not None and run.evaluated.fault == Fault.NO_NETWORK:
        return Outcome.INVALID, f"The script makes no network of a class {assignment.class_name}."
    return None, "The check could not look at the network: the process ended while it ran the network."


def _flags(source: SourceRead) -> tuple[Reason, ...]:
    return tuple(Reason.of(NOT_NEEDED, what) for what in source.suspicions)


def message_of(findings: tuple[Finding, ...]) -> str:
    """The main findings, each in a whole sentence; the feedback has all of them."""
    first, *others = dict.fromkeys(finding.sentence for finding in findings) or [""]
    said = [first]
    for sentence in others:
        if len(" ".join([*said, sentence])) > _MESSAGE:
            break
        said.append(sentence)
    left = 1 + len(others) - len(said)
    rest = [f"Your feedback lists {left} more." if left > 1 else "Your feedback lists one more."] if left else []
    return " ".join([*said, *rest])


def _questions(seen: QuestionsSeen | None) -> tuple[Question, ...]:
    return tuple(replace(each, reason=each.reason[:_REASON]) for each in seen.questions) if seen else ()


def _image_seconds(forward: float | None) -> float | None:
    """Of a whole step, whose backward pass takes about as long as its forward; None for what cannot have been timed."""
    return 2 * forward if forward is not None and 0 < forward < _LONGEST_FORWARD else None


def _fatal(network: NetworkSeen) -> Outcome | None:
    """INVALID where no scores can ever come: training for two hours would not change it."""
    wrong = network.output_shape is not None and network.output_shape[1:] != (10,)
    return Outcome.INVALID if wrong else None
