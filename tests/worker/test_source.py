"""Whatever is handed in is read without being run: text, blanks, and what Python stumbles over."""

import codecs
import hashlib
import io
import json
import platform
import random
import tokenize
from pathlib import Path

import pytest

from grader.protocol import SourceRead
from grader.worker.source import Source, read_source

TEMPLATE = (Path(__file__).parents[2] / "student_template" / "hw6.py").read_bytes()
KOREAN = "이름 = '홍길동'\n"
SEEDS = range(4)


def read(text: str) -> Source:
    return read_source(text.encode())


def notebook(*cells: tuple[str, str | list[str]]) -> bytes:
    return json.dumps({"cells": [{"cell_type": kind, "source": source} for kind, source in cells]}).encode()


def assert_runs_unchanged(source: Source, text: str) -> None:
    assert source == Source(text, SourceRead())


@pytest.mark.parametrize("content", [b"", b" \n\t\r\n", codecs.BOM_UTF8])
def test_an_empty_file_is_named_empty(content: bytes) -> None:
    assert read_source(content) == Source("", SourceRead(fault="The file is empty."))


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n\0\xff\xfe", b"x = 1\0\n"],
    ids=["image", "NUL"],
)
def test_what_is_no_text_is_named_so(content: bytes) -> None:
    assert read_source(content).seen.fault == "The file is not text."


@pytest.mark.parametrize("content", ["# José Núñez\nx = 1\n".encode("latin-1"), b"\xff\xff\xff"])
def test_of_a_text_in_another_encoding_the_way_out_is_said(content: bytes) -> None:
    fault = read_source(content).seen.fault
    assert fault == "The file is neither UTF-8 nor in a Korean Windows encoding (cp949): save it as UTF-8."


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (KOREAN.encode(), KOREAN),
        (KOREAN.encode("cp949"), KOREAN),
        (("# coding: euc-kr\n" + KOREAN).encode("euc-kr"), "# coding: euc-kr\n" + KOREAN),
        (("# coding: ascii\n" + KOREAN).encode(), "# coding: ascii\n" + KOREAN),
        (KOREAN.encode("utf-16"), KOREAN),
        (("# coding: utf-8\n" + KOREAN).encode("cp949"), "# coding: utf-8\n" + KOREAN),
        (("# coding: no-such-thing\n" + KOREAN).encode("cp949"), "# coding: no-such-thing\n" + KOREAN),
        (codecs.BOM_UTF8 + KOREAN.encode(), KOREAN),
        (b"x = 1\r\nif x:\r\n    y = 2\r\n", "x = 1\nif x:\n    y = 2\n"),
        (b"x = 1\ry = 2\r", "x = 1\ny = 2\n"),
    ],
    ids=["UTF-8", "cp949", "cookie", "narrow cookie", "UTF-16", "wrong cookie", "unknown cookie", "BOM", "CRLF", "CR"],
)
def test_an_encoding_changes_nothing_of_what_the_file_says(content: bytes, text: str) -> None:
    assert_runs_unchanged(read_source(content), text)


