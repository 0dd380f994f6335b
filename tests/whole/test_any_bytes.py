"""Whatever comes out of a sandbox or was handed in is a value: no bytes make a traceback of ours."""

import contextlib
import io
import json
import os
import string
import struct
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grader.collect import collect
from grader.data import count_correct, images_to_score, load_data
from grader.errors import UserError
from grader.judge.verdict import judge
from grader.protocol import (
    Behaviour,
    Evaluated,
    NetworkSeen,
    Node,
    Progress,
    SourceRead,
    Started,
    Stopped,
    to_json,
)
from grader.records import Status, Training
from grader.report.page import source_files
from grader.run.curve import TrainingCurve
from grader.run.worker_client import _events, plausible
from grader.sandbox import Job, Listener
from grader.sandbox.conversation import Conversation
from grader.worker.channel import one_line
from grader.worker.source import read_source
from record_examples import submission
from submission_folders import ASSIGNMENT

# The same examples everywhere: a test that fails, fails for everyone.
few = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
fewer = settings(few, max_examples=60)

PIECES = (
    *("!pip install x", "%matplotlib inline", "%%bash", "%time x = 1", "x?", "??x", "x = !ls", "\\", '"""', "'''"),
    *("def f(", "class IdentityResNet(nn.Module):", "    ...", "...  # Q4", "# Q1", "x[...]", "\t", "\f", "\r", "\0"),
    *("\ufeff", "# -*- coding: utf-16 -*-", "# coding: no-such", "\ud800", "return", "await x", "0_", "1" * 5_000),
    *("(" * 150, "[" * 300, "-" * 3_000 + "1", "x" + ".x" * 2_000, "1" + "+1" * 2_000, "lambda: " * 200, "\\N{"),
)
SOURCES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(PIECES) | st.text(max_size=20), max_size=12).map(
        lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
    ),
    st.text(max_size=100).flatmap(
        lambda text: st.sampled_from(["utf-16", "utf-32", "cp949", "latin-1", "utf-8-sig"]).map(
            lambda encoding: text.encode(encoding, "replace")
        )
    ),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
CELL_NAMES = st.sampled_from(["cells", "cell_type", "source", "nbformat"])
NOTEBOOKS = st.dictionaries(
    CELL_NAMES, VALUES | st.lists(st.dictionaries(CELL_NAMES, VALUES | st.just("code"), max_size=3), max_size=3)
).map(lambda cells: json.dumps(cells).encode())


@few
@given(SOURCES | NOTEBOOKS)
def test_any_bytes_are_a_source_or_a_fault(content: bytes) -> None:
    source = read_source(content)
    assert bool(source.seen.fault) != bool(source.text) or not source.text.strip()
    (shown,) = source_files(submission(content=content), None)
    shown.text.encode("utf-8")


EVENTS = (Started, SourceRead, Progress, NetworkSeen, Stopped, Evaluated)
FIELDS = sorted({name for event in EVENTS for name in event.__dataclass_fields__} - {"event", "training"})
NUMBERS = st.sampled_from([10**400, -(10**400), float("nan"), float("inf"), 2**63, -1, 0, 1])
MEASURED = st.fixed_dictionaries({}, optional=dict.fromkeys(Training.__dataclass_fields__, VALUES | NUMBERS))
REPORTS = st.one_of(
    st.binary(max_size=200),
    st.fixed_dictionaries(
        {"event": st.sampled_from(["started", "source", "progress", "network", "questions", "stopped", "evaluated"])},
        optional=dict.fromkeys(FIELDS, VALUES | NUMBERS) | {"training": VALUES | MEASURED},
    ).map(lambda event: json.dumps(event).encode()),
    st.sampled_from(
        [b"[" * 60_000, b'{"event":"stopped","reason":"\xff"}', b'{"event": "progress", "samples": 1e999}']
    ),
)


@few
@given(st.lists(REPORTS, max_size=5))
def test_any_report_is_events_and_they_are_bounded(lines: list[bytes]) -> None:
    events = _events(lines)
    assert len(events) <= len(lines)
    for event in events:
        if isinstance(event, Stopped):
            bounded = plausible(event.training)
            assert 0 <= bounded.samples <= 10**12
            assert 0 <= bounded.seconds <= 1e7
    curve = TrainingCurve()
    for event in events:
        if isinstance(event, Progress):
            curve.add(event)
    for point in curve.points():
        assert 0 < point.samples <= 10**12
        assert point.loss is None or abs(point.loss) <= 1e6
        assert point.accuracy is None or 0 <= point.accuracy <= 1


