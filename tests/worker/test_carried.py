"""Data in a homework's source is named with its line; what students write is not."""

import ast
import base64
import json
import os
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
    [
        ("import base64", "imports base64 (line 1)"),
        ("x = 1\nfrom zlib import decompress", "imports zlib (line 2)"),
        (f"w = {base64.b64encode(os.urandom(4_000)).decode()!r}", "a string of 5336 characters that is data"),
        (f"w = {os.urandom(4_000)!r}", "a string of 4000 characters that is data"),
        (f"w = '''{json.dumps({str(n): n % 10 for n in range(2_000)}, separators=(',', ':'))}'''", "that is data"),
        (f"w = {list(range(1_000))}", "a literal sequence of 1000 values"),
        (f"w = {dict.fromkeys(range(1_000), 1)}", "a literal table of 1000 entries"),
    ],
    ids=["module", "part", "base64", "bytes", "json", "list", "dict"],
)
def test_data_and_what_unpacks_it_are_named_with_their_line(source: str, named: str) -> None:
    (said,) = carried_in(ast.parse(source))
    assert named in said
    assert "(line " in said


@pytest.mark.parametrize(
    "source",
    [
        f'"""{"A long explanation of what the network does, in many words. " * 200}"""',
        f"classes = {list(range(999))}",
        "import os, ssl, json, pickle",
    ],
    ids=["prose", "short", "modules"],
)
def test_what_a_student_may_well_write_is_not_named(source: str) -> None:
    assert carried_in(ast.parse(source)) == ()


@pytest.mark.parametrize("file", HONEST, ids=lambda file: f"{file.parent.parent.name}-{file.parent.name}")
def test_no_honest_script_of_the_corpus_is_named(file: Path) -> None:
    assert read_source(file.read_bytes()).suspicions == ()


def test_many_findings_are_bounded() -> None:
    assert len(carried_in(ast.parse("import zlib\n" * 100))) == 5
