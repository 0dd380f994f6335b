"""Read a submitted file: its text, the blanks that are left, and what has to be set aside before Python can run it.

What a homework's source does not need, data carried in it and modules that unpack such data, is named for a person to
look at, with its line; none of it is forbidden.
"""

import ast
import hashlib
import io
import math
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from grader.text import codec_of, counted, notebook_code, set_aside

# A notebook has a handful of such lines; the bound keeps a hostile file from costing more than a second.
_MAX_IPYTHON_LINES = 100
_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
_QUESTION = re.compile(r"#.*?\bQ([1-9])\b")

# The assignment's template has 5 KB in all; its longest text has 200 characters.
_LONG_TEXT = 4_000
_LONG_SEQUENCE = 1_000
# English and Python are at 4 to 5 bits a character; base64 is at 6, hexadecimal at 4 without a blank.
_DENSE_BITS = 5.5
_UNPACKERS = frozenset({"base64", "binascii", "bz2", "ctypes", "gzip", "lzma", "marshal", "zlib"})
_MOST_REMARKS = 5


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read.

    Attributes:
        text: What runs; empty where there is a fault.
        prepared_sha256: Of `text`, where it says something other than the file; else empty.
        blanks: Questions ("Q4") or lines ("line 12") at which `...` still stands for a value or a statement.
        notes: What was set aside.
        suspicions: Data that the source carries, or what unpacks it; for a person.
        fault: Why this is not Python, in one sentence; empty if it is.
    """

    text: str = ""
    prepared_sha256: str = ""
    blanks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    suspicions: tuple[str, ...] = ()
    fault: str = ""


def read_source(content: bytes) -> Source:
    """Decode and parse a file, whatever is in it. Nothing of it is executed.

    IPython lines (`!pip`, `%matplotlib`, `x?`) are set aside, only where Python objects to them; a notebook's JSON
    becomes its code cells.
    """
    decoded = _decode(content)
    if decoded is None:
        return Source(fault="The file is not text: neither UTF-8 nor a Korean Windows encoding (cp949).")
    if not decoded.strip():
        return Source(fault="The file is empty.")
    notes: list[str] = []
    text = notebook_code(decoded)
    if text is not None:
        notes.append("The file is a notebook, so the grader ran its code cells as one script.")
    else:
        text = decoded
    text, tree, fault = _parse(text, notes)
    if tree is None:
        return Source(notes=tuple(notes), fault=fault)
    prepared = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() if notes else ""
    return Source(text, prepared, _blanks(tree, text.split("\n")), tuple(notes), carried_in(tree))


def _decode(content: bytes) -> str | None:
    """Text with universal newlines; what a file says of its encoding is tried first."""
    try:
        declared, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    except SyntaxError:
        declared = codec_of(content)
    for encoding in (declared, codec_of(content)):
        try:
            text = content.decode(encoding)
        except (UnicodeError, LookupError):
            continue
        return None if "\0" in text else io.StringIO(text, newline=None).read()
    return None


def _parse(text: str, notes: list[str]) -> tuple[str, ast.Module | None, str]:
    """The text that parses and its tree, or the fault. Sets the IPython lines aside on which Python stumbles."""
    lines = text.split("\n")
    count = 0
    while True:
        text = "\n".join(lines)
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            at = (error.lineno or 0) - 1
            if count < _MAX_IPYTHON_LINES and 0 <= at < len(lines) and set_aside(lines, at):
                count += 1
                continue
            return text, None, f"Python cannot read the file: {error.msg} (line {error.lineno}, {_PYTHON})."
        except (ValueError, RecursionError, MemoryError) as error:
            return text, None, f"Python cannot read the file: {type(error).__name__}."
        if count:
            notes.append(f"The grader set aside {counted(count, 'line')} that only a notebook understands.")
        return text, tree, ""


def _blanks(tree: ast.Module, lines: list[str]) -> tuple[str, ...]:
    """Every `...` that stands for a value or a statement; inside a subscript it is Python's own notation."""
    inside_subscripts = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.Subscript) for part in ast.walk(node.slice)
    }
    found = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value is ... and id(node) not in inside_subscripts
    ]
    return tuple(dict.fromkeys(_question(lines, line) for line in sorted(found)))


def _question(lines: list[str], line: int) -> str:
    """The question that a comment names on the blank's own line or on the nearest comment line right above it."""
    for at in range(line - 1, max(-1, line - 5), -1):
        text = lines[at] if at < len(lines) else ""
        if match := _QUESTION.search(text):
            return f"Q{match[1]}"
        if at < line - 1 and not text.lstrip().startswith("#"):
            break
    return f"line {line}"


def carried_in(tree: ast.Module) -> tuple[str, ...]:
    """Say where a source holds much data or unpacks some; at most five sentences without a full stop."""
    found = sorted(set(_findings(tree)))
    return tuple(f"{what} (line {line})" for line, what in found[:_MOST_REMARKS])


def _findings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield from _of_text(node, node.value)
        elif isinstance(node, ast.List | ast.Tuple | ast.Set) and len(node.elts) >= _LONG_SEQUENCE:
            yield node.lineno, f"a literal sequence of {len(node.elts)} values"
        elif isinstance(node, ast.Dict) and len(node.keys) >= _LONG_SEQUENCE:
            yield node.lineno, f"a literal table of {len(node.keys)} entries"
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, f"imports {name.name}") for name in node.names if _unpacks(name.name))
        elif isinstance(node, ast.ImportFrom) and _unpacks(node.module or ""):
            yield node.lineno, f"imports {node.module}"


def _of_text(node: ast.Constant, text: str | bytes) -> Iterator[tuple[int, str]]:
    if len(text) >= _LONG_TEXT:
        # A long explanation is prose; data has no blanks, or nearly every sign as often as the others.
        blanks = sum(sign in b" \n" if isinstance(sign, int) else sign.isspace() for sign in text) / len(text)
        if blanks < 0.05 or _bits(text) > _DENSE_BITS:
            yield node.lineno, f"a string of {len(text)} characters that is data, not prose"


def _bits(text: str | bytes) -> float:
    """Entropy of the signs, in bits."""
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)


def _unpacks(module: str) -> bool:
    return module.partition(".")[0] in _UNPACKERS
