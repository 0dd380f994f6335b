"""Whatever brings data along with a submission is named by its size, and no honest submission is."""

import json
import os
import random
from pathlib import Path

import pytest

from command import ROOT, SUBMISSIONS
from grader.records import Companion, Submission
from grader.run.doubts import brought_along
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