@pytest.mark.parametrize(
    "codec",
    [
        *("undefined", "punycode", "idna", "rot13", "hex", "zlib", "utf-7", "utf-32", "unicode_escape", "cp037", "hz"),
        *("raw_unicode_escape", "iso2022_jp", "iso2022_kr"),
    ],
)
@pytest.mark.parametrize("before", [b"", b"\n", b"\r", b"\f# \xff \r\n", b"\xef\xbb\xbf"], ids=ascii)
def test_an_encoding_that_could_hide_code_is_refused(codec: str, before: bytes, tmp_path: Path) -> None:
    content = before + b"# \xff coding: " + codec.encode() + b"\nx = '\\ud800 \xea\xb0\x80'\n"
    assert "save it as UTF-8" in read_source(content).seen.fault
    beside = tmp_path / "utils.py"
    beside.write_bytes(content)
    assert read_source(b"import utils", [beside]).seen.fault.startswith("utils.py says that it is written in ")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("# -*- coding: latin-1 -*-", "José"),
        ("# -*- coding: Latin_1-unix -*-", "José"),
        ("# -*- coding: utf-8-dos -*-", "Слой"),
        ("# vim: set fileencoding=cp1252 :", "“José”"),
        ("#!/usr/bin/env python3\n# coding: koi8-r", "Слой"),
        ("# -*- coding: cp949 -*-", "신경망"),
        ("# -*- coding: euc-kr -*-", "신경망"),
        ("# coding=shift_jis", "畳み込み表"),
        ("# coding: gbk", "卷积层"),
        ("# coding: big5", "卷積層"),
    ],
    ids=lambda value: value.split()[-1] if value.startswith("#") else "",
)
def test_a_declared_encoding_is_read_as_python_reads_it(line: str, word: str, tmp_path: Path) -> None:
    script = tmp_path / "hw6.py"
    codec, _ = tokenize.detect_encoding(io.BytesIO(f"{line}\n".encode()).readline)
    script.write_bytes(f"{line}\n# {word}\nx = '{word}'\n".encode(codec))
    with tokenize.open(script) as file_of_python:
        text = file_of_python.read()
    assert word in text
    assert_runs_unchanged(read_source(script.read_bytes(), [script]), text)


@pytest.mark.parametrize("text", ["import os\n# coding: rot13\n", "\n\n# coding: rot13\n", "x = 'coding: rot13'\n"])
def test_what_declares_no_encoding_is_not_taken_for_it(text: str) -> None:
    assert_runs_unchanged(read_source(text.encode()), text)


def test_ipython_lines_are_set_aside_where_python_stumbles() -> None:
    source = read(
        "!pip install einops\nimport os\n%matplotlib inline\nif os:\n    !pip install 'tqdm\nelse:\n\t%timeit x\n"
    )
    assert source.seen.fault == ""
    assert source.text == (
        "# !pip install einops\nimport os\n# %matplotlib inline\n"
        "if os:\n    pass  # !pip install 'tqdm\nelse:\n\tpass  # %timeit x\n"
    )
    assert source.seen.notes == ("The grader set aside 4 lines that only a notebook understands.",)


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (
            "!pip install \\\n    einops \\\n    tqdm\nx = 1\n",
            "# !pip install \\\n#     einops \\\n#     tqdm\nx = 1\n",
        ),
        ("files = !ls *.png\n", "files = []  # !ls *.png\n"),
        ("if 1:\n    a, b = !nproc\n", "if 1:\n    a, b = []  # !nproc\n"),
        ("t = %timeit -o f()\n", "t = None  # %timeit -o f()\n"),
        ("?print\n", "# ?print\n"),
        ("if 1:\n    nn.Conv2d??\n", "if 1:\n    pass  # nn.Conv2d??\n"),
        ("%time net = train(5)\n", "net = train(5)\n"),
        ("%time net = \\\n  5\n", "net = \\\n  5\n"),
        ("%%time\ntrain(5)\n", "# %%time\ntrain(5)\n"),
        ("%time !ls\n", "# !ls\n"),
    ],
    ids=[
        "continued",
        "a command's output",
        "in a block",
        "a magic's value",
        "?",
        "??",
        "%time",
        "%time, continued",
        "%%time",
        "%time !",
    ],
)
def test_what_only_a_notebook_understands_is_set_aside(text: str, runs: str) -> None:
    source = read(text)
    assert (source.text, source.seen.fault) == (runs, "")
    assert source.seen.notes[0].endswith("that only a notebook understands.")


def test_a_magic_may_stand_before_an_import_from_the_future() -> None:
    source = read("%matplotlib inline\nfrom __future__ import print_function, division\nx = 1\n")
    runs: dict[str, object] = {}
    exec(compile(source.text, "hw6.py", "exec"), runs)
    assert runs["x"] == 1