SHAPES = st.lists(st.sampled_from([0, 1, 4, 8, 10, 64, 512, -1, 10**30]), max_size=5).map(tuple)
OPERATIONS = st.sampled_from(
    ["conv", "batch_norm", "relu", "add", "max_pool", "avg_pool", "zero_channels", "linear", "view", "\ud800<b>", ""]
)


@few
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=30))
def test_any_error_of_a_script_can_be_told(said: str) -> None:
    """Half a surrogate pair, as a file name may hold it, cost the whole line."""
    error = one_line(ValueError(said))
    assert len(_events([to_json(Stopped("error", error=error)).encode()])) == 1


@st.composite
def networks(draw: st.DrawFn) -> NetworkSeen:
    """Any graph that the telemetry takes: forged, cut short, with shapes that no network has."""
    nodes = [Node("input", (), (4, *draw(SHAPES)))]
    for index in range(1, draw(st.integers(1, 12))):
        inputs = draw(st.lists(st.integers(0, index - 1), min_size=1, max_size=3))
        kernel, stride, padding = (draw(SHAPES) for _ in range(3))
        weight = draw(st.sampled_from(["", "conv.weight", "a.b.c", "\0"]))
        shape = (4, 8, *draw(SHAPES))[draw(st.sampled_from([0, 2])) :]
        operation = draw(OPERATIONS) if len(shape) > 1 else "relu"
        nodes.append(Node(operation, tuple(inputs), shape, weight, draw(st.booleans()), kernel, stride, padding))
    output = draw(st.none() | st.integers(0, len(nodes) - 1))
    maybe = st.none() | st.booleans()
    behaviour = Behaviour(
        single_image=draw(st.none() | SHAPES | st.text(max_size=5)),
        batch_dependent=draw(maybe),
        nondeterministic=draw(maybe),
        identities=draw(st.none() | st.lists(st.booleans(), max_size=10).map(tuple)),
        trace_differs=draw(maybe),
        counts=draw(st.lists(st.tuples(SHAPES, SHAPES | st.text(max_size=5)), max_size=3).map(tuple)),
    )
    names = draw(st.lists(st.text(max_size=5), max_size=3).map(tuple))
    returned = draw(st.none() | SHAPES)
    return NetworkSeen(True, tuple(nodes), output, names, names, draw(st.integers()), returned, behaviour=behaviour)


@few
@given(networks())
def test_any_graph_is_judged(network: NetworkSeen) -> None:
    assert judge(network, (2, 2, 2, 2)).verdict


STEPS = st.lists(st.sampled_from([b"R", b"x", b"", b"RR"]) | st.binary(max_size=30) | st.just("send"), max_size=12)


@few
@given(STEPS, st.integers(0, 3))
def test_an_answer_is_complete_and_came_after_the_images_whatever_is_written(
    steps: list[bytes | str], rows: int
) -> None:
    images, due = bytes(50 * rows), 8 * rows
    pipes = {name: os.pipe() for name in ("log", "report", "scores", "images")}
    ours = {name: ends[1 if name == "images" else 0] for name, ends in pipes.items()}
    for end in ours.values():
        os.set_blocking(end, False)
    job = Job(Path(), ASSIGNMENT.limits, 1, images=memoryview(images), answer_bytes=due)
    with contextlib.closing(Conversation(job, ours, Listener())) as conversation:
        sent, early, received = not images, False, b""
        for step in steps:
            if isinstance(step, bytes):
                os.write(pipes["scores"][1], step)
                conversation.drain()
                received += step
                early |= not sent and len(received) > 1 and bool(step)
                continue
            for key, _ in conversation.selector.select(0):
                if key.fd == ours["images"]:
                    conversation.handle(key)
                    sent = True
        whole = received[:1] == b"R" and len(received) == 1 + due and not early
        assert (conversation.answer() is not None) == (whole and due > 0)
        assert conversation.answer() in (None, received[1:])
    for reader, writer in pipes.values():
        os.close(reader)
        os.close(writer)


