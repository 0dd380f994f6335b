"""A job may offer a network before it is asked: so much and no more, and then it waits for the grader's decision."""

import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from grader.sandbox import BegunJob, Ending, Isolation, Job, started
from sandboxed import PIPES

pytestmark = pytest.mark.sandbox

OFFERS = f"""{PIPES}
def offer(network, length=None):
    os.write(scores, b"N" + (len(network) if length is None else length).to_bytes(8, "little") + network)
"""
NETWORK = b"weights" * 30_000
OFFERS_AND_ANSWERS = """
offer(b"network")
left = 500_000
while left:
    left -= len(os.read(images, left))
os.write(scores, b"12345678")
"""


@pytest.fixture
def job(job: Job) -> Job:
    """One that may offer a network, and is asked about images."""
    return replace(job, images=memoryview(b"image" * 100_000), answer_bytes=8, network_bytes=len(NETWORK))


@contextmanager
def begun(isolation: Isolation, job: Job, program: str) -> Iterator[BegunJob]:
    with started(isolation, job, ("-c", OFFERS + program)) as waiting, waiting.begun(threading.Event()) as running:
        yield running


def test_it_waits_with_its_network_and_nothing_was_sent_to_it(isolation: Isolation, job: Job) -> None:
    program = f"""
import select
offer({NETWORK[:7]!r} * 30_000)
print(select.select([images], [], [], 1)[0], flush=True)
time.sleep(60)
"""
    with begun(isolation, job, program) as running:
        offered = running.wait()
        assert (offered.ending, offered.network, offered.answer) == (Ending.WAITS, NETWORK, None)


def test_it_can_be_asked_all_the_same(isolation: Isolation, job: Job) -> None:
    with begun(isolation, job, OFFERS_AND_ANSWERS) as running:
        assert running.wait().network == b"network"
        answered = running.ask_after_all()
        assert (answered.ending, answered.answer, answered.network) == (Ending.EXITED, b"12345678", None)


@pytest.mark.parametrize(
    ("does", "ending"),
    [
        ("keep = b'x' * (200 << 20)", Ending.MEMORY_LIMIT),
        ("while True: os.write(1, b'x' * 65536)", Ending.OUTPUT_LIMIT),
    ],
    ids=["memory", "output"],
)
def test_what_it_has_forked_is_held_to_its_limits_while_it_waits(
    isolation: Isolation, job: Job, does: str, ending: Ending
) -> None:
    program = f"""
offer(b"network")
if os.fork() == 0:
    os.read(images, 1)
    {does}
time.sleep(60)
"""
    small = replace(job, limits=job.limits.model_copy(update={"memory_mb": 150, "output_mb": 1}))
    with begun(isolation, small, program) as running:
        assert running.wait().network == b"network"
        os.write(running._conversation._pipes["images"], b"B")
        with running.watched():
            assert select.select([running._tree.exit_descriptor], [], [], 30)[0]
        assert running.ask_after_all().ending is ending


def test_a_job_that_keeps_to_its_limits_is_asked_after_it_was_watched(isolation: Isolation, job: Job) -> None:
    with begun(isolation, job, OFFERS_AND_ANSWERS) as running:
        running.wait()
        with running.watched():
            pass
        assert running.ask_after_all().answer == b"12345678"


def test_the_time_in_which_it_waits_for_the_grader_is_not_its_own(isolation: Isolation, job: Job) -> None:
    with begun(isolation, job, OFFERS_AND_ANSWERS) as running:
        running.wait()
        running._job = replace(job, ready_seconds=0.1)
        with running.watched():
            assert not select.select([running._tree.exit_descriptor], [], [], 1)[0]
        assert running.ask_after_all().answer == b"12345678"


@pytest.mark.parametrize(
    "program",
    [
        "offer(b'x', 1 << 62)",
        f"offer(b'x' * {len(NETWORK) + 1})",
        "offer(b'xx', 1)",
        "offer(b'x', 2); offer(b'y')",
    ],
    ids=["endless", "too large", "longer than said", "two"],
)
def test_what_it_may_not_offer_is_a_violation(isolation: Isolation, job: Job, program: str) -> None:
    with begun(isolation, job, f"{program}\ntime.sleep(60)") as running:
        ended = running.wait()
        assert (ended.ending, ended.network, ended.answer) == (Ending.PROTOCOL, None, None)


def test_where_none_may_be_offered_it_is_a_violation(isolation: Isolation, job: Job) -> None:
    none = Job(job.folder, job.limits, 30, 30, answer_bytes=8)
    with begun(isolation, none, "offer(b'x')\ntime.sleep(60)") as running:
        assert running.wait().ending is Ending.PROTOCOL


def test_once_training_is_over_the_time_of_the_test_counts(isolation: Isolation, job: Job) -> None:
    hurried = Job(job.folder, job.limits, 600, 1, answer_bytes=8)
    with begun(isolation, hurried, "os.write(scores, b'O')\ntime.sleep(60)") as running:
        assert running.wait().ending is Ending.WALL_LIMIT


def test_a_job_answers_one_question_after_another_and_ends_where_it_fails(isolation: Isolation, job: Job) -> None:
    program = """
while True:
    os.write(scores, b"R")
    asked = os.read(images, 4)
    if asked == b"fail":
        sys.exit(3)
    os.write(scores, asked[::-1])
    os.read(images, 1)
"""
    plain, never = Job(job.folder, job.limits, 30, 30), threading.Event()
    with started(isolation, plain, ("-c", OFFERS + program)) as waiting:
        answers = [waiting.ask(memoryview(asked), 4, never) for asked in (b"abcd", b"efgh")]
        assert [(each.ending, each.answer) for each in answers] == [(Ending.WAITS, b"dcba"), (Ending.WAITS, b"hgfe")]
        failed = waiting.ask(memoryview(b"fail"), 4, never)
        assert (failed.ending, failed.exit_code, failed.answer) == (Ending.EXITED, 3, None)
