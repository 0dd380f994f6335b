"""What unpacks data in a homework's source is named with its line; what students write is not."""

import ast
from pathlib import Path

import pytest

from command import ROOT, SUBMISSIONS
from grader.worker.source import carried_in, read_source

HONEST = [
    ROOT / "reference" / "hw6.py",
    ROOT / "student_template" / "hw6.py",
    *sorted((SUBMISSIONS / "demo").glob("*/hw6.py")),
    *sorted((SUBMISSIONS / "habits").glob("*/hw6.py")),
    *sorted((SUBMISSIONS / "networks").glob("*/hw6.py")),
]


@pytest.mark.parametrize(
    ("source", "named"),
    [("import base64", "imports base64 (line 1)"), ("x = 1\nfrom zlib import decompress", "imports zlib (line 2)")],
    ids=["module", "part"],
)
def test_what_unpacks_data_is_named_with_its_line(source: str, named: str) -> None:
    assert carried_in(ast.parse(source)) == (named,)


def test_what_a_student_may_well_write_is_not_named() -> None:
    assert carried_in(ast.parse("import os, ssl, json, pickle")) == ()


@pytest.mark.parametrize("file", HONEST, ids=lambda file: f"{file.parent.parent.name}-{file.parent.name}")
def test_no_honest_script_of_the_corpus_is_named(file: Path) -> None:
    assert read_source(file.read_bytes()).seen.suspicions == ()


def test_many_findings_are_bounded() -> None:
    assert len(carried_in(ast.parse("import zlib\n" * 100))) == 5
