"""Which runs of a submission count, which of them is its result, and whether it needs another. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from grader.assignment import Assignment
from grader.records import Outcome, StopReason, exact_percent
from grader.results.entries import Entry, Line, Override, Regrade, RunReason

# Ends without a result that a script can bring about: a person decides about a third try.
_MOST_TRIES = 2
# Of a run's wall time; a script that asked for less of a processor slept. The reference had 0.21 of one, beside nine
# other programs on two cores.
_ASLEEP = 0.1


@dataclass(frozen=True, slots=True)
class NextRun:
    """A run that a submission still needs.

    Attributes:
        seed: Of the random state that the script finds.
        why: For the teacher, in a few words; empty for the first run.
    """

    reason: RunReason
    seed: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """The runs between one regrade and the next; `regrade` is None for the first."""

    regrade: Regrade | None
    runs: tuple[Entry, ...]


def generations(lines: Iterable[Line], run_key: str) -> tuple[Generation, ...]:
    """Split one submission's ledger lines at its regrades; the last generation may have no run yet.

    Args:
        lines: Oldest first, of one student and one file.
        run_key: Runs under other conditions are passed over.
    """
    found = [Generation(None, ())]
    for line in lines:
        if isinstance(line, Regrade):
            found.append(Generation(line, ()))
        elif isinstance(line, Entry) and line.run_key == run_key:
            found[-1] = Generation(found[-1].regrade, (*found[-1].runs, line))
    return tuple(found)


def standing_runs(lines: Iterable[Line], run_key: str, assignment: Assignment) -> tuple[Entry, ...]:
    """The runs by which a submission is graded now: until a regrade has all the runs that it needs, those before it."""
    all_runs = [generation.runs for generation in generations(lines, run_key) if generation.runs]
    standing = [runs for runs in all_runs if any(_stands(run) for run in runs)]
    whole = [runs for runs in standing if is_done(runs, assignment)]
    return next((kind[-1] for kind in (whole, standing, all_runs) if kind), ())


def standing_override(lines: Sequence[Line], assignment: Assignment) -> Override | None:
    """The newest override, unless a regrade came after it and has all the runs that it needs."""
    runs: list[Entry] = []
    for line in reversed(lines):
        if isinstance(line, Override):
            return line
        if isinstance(line, Regrade):
            if any(map(_stands, runs)) and is_done(runs, assignment):
                return None
            runs = []
        elif not runs or line.run_key == runs[0].run_key:
            runs.insert(0, line)
    return None


def is_done(runs: Sequence[Entry], assignment: Assignment) -> bool:
    """Whether a submission with these runs, since its last regrade, needs no other."""
    return next_run(runs, assignment) is None


def counting_run(runs: Sequence[Entry], assignment: Assignment) -> Entry | None:
    """The run that counts: as the policy says where there are several, the last failure of ours where there is none."""
    counting = _one_of_each_seed([run for run in runs if _stands(run)])
    graded = sorted((run for run in counting if run.outcome is Outcome.GRADED), key=_accuracy)
    if graded:
        return graded[-1] if assignment.borderline.grade_by == "best" else graded[(len(graded) - 1) // 2]
    return counting[-1] if counting else runs[-1] if runs else None


def next_run(runs: Sequence[Entry], assignment: Assignment) -> NextRun | None:
    """What a submission still needs, by the runs since its last regrade; None: it is done.

    A fault of ours does not stand: nobody may lose points by it, so it is tried again. After two that came when the
    script had begun, a person decides: the script may have brought them about.
    """
    if runs and runs[-1].evidence.beside_a_fault:
        why = "a GPU error while others shared the GPU: repeated alone"
        return NextRun(RunReason.ALONE, runs[-1].evidence.seed, why)
    if tries_are_spent(runs):
        return None
    counting = [run for run in runs if _stands(run)]
    if not counting:
        return NextRun(RunReason.FIRST, assignment.seed)
    short_of = _short_in_company(counting[-1])
    if short_of and _edge_above(_accuracy(counting[-1]), assignment) is not None:
        why = f"{short_of} while others ran: repeated alone"
        return NextRun(RunReason.ALONE, counting[-1].evidence.seed, why)
    return _borderline_run(counting, assignment)


def ends_without_result(runs: Iterable[Entry]) -> list[Entry]:
    """The runs that ended by a fault of ours, as it seemed, when the script had begun."""
    return [run for run in runs if not _stands(run) and run.run.began and not run.evidence.beside_a_fault]


def tries_are_spent(runs: Iterable[Entry]) -> bool:
    """Whether so many runs ended without a result that none follows before a person asks for it."""
    return len(ends_without_result(runs)) >= _MOST_TRIES


def known_run(lines: Sequence[Line], student_id: str, run_key: str, planned: NextRun) -> Entry | None:
    """The newest run of another student's same files that is the one this student needs; None: it must be made.

    Whoever was regraded is to be run again: an older run is copied neither to this student nor from another one.

    Args:
        lines: Everyone's about these files, oldest first.
    """
    regraded: set[str] = set()
    for line in reversed(lines):
        if isinstance(line, Regrade):
            if line.student_id == student_id:
                return None
            regraded.add(line.student_id)
        elif isinstance(line, Entry) and line.student_id != student_id and line.run_key == run_key:
            same = (line.reason, line.evidence.seed) == (planned.reason, planned.seed)
            if same and _stands(line) and regraded.isdisjoint((line.student_id, line.run_of)):
                return line
    return None


def _borderline_run(counting: Sequence[Entry], assignment: Assignment) -> NextRun | None:
    policy = assignment.borderline
    repeated = [run for run in counting if run.reason is RunReason.BORDERLINE]
    first = counting_run([run for run in counting if run.reason is not RunReason.BORDERLINE], assignment)
    if (
        first is None
        or first.outcome is not Outcome.GRADED
        or first.run.training.own_seed
        or len(repeated) >= policy.extra_runs
    ):
        return None
    edge = _edge_above(_accuracy(first), assignment)
    if edge is None or edge - _accuracy(first) > Fraction(policy.below_edge):
        return None
    best = max(_accuracy(run) for run in _one_of_each_seed(counting) if run.outcome is Outcome.GRADED)
    if policy.grade_by == "best" and _edge_above(best, assignment) != edge:
        return None
    why = f"{float(_accuracy(first)):.2f} % is just below {float(edge):g} %: trained with another seed"
    return NextRun(RunReason.BORDERLINE, assignment.seed + len(repeated) + 1, why)


def _stands(run: Entry) -> bool:
    return run.outcome is not Outcome.INFRASTRUCTURE


def _short_in_company(entry: Entry) -> str:
    """What befell a run that it might not have met with the machine, or its card's memory, to itself; else empty."""
    if entry.evidence.jobs == 1:
        return ""
    if entry.run.stop_reason is StopReason.TIME_BUDGET or entry.outcome is Outcome.TIMED_OUT:
        slept = entry.run.processor_seconds < _ASLEEP * entry.run.job_seconds
        return "" if slept else "stopped at the time limit"
    # A network that was made before can still be tested, so that the run is graded in the state that it had.
    full = entry.outcome is Outcome.OUT_OF_MEMORY or entry.run.filled_its_card
    return "out of GPU memory" if full and entry.evidence.card else ""


def _one_of_each_seed(counting: Sequence[Entry]) -> list[Entry]:
    """Of a run and its repetitions alone, the best one; a repetition that saw fewer images is none."""
    by_seed: dict[int, list[Entry]] = {}
    for run in counting:
        by_seed.setdefault(run.evidence.seed, []).append(run)
    return [_best_of_repeated(runs) for runs in by_seed.values()]


def _best_of_repeated(runs: Sequence[Entry]) -> Entry:
    tested = [run for run in runs if run.outcome is Outcome.GRADED]
    saw = max((run.run.training.samples for run in tested if run.reason is not RunReason.ALONE), default=0)
    comparable = [run for run in tested if run.reason is not RunReason.ALONE or run.run.training.samples >= saw]
    return max(reversed(comparable), key=_accuracy, default=runs[-1])


def _accuracy(entry: Entry) -> Fraction:
    return exact_percent(entry.score.correct, entry.score.total) if entry.score else Fraction(0)


def _edge_above(percent: Fraction, assignment: Assignment) -> Fraction | None:
    """The edge that a better run could pass, in percent; None where there is nothing more to earn."""
    missed = [band.edge for band in assignment.bands if band.edge is not None and not band.takes(percent)]
    return min(missed, default=None)
