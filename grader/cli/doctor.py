"""The command that looks at the machine: doctor."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from grader.assignment import Assignment
from grader.cli.options import DEFAULT_OUT, Jobs, Out, Rules, app, mistakes_in_one_sentence, named, say
from grader.records import IsolationLevel
from grader.run.machine import default_jobs, saved_calibration, usable_cores
from grader.sandbox import PROBES, Rung, rungs
from grader.schedule import mps
from grader.schedule.gpus import cards_here
from grader.text import counted

# A data set, its copy for the runs, logs and tables.
_DISK_GB = 2


@app.command("doctor")
def doctor_command(out: Out = DEFAULT_OUT, jobs: Jobs = None, assignment: Rules = None) -> None:
    """Say what this machine offers, and which command would raise it; grades nothing."""
    with mistakes_in_one_sentence():
        rules = named(None, assignment=assignment).rules()
        for line in (*_isolation(tuple(rungs(rules.limits)), rules), *_machine(rules, out, jobs)):
            say(line)


def _isolation(ladder: Sequence[Rung], rules: Assignment) -> Iterator[str]:
    best = next((rung for rung in ladder if rung.isolation is not None), ladder[-1])
    offered = best.isolation.description if best.isolation else "none at all"
    yield f"isolation: {offered}"
    for rung in ladder:
        if rung.isolation is None:
            yield f"  {rung.level:8} no: {rung.refusal}"
        else:
            yield f"  {rung.level:8} yes{', but only if the assignment names it' if _by_name(rung) else ''}"
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


def _by_name(rung: Rung) -> bool:
    return rung.level is IsolationLevel.NONE


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
    allowed = jobs * rules.limits.memory_mb
    memory = psutil.virtual_memory().total >> 20
    enough = "" if allowed <= memory else ", more than this machine has: lower memory_mb in the assignment, or JOBS="
    yield f"memory: {memory} MB; {jobs} at a time may use {allowed} MB{enough}"
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


def _sharing(rules: Assignment, why_not: str, *, has_cards: bool) -> str:
    if not why_not:
        wish = "as the assignment asks" if rules.sharing == "mps" else 'with sharing = "mps" in the assignment'
        return f"sharing: several submissions can use one GPU at the same time through NVIDIA MPS, {wish}"
    stops = rules.sharing == "mps" and has_cards
    refused = (
        ', but the assignment asks for it, so nothing can be graded here: write sharing = "turns" in the assignment'
    )
    return f"sharing: no NVIDIA MPS ({why_not}){refused if stops else ''}"