@pytest.mark.parametrize("text", ["x = y? 1 : 2\n", "print 'a'\n", "what is this?\n", "x = f(\n!ls\n"])
def test_what_no_notebook_understands_either_stays_a_fault(text: str) -> None:
    assert read(text).seen.fault.startswith("Python cannot read the file")


def test_a_cell_in_another_language_does_not_run() -> None:
    source = read_source(
        notebook(("code", "%%bash\npip install einops\n"), ("code", ["%%capture out\n", "x = 1"]), ("code", "y = 2"))
    )
    assert source.text == "# %%bash\n# pip install einops\n# \n\n# %%capture out\nx = 1\n\ny = 2"
    assert source.seen.fault == ""


def test_lines_that_python_understands_are_left_alone() -> None:
    kept = "x = 7 \\\n% 3\ny = (8\n    % 5)\ns = '''\n!not a command\n%nor this\n'''\n"
    assert_runs_unchanged(read(kept), kept)
    assert read("!ls\n" + kept).text == "# !ls\n" + kept


def test_setting_lines_aside_ends_where_that_does_not_help() -> None:
    version = ".".join(platform.python_version_tuple()[:2])  # a newer one may read it
    source = read("x = 1\n    !ls\n")
    assert source.seen.fault == f"Python cannot read the file: unexpected indent (line 2, Python {version})."
    assert source.text == ""
    assert "invalid syntax (line 101," in read("!ls\n" * 150).seen.fault


def test_a_notebook_becomes_its_code_cells() -> None:
    source = read_source(
        notebook(("markdown", "# Title"), ("code", ["import os\n", "x = 1"]), ("code", "!ls\ny = ..."))
    )
    assert source.text == "import os\nx = 1\n\n# !ls\ny = ..."
    assert source.seen.notes == (
        "The file is a notebook, so the grader ran its code cells as one script.",
        "The grader set aside 1 line that only a notebook understands.",
    )
    assert source.seen.blanks == ("line 5",)


@pytest.mark.parametrize(
    "text",
    ['{"cells": [', '{"cells": ' + "[" * 100_000, '{"cells": [{"cell_type": "code", "source": "x ="}]}'],
    ids=["cut off", "too deep", "code with an error"],
)
def test_a_notebook_that_cannot_be_read_is_a_fault(text: str) -> None:
    assert read(text).seen.fault.startswith("Python cannot read the file")


@pytest.mark.parametrize(
    "cells", [None, 3, ["code"], [{"cell_type": "code"}], [{"cell_type": "code", "source": [1]}], [{"source": "x"}]]
)
def test_json_that_is_no_notebook_is_taken_as_python(cells: object) -> None:
    text = json.dumps({"cells": cells})
    assert_runs_unchanged(read(text), text)


@pytest.mark.parametrize("character", ["\0", "\ud800"], ids=["NUL", "half a character"])
def test_a_notebook_with_a_character_that_python_refuses_is_a_fault(character: str) -> None:
    assert read_source(notebook(("code", f"x = '{character}'"))).seen.fault.startswith("Python cannot read the file")


@pytest.mark.parametrize(("text", "line"), [("x = 1\ny = = 2\n", 2), ("def f(:\n", 1), ("x = 1\n\nif x:\ny\n", 4)])
def test_a_syntax_error_names_its_line(text: str, line: int) -> None:
    source = read(text)
    assert source.seen.fault.startswith("Python cannot read the file")
    assert f"(line {line}, Python 3" in source.seen.fault
    assert source.text == ""


def test_the_template_has_nine_blanks_and_no_more() -> None:
    assert read_source(TEMPLATE).seen.blanks == tuple(f"Q{number}" for number in range(1, 10))


