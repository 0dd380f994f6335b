"""The commands that change nothing: collect, check, report, similar, files and doctor."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import psutil
import typer

from grader.assignment import DEFAULT_ASSIGNMENT, REFERENCE, TEMPLATE, Assignment
from grader.cli.options import (
    DEFAULT_OUT,
    Deadline,
    Jobs,
    Layout,
    Out,
    Roster,
    Rules,
    SameSubmissions,
    Student,
    Submissions,
    app,
    as_settings,
    chosen,
    collected,
    data_notice,
    interrupted,
    last_run_key,
    named,
    remember,
    remembered,
    say,
    show_results,
)
from grader.errors import UserError
from grader.pipeline import check_class, results
from grader.records import Check, IsolationLevel, Outcome
from grader.report import write_results
from grader.report.similar import MOST_BYTES, SIMILAR_NAME, find_similar, write_similar
from grader.report.table import checks_table, collection_lines, write_csv
from grader.results.ledger import read_ledger
from grader.run.machine import default_jobs, saved_calibration, this_machine, usable_cores
from grader.sandbox import PROBES, Rung, find_isolation, rungs
from grader.schedule import Local, mps
from grader.schedule.gpus import cards_here
from grader.text import counted

_DOCS = DEFAULT_ASSIGNMENT.with_name("docs")
_MOST_PAIRS = 50
_SHOWN = 10
# In GB: a data set, its copy for the runs, logs and tables.
_DISK_GB = 2


@app.command("collect")
def collect_command(
    submissions: Submissions,
    roster: Roster = None,
    deadline: Deadline = "",
    out: Out = DEFAULT_OUT,
    assignment: Rules = None,
    layout: Layout = None,
) -> None:
    """Show which file counts for whom, and why; run nothing."""
    inputs = named(submissions, roster, deadline, assignment=assignment, layout=layout)
    collection = collected(inputs, inputs.rules(), out)
    say("")
    for line in collection_lines(collection):
        say(line)
    say(f"\neach file, and why: {out / 'collection.csv'}\nnext: make grade {as_settings(inputs, out)}")


@app.command("check")
def check_command(
    submissions: Submissions,
    roster: Roster = None,
    deadline: Deadline = "",
    out: Out = DEFAULT_OUT,
    jobs: Jobs = None,
    assignment: Rules = None,
    student: Student = "",
    layout: Layout = None,
) -> None:
    """Check every submission's file and network, without data and without training."""
    with tempfile.TemporaryDirectory(prefix="grader-check-") as work:
        inputs = named(submissions, roster, deadline, assignment=assignment, layout=layout)
        rules = inputs.rules()
        collection = collected(inputs, rules, out)
        isolation = find_isolation(rules.limits, rules.policy.isolation)
        say(f"isolation: {isolation.description}")
        machine, stop = this_machine(isolation, jobs, Path(work), None, True), interrupted()
        checks: dict[str, Check] = {}
        wanted = chosen(collection, [student]) if student else collection.submissions
        for submission, check in check_class(wanted, rules, Local(machine, None, stop)):
            checks[submission.student_id] = check
            say(f"{submission.student_id}: {check.verdict} {check.message}")
        if student:
            return
        pairs = [(submission, checks.get(submission.student_id)) for submission in collection.submissions]
        path = out / "checks.csv"
        write_csv(checks_table(pairs), path)
        say(f"\n{path}")
        say(f"next: make grade {as_settings(inputs, out)}")
        if any(check.outcome is Outcome.INFRASTRUCTURE for check in checks.values()):
            raise typer.Exit(1)


@app.command("report")
def report_command(
    submissions: SameSubmissions = None,
    roster: Roster = None,
    deadline: Deadline = "",
    out: Out = DEFAULT_OUT,
    assignment: Rules = None,
    layout: Layout = None,
) -> None:
    """Write the tables again from the ledger, with today's roster and bands; run nothing."""
    inputs = remembered(out, named(submissions, roster, deadline, assignment=assignment, layout=layout))
    rules = inputs.rules()
    ledger = read_ledger(out)
    run_key = last_run_key(ledger, out)
    collection = collected(inputs, rules, out)
    remember(inputs, out)
    rows = results(collection.submissions, rules, ledger, run_key)
    write_results(rows, collection, rules, ledger, out)
    show_results(rows, out, data_notice(ledger, run_key))


@app.command("files")
def files_command() -> None:
    """Show where the grader's own files lie: rules, reference, template, docs."""
    say(f"rules: {DEFAULT_ASSIGNMENT}\nreference: {REFERENCE}\ntemplate: {TEMPLATE}")
    say(f"docs: {_DOCS}\nSlurm: {_DOCS / 'slurm.sbatch'}")


