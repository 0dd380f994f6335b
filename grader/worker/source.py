"""Read a submitted file: its text, the blanks that are left, and what has to be set aside before Python can run it.

Modules that unpack data, which a homework does not need, are named for a person to look at, with their line; none is
forbidden. How much a submission brings along is measured outside (run/check.py).
"""

import ast
import hashlib
import io
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from grader.text import counted, declared_codec, notebook_code, set_aside, shows_what_runs, source_text

# A notebook has a handful of such lines; the bound keeps a hostile file from costing more than a second.
_MAX_IPYTHON_LINES = 100
SCRIPT = "hw6.py"
# The error may be the script's own object, and have a traceback of its own.
_traceback_of = BaseException.__dict__["__traceback__"].__get__
_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
_QUESTION = re.compile(r"#.*?\bQ([1-9])\b")

_UNPACKERS = frozenset({"base64", "binascii", "bz2", "ctypes", "gzip", "lzma", "marshal", "zlib"})
_MOST_REMARKS = 5
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Decorators of a function that says only how it is called.
_DECLARES = {"abstractmethod", "overload"}


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read.

    Attributes:
        text: What runs; empty where there is a fault.
        prepared_sha256: Of `text`, where it says something other than the file; else empty.
        blanks: Questions ("Q4") or lines ("line 12") at which `...` still stands for a value or a statement.
        notes: What was set aside.
        suspicions: What unpacks data that a source may carry; for a person.
        fault: Why this is not Python, in one sentence; empty if it is.
        lines: Those of the blanks, or the one at which it is no Python.
    """

    text: str = ""
    prepared_sha256: str = ""
    blanks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    suspicions: tuple[str, ...] = ()
    fault: str = ""
    lines: tuple[int, ...] = ()


def line_of(error: BaseException) -> int:
    """The script's line that an exception comes from, the innermost one; 0 where it comes from none."""
    trace, line = _traceback_of(error), 0
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == SCRIPT else line
        trace = trace.tb_next
    return line


def read_source(content: bytes, beside: Iterable[Path] = ()) -> Source:
    """Decode and parse a file, whatever is in it. Nothing of it is executed.

    IPython lines (`!pip`, `%matplotlib`, `x?`) are set aside, only where Python objects to them; a notebook's JSON
    becomes its code cells.

    Args:
        beside: Files that the script may import: Python decodes them as they say.
    """
    for name, each in (("The file", content), *((path.name, path.read_bytes()) for path in beside)):
        codec = declared_codec(each)
        if codec and not codec.startswith("utf-16") and not shows_what_runs(codec):
            said = f"{name} says that it is written in {codec}, in which a reader may see other text than Python runs"
            return Source(fault=f"{said}: save it as UTF-8.")
    decoded = _decode(content)
    if decoded is None:
        if b"\0" in content:
            return Source(fault="The file is not text.")
        return Source(fault="The file is neither UTF-8 nor in a Korean Windows encoding (cp949): save it as UTF-8.")
    if not decoded.strip():
        return Source(fault="The file is empty.")
    notes: list[str] = []
    text = notebook_code(decoded)
    if text is not None:
        notes.append("The file is a notebook, so the grader ran its code cells as one script.")
    else:
        text = decoded
    text, tree, fault, line = _parse(text, notes)
    if tree is None:
        return Source(notes=tuple(notes), fault=fault, lines=(line,) if line else ())
    prepared = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() if notes else ""
    blanks = _blanks(tree)
    named = tuple(dict.fromkeys(_question(text.split("\n"), line) for line in blanks))
    return Source(text, prepared, named, tuple(notes), carried_in(tree), lines=blanks)


def _decode(content: bytes) -> str | None:
    """Text with universal newlines; None where there is none."""
    text = source_text(content)
    return None if text is None or "\0" in text else io.StringIO(text, newline=None).read()


def _parse(text: str, notes: list[str]) -> tuple[str, ast.Module | None, str, int]:
    """The text that parses and its tree, or the fault and its line.

    Sets the IPython lines aside on which Python stumbles.
    """
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
            line = error.lineno or 0
            return text, None, f"Python cannot read the file: {error.msg} (line {line}, {_PYTHON}).", line
        except (ValueError, RecursionError, MemoryError) as error:
            return text, None, f"Python cannot read the file: {type(error).__name__}.", 0
        if count:
            notes.append(f"The grader set aside {counted(count, 'line')} that only a notebook understands.")
        return text, tree, "", 0


def _blanks(tree: ast.Module) -> tuple[int, ...]:
    """The lines of every `...` for a value or a statement, but for Python's own notation: in subscripts and stubs."""
    notation = {id(part) for node in ast.walk(tree) for part in _notation(node)}
    found = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value is ... and id(node) not in notation
    ]
    return tuple(sorted(set(found)))


def _notation(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node in which `...` leaves nothing to fill in."""
    if isinstance(node, ast.Subscript):
        yield from ast.walk(node.slice)
    elif isinstance(node, ast.ClassDef):
        yield from _stub(node)
        if any(_last_name(base) == "Protocol" for base in node.bases):
            yield from (part for each in node.body if isinstance(each, _FUNCTIONS) for part in _stub(each))
    elif isinstance(node, ast.ExceptHandler) and len(node.body) == 1 and isinstance(node.body[0], ast.Expr):
        yield node.body[0].value  # as `pass`
    elif isinstance(node, _FUNCTIONS) and _DECLARES & {_last_name(each) for each in node.decorator_list}:
        yield from _stub(node)


def _stub(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """The `...` that stands for a whole body, below its docstring."""
    *before, last = node.body
    if isinstance(last, ast.Expr) and len(before) == (ast.get_docstring(node) is not None):
        yield last.value


def _last_name(node: ast.expr) -> str:
    """The name at the end of `typing.Protocol[T]`."""
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


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
    """Say where a source imports what unpacks data; at most five sentences without a full stop."""
    imported = {
        (node.lineno, module or "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in ([node.module] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names])
    }
    found = [(line, module) for line, module in sorted(imported) if module.partition(".")[0] in _UNPACKERS]
    return tuple(f"imports {module} (line {line})" for line, module in found[:_MOST_REMARKS])
