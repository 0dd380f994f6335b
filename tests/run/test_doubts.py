"""What a person should look at is named, and nothing honest is."""

import json
import os
import random
import sys
from pathlib import Path

import pytest

from command import ROOT, SUBMISSIONS
from grader.protocol import SourceRead
from grader.records import Companion, CurvePoint, Outcome, Run, StopReason, Submission, Training
from grader.run.doubts import (
    another_class,
    brought_along,
    miscounted,
    newer_syntax,
    not_seen_learning,
    other_programs,
    unexplained_time,
)
from grader.text import without_outputs

HONEST = [
    ROOT / "reference",
    ROOT / "student_template",
    *(
        case
        for group in ("honest", "habits", "demo", "networks", "questions")
        for case in (SUBMISSIONS / group).iterdir()
    ),
]
DATA = os.urandom(9_000).hex()
CODE = "import torch\n"


def cell(kind: str, source: str, **more: object) -> dict[str, object]:
    return {"cell_type": kind, "source": source, "metadata": {}, **more}


def notebook(*cells: dict[str, object]) -> bytes:
    return json.dumps({"cells": cells, "metadata": {"kept": DATA}}).encode()


@pytest.mark.parametrize(
    "submission",
    [
        Submission("kim", content=f"{CODE}weights = 0x{DATA}\n".encode()),
        Submission(
            "kim", content=(CODE + "".join(f"# {DATA[at : at + 70]}\n" for at in range(0, 18_000, 70))).encode()
        ),
        Submission(
            "kim", content="".join(f"def f{number}(): pass\n" for number in random.sample(range(10**9), 3_000)).encode()
        ),
        Submission("kim", content=CODE.encode(), companions=(Companion("w.py", f"w = '{DATA}'".encode()),)),
        Submission(
            "kim",
            content=CODE.encode(),
            companions=tuple(Companion(f"{DATA[at : at + 180]}.py", b"") for at in range(0, 18_000, 180)),
        ),
        Submission("kim", content=notebook(cell("code", f"w = 0x{DATA}"))),
    ],
    ids=["integer", "comments", "names", "companion", "names of companions", "notebook"],
)
def test_data_is_named_wherever_it_is(submission: Submission) -> None:
    (said,) = brought_along(submission)
    assert "something that homework does not need" in said.words


@pytest.mark.parametrize("folder", HONEST, ids=lambda folder: folder.name)
def test_no_honest_submission_of_the_corpus_is_named(folder: Path) -> None:
    main, *others = sorted(folder.glob("*.py"), key=lambda path: (path.name != "hw6.py", path.name))
    beside = tuple(Companion(path.name, path.read_bytes()) for path in others)
    assert brought_along(Submission("kim", content=main.read_bytes(), companions=beside)) == ()


def test_of_a_notebook_only_its_code_enters_the_sandbox_and_is_measured() -> None:
    written = notebook(cell("markdown", DATA), cell("code", CODE, outputs=[{"data": DATA}], id=DATA), cell("raw", DATA))
    assert json.loads(without_outputs(written)) == {"cells": [{"cell_type": "code", "source": CODE}]}
    assert brought_along(Submission("kim", content=written)) == ()
    assert without_outputs(b'{"cells": 1}') == b'{"cells": 1}'
    assert without_outputs(b"x = {}\n") == b"x = {}\n"