@app.command("similar")
def similar_command(
    submissions: SameSubmissions = None,
    roster: Roster = None,
    deadline: Deadline = "",
    out: Out = DEFAULT_OUT,
    layout: Layout = None,
    least: Annotated[
        float, typer.Option(min=1, max=100, help="The least share of one side's own code, in percent.")
    ] = 80,
) -> None:
    """Show pairs of similar submissions; points do not change."""
    inputs = remembered(out, named(submissions, roster, deadline, layout=layout))
    if not inputs.submissions:
        raise UserError(f"SUBMISSIONS= is missing, and {out} remembers none: name the folder or archive to compare")
    collection = collected(inputs, inputs.rules(), out)
    for submission in collection.submissions:
        if submission.content and len(submission.content) > MOST_BYTES:
            say(f"  {submission.student_id}: not compared: larger than {MOST_BYTES // 1000} KB")
    pairs = find_similar(collection.submissions, least, _MOST_PAIRS)
    for pair in pairs[:_SHOWN]:
        first, second = pair.first, pair.second
        say(f"{first.student_id} {first.share:.1f} %, {second.student_id} {second.share:.1f} %")
    path = out / SIMILAR_NAME
    write_similar(pairs, least, path)
    only = f" (only the closest {_MOST_PAIRS} are shown)" * (len(pairs) == _MOST_PAIRS)
    say(f"pairs that share at least {least:g} % of one side's own code: {len(pairs)}{only}")
    say(f"side by side: {path}")


@app.command("doctor")
def doctor_command(out: Out = DEFAULT_OUT, jobs: Jobs = None, assignment: Rules = None) -> None:
    """Show what this machine offers, and which command would raise its isolation."""
    rules = named(None, assignment=assignment).rules()
    for line in (*_isolation(tuple(rungs(rules.limits)), rules), *_machine(rules, out, jobs)):
        say(line)


def _isolation(ladder: Sequence[Rung], rules: Assignment) -> Iterator[str]:
    best = next((rung for rung in ladder if rung.isolation is not None), ladder[-1])
    yield f"isolation: {best.isolation.description if best.isolation else 'none at all'}"
    for rung in ladder:
        if rung.isolation is None:
            yield f"  {rung.level:8} no: {rung.refusal}"
        else:
            yield f"  {rung.level:8} yes{', but only if the assignment names it' * (rung.level is IsolationLevel.NONE)}"
    if best.isolation is not None:
        yield f"  probes at the level {best.level}:"
        for name in PROBES:
            yield f"    {'GOT THROUGH' if name in best.succeeded else 'held':11} {name}"
    wish = rules.policy.isolation
    order = list(IsolationLevel)
    enough = best.isolation is not None and order.index(best.level) <= order.index(wish)
    if not enough:
        yield f'  the assignment asks for at least "{wish}", so nothing can be graded here'
    # What is enough can be raised by one level; what is not must be raised to what is asked for.
    aim = order[max(0, order.index(best.level) - 1)] if enough else wish
    for rung in ladder:
        if rung.level is aim and rung.raise_by:
            yield f"  to raise it to {aim}: {rung.raise_by}"


def _machine(rules: Assignment, out: Path, asked: int | None) -> Iterator[str]:
    import torch  # takes seconds, and no other command needs it here

    cores = usable_cores()
    cards = cards_here()
    jobs = asked or default_jobs(cores, cards, rules.budget.time_limit != "wall", rules.sharing)
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        yield f"GPU: {torch.cuda.get_device_name(0)}, {free >> 20} of {total >> 20} MB free"
    else:
        yield "GPU: PyTorch sees none; scripts run on the processor"
    yield _sharing(rules, mps.why_not(tuple(cards)), has_cards=bool(cards))
    threads = counted(max(1, cores // jobs), "thread")
    yield f"torch: {torch.__version__}, {counted(cores, 'processor core')}, {threads} a run"
    yield memory(jobs, rules)[0]
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    gigabytes = shutil.disk_usage(place).free >> 30
    room = "" if gigabytes >= _DISK_GB else f", and {_DISK_GB} GB are needed: name another folder with OUT="
    yield f"disk: {gigabytes} GB free for {out}{room}"
    timed = saved_calibration(out, max(1, cores // jobs), rules.precision)
    if timed is None:
        yield "speed: not timed yet; run make calibrate"
    else:
        steps = timed.images_per_second
        yield f"speed: the reference trains {steps:.0f} images a second, {1000 * 128 / steps:.0f} ms a step of 128"


def memory(jobs: int, rules: Assignment) -> tuple[str, bool]:
    """What so many runs may use of this machine's memory, in a line, and whether there is so much."""
    allowed, there = jobs * rules.limits.memory_mb, psutil.virtual_memory().total >> 20
    enough = allowed <= there
    more = "" if enough else ", more than this machine has: lower memory_mb in the assignment, or JOBS="
    return f"memory: {there} MB; {jobs} at a time may use {allowed} MB{more}", enough


def _sharing(rules: Assignment, why_not: str, *, has_cards: bool) -> str:
    if not why_not:
        wish = "as the assignment asks" if rules.sharing == "mps" else 'with sharing = "mps" in the assignment'
        return f"sharing: several submissions can use one GPU at the same time through NVIDIA MPS, {wish}"
    refused = (
        ', but the assignment asks for it, so nothing can be graded here: write sharing = "turns" in the assignment'
    )
    return f"sharing: no NVIDIA MPS ({why_not}){refused if rules.sharing == 'mps' and has_cards else ''}"