@pytest.mark.parametrize(
    "text",
    [
        "y = x[..., 0]",
        "def f() -> Tuple[int, ...]: pass",
        "y = x[0, ...].sum()",
        "z = d[f(...)]",
        "s = '...'",
        "# Q1: ...",
        "class Stop(Exception): ...",
        "class Stop(Exception):\n    'Ends it.'\n    ...",
        "class Step(Protocol):\n    def __call__(self, x): ...",
        "class Step(typing.Protocol[T]):\n    def __call__(self, x):\n        'One step.'\n        ...",
        "@overload\ndef f(x: int) -> int: ...",
        "class Base(ABC):\n    @abc.abstractmethod\n    def f(self): ...",
        "try:\n    import wandb\nexcept ImportError: ...",
    ],
)
def test_dots_that_are_part_of_python_or_of_text_are_no_blanks(text: str) -> None:
    assert read(text).seen.blanks == ()


@pytest.mark.parametrize(
    ("text", "blank"),
    [
        ("x = 1\ny = ...\n", "line 2"),
        ("x = ...  # Q2: how many?\n", "Q2"),
        ("# Q3: what\n# and why?\nx = ...\n", "Q3"),
        ("# Q3: what?\ny = 1\nx = ...\n", "line 3"),
        ("# FAQ3\nx = ...\n", "line 2"),
        ("net(...)\n", "line 1"),
        ("with ...:\n    pass\n", "line 1"),
        ("def train(net):\n    ...\n", "line 2"),
        ("class Step(Protocol):\n    def __call__(self, x=...): pass\n", "line 2"),
        ("\f\n\f\n# Q4: a form feed ends no line\nx = ...\n", "Q4"),
        ("s = '\u2028\x1c\x85'\n# Q5: nor do these\nx = ...\n", "Q5"),
    ],
)
def test_a_blank_is_named_by_its_question_or_its_line(text: str, blank: str) -> None:
    assert read(text).seen.blanks == (blank,)


def test_a_question_with_two_blanks_is_named_once() -> None:
    assert read("# Q5: which?\nx, y = ..., ...\n").seen.blanks == ("Q5",)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000,
        "-" * 100_000 + "1",
        "not " * 50_000 + "1",
        "lambda: " * 50_000 + "1",
        "x" + ".a" * 100_000,
        "x" + "[0]" * 50_000,
        "x" + "()" * 100_000,
        "1" + "+1" * 100_000,
        "".join(" " * depth + "if x:\n" for depth in range(150)),
        "if x: pass\n" + "elif x: pass\n" * 30_000,
    ],
    ids=lambda text: text[:8],
)
def test_nesting_without_end_is_a_fault_and_never_raises(text: str) -> None:
    assert read(text).seen.fault.startswith("Python cannot read the file")


@pytest.mark.parametrize("seed", SEEDS)
def test_no_bytes_at_all_raise(seed: int) -> None:
    chance = random.Random(seed)
    alphabet = bytes(range(256)) if seed % 2 else b"(){}[]\n\t '\"\\%!#.:=,x1\xea\xb0\x80"
    for _ in range(100):
        content = bytes(chance.choices(alphabet, k=chance.randrange(1, 200)))
        source = read_source(content)
        assert source.text or source.seen.fault, content


@pytest.mark.parametrize("seed", SEEDS)
def test_no_damage_to_the_template_raises(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(25):
        damaged = bytearray(TEMPLATE)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.randrange(40)] = bytes(chance.choices(range(256), k=chance.randrange(4)))
        source = read_source(bytes(damaged))
        assert source.text or source.seen.fault, bytes(damaged)


def test_a_second_hash_is_kept_only_where_the_text_was_changed() -> None:
    for untouched in (TEMPLATE, KOREAN.encode("cp949"), codecs.BOM_UTF8 + b"x = 1\r\n"):
        assert read_source(untouched).seen.prepared_sha256 == ""
    for changed in (b"!ls\nx = 1\n", notebook(("code", KOREAN))):
        source = read_source(changed)
        assert source.seen.prepared_sha256 == hashlib.sha256(source.text.encode()).hexdigest()