@pytest.mark.parametrize(
    ("line", "newer"),
    [
        ('print(f"loss {row["loss"]}")', True),
        ("def first[T](rows: list[T]) -> T:", True),
        ("type Batch = tuple", True),
        ("async def first[T](rows: list[T]) -> T:", True),
        ("for epoch in range(5)", False),
        ("print(loss", False),
    ],
)
def test_a_syntax_error_that_may_be_none_in_colab_s_python_is_looked_at(
    line: str, newer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"# coding: latin-1\n# José\n{line}\n"
    source = SourceRead(fault="Python cannot read the file.", lines=(3,))
    for content in (text.encode("latin-1"), notebook(cell("code", text))):
        submission = Submission("kim", content=content)
        monkeypatch.setattr(sys, "version_info", (3, 11))
        assert bool(newer_syntax(submission, source)) is newer
        monkeypatch.setattr(sys, "version_info", (3, 12))
        assert newer_syntax(submission, source) == ()


LEARNS = [(5_000, 0.2), (50_000, 0.45), (150_000, 0.6), (200_000, 0.7), (250_000, 0.75)]


@pytest.mark.parametrize(
    ("samples", "targets", "points", "known", "said"),
    [
        (250_000, 250_000, LEARNS, 0.8, ""),
        (0, 0, [], 0.3, ""),
        (0, 0, [], 0.9, "saw it learn from 0"),
        (4_000, 4_000, [], 0.6, "saw it learn from 4,000"),
        (250_000, 250_000, [(5_000, 0.9), *LEARNS[1:]], 0.9, "90% of the first 5,000 images"),
        (
            250_000,
            250_000,
            [(5_000, 0.1), (200_000, 0.1), (250_000, 0.1)],
            0.8,
            "right, and 10% of the last",
        ),
        # Not enough is known: few images, a loss of its own, mixed images, a training of seconds.
        (1_000, 1_000, [(900, 0.3), (1_000, 0.5)], 1.0, ""),
        (250_000, 0, [], 0.8, ""),
        (250_000, 500_000, [(5_000, 0.1), (200_000, 0.1), (250_000, 0.1)], 0.8, ""),
        (250_000, 250_000, [(50_000, 0.7)], 1.0, ""),
        (250_000, 250_000, [(20_000, 0.1), (40_000, 0.3)], 0.8, ""),
    ],
)
def test_a_network_that_knows_what_nobody_saw_it_learn_is_named(
    samples: int, targets: int, points: list[tuple[int, float]], known: float, said: str
) -> None:
    curve = [CurvePoint(images, None, share) for images, share in points]
    found = not_seen_learning(Training(samples, targets=targets), curve, known, 200 if samples == 1_000 else 50_000)
    assert [said in flag.words for flag in found] == [True] * bool(said)


@pytest.mark.parametrize(
    ("command", "count", "seconds", "named"),
    [
        ("x -c train()", 1, 30.0, True),
        ("x -c train()", 30, 30.0, True),
        ("python -m pip install einops", 1, 30.0, True),
        ("python -m pip install einops", 1, 4.0, False),
        ("nvidia-smi", 5, 1.5, False),
    ],
)
def test_another_program_is_named_where_it_worked(command: str, count: int, seconds: float, named: bool) -> None:
    programs = tuple((command, seconds / count) for _ in range(count))
    found = other_programs(programs)
    assert [command in said.words for said in found] == [True] * named


@pytest.mark.parametrize(
    ("samples", "targets", "named"),
    [(250_000, 250_000, False), (250_000, 500_000, False), (0, 40_000, False), (50_000, 1_000_000, True)],
    ids=["plain", "mixed up", "a look at another network", "twenty batches that count as one"],
)
def test_far_more_losses_than_counted_images_are_named(samples: int, targets: int, named: bool) -> None:
    found = miscounted(Training(samples, targets=targets), 5, 50_000)
    assert ["something else may have been trained" in said.words for said in found] == [True] * named


@pytest.mark.parametrize(
    ("seconds", "image_seconds", "on_card", "named"),
    [
        (14_000.0, 0.06, False, True),
        (14_000.0, 0.06, True, False),
        (14_000.0, None, False, False),
        (5_000.0, 0.06, False, False),
        (130.0, 0.00001, False, True),
        (110.0, 0.00001, False, False),
    ],
)
def test_processor_time_that_the_counted_images_do_not_explain_is_named_with_both_numbers(
    seconds: float, image_seconds: float | None, on_card: bool, named: bool
) -> None:
    run = Run(Outcome.GRADED, StopReason.FINISHED, Training(20_000), on_card=on_card, processor_seconds=seconds)
    said = unexplained_time(run, image_seconds)
    assert len(said) == named
    assert all(f"{seconds:,.0f} s" in each.words and "20,000 images" in each.words for each in said)


# The last one trained the class that was asked for, whose output could not be scored.
@pytest.mark.parametrize(("samples", "targets", "said"), [(0, 0, False), (0, 640, True), (640, 640, False)])
def test_who_trained_a_network_of_another_class_is_looked_at(samples: int, targets: int, said: bool) -> None:
    training = Training(samples, targets=targets)
    assert bool(another_class(Outcome.INVALID, training)) is said
    assert not another_class(Outcome.CRASHED, training)