@few
@given(st.lists(st.binary(max_size=300) | st.just(b"x" * 70_000 + b"\n"), max_size=6))
def test_any_output_and_report_are_kept_within_bounds(chunks: list[bytes]) -> None:
    pipes = {name: os.pipe() for name in ("log", "report", "scores", "images")}
    ours = {name: ends[0] for name, ends in pipes.items()}
    os.set_blocking(ours["log"], False)
    os.set_blocking(ours["report"], False)
    os.set_blocking(ours["scores"], False)
    job = Job(Path(), ASSIGNMENT.limits.model_copy(update={"log_kb": 1}), 1)
    with contextlib.closing(Conversation(job, ours, Listener())) as conversation:
        for chunk in chunks:
            for name in ("log", "report"):
                for start in range(0, len(chunk), 4096):
                    os.write(pipes[name][1], chunk[start : start + 4096])
                    conversation.drain()
        assert conversation.log.printed == sum(map(len, chunks))
        assert len(conversation.log.content()) < 1024 + 60
        assert all(len(line) < 1 << 16 for line in conversation.report.lines())
        assert len(conversation.report.lines()) <= 80
        _events(conversation.report.lines())
    for reader, writer in pipes.values():
        os.close(reader)
        os.close(writer)


DIGITS = load_data("digits")


@fewer
@given(st.data())
def test_any_scores_are_counted(data: st.DataObject) -> None:
    questions = images_to_score(DIGITS, np.random.default_rng(1))
    extremes = [struct.pack("<3f", 3e38, -3e38, 1.0), struct.pack("<2f", float("inf"), float("nan"))]
    pattern = data.draw(st.binary(min_size=1, max_size=200) | st.sampled_from(extremes))
    answer = (pattern * (questions.answer_bytes // len(pattern) + 1))[: questions.answer_bytes]
    scores = questions.in_order(answer)
    assert 0 <= count_correct(scores, DIGITS.y_test) <= len(DIGITS.y_test)


LETTERS = string.printable + "가é💾\u202e\x1b"
NAMES = st.one_of(
    st.text(alphabet=LETTERS, min_size=1, max_size=30),
    st.sampled_from(
        ["hw6.py", "kim/hw6.py", "kim_hw6.py", "hw6_kim.py", "kim/hw6 (1).py", "kim/hw6.py.txt", "a/b/c/hw6.py"]
    ),
    st.sampled_from(
        ["../hw6.py", "/etc/hw6.py", "kim\\hw6.py", "C:/kim/hw6.py", "kim/../../hw6.py", "__MACOSX/kim/hw6.py"]
    ),
    st.sampled_from(["HW6_kim_attempt_2026-11-20-23-58-03_hw6.py", "HW6_kim_attempt_2026-99-99-99-99-99.txt"]),
    st.sampled_from(
        ["kim_123_456_hw6.py", "Kim Lee_77_assignsubmission_file_/hw6.py", "kim/inner.zip", ".hw6.py", "."]
    ),
)
CONTENTS = st.binary(max_size=60) | st.sampled_from(
    [b"print(1)\n", b"", b"\xff\xfe", b"PK\x03\x04", b"Name: x (kim)\n"]
)
FILES = st.lists(st.tuples(NAMES, CONTENTS), max_size=6)


def packed(files: list[tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of two entries with one name
        for name, content in files:
            with contextlib.suppress(UnicodeEncodeError):
                archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def check_collected(path: Path) -> None:
    """Either one sentence, or a decision for each file and at most one submission for each student."""
    try:
        collection = collect(path, None, ASSIGNMENT)
    except UserError:
        return
    students = [found.student_id for found in collection.submissions]
    assert students == sorted(set(students))
    taken = [decision for decision in collection.decisions if decision.status is Status.TAKEN]
    assert len({decision.student_id for decision in taken}) == len(taken)


@fewer
@given(FILES)
def test_any_archive_is_collected_or_refused_in_a_sentence(files: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "class.zip")
        inner = [(name, packed(files) if name.endswith(".zip") else content) for name, content in files]
        path.write_bytes(packed(inner))
        check_collected(path)


@fewer
@given(FILES, st.data())
def test_any_damage_to_an_archive_is_a_sentence_or_a_decision(
    files: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    content = bytearray(packed([*files, ("kim/hw6.py", b"print(1)\n" * 20)]))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "class.zip")
        path.write_bytes(content)
        check_collected(path)


@fewer
@given(FILES)
def test_any_folder_is_collected_or_refused_in_a_sentence(files: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "class").mkdir()
        for name, content in files:
            path = Path(folder, "class", *(part for part in name.split("/") if part not in ("", "..")))
            with contextlib.suppress(OSError, ValueError):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        check_collected(Path(folder, "class"))
