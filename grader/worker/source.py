"""Read a submitted file: its text, the blanks that are left, and what has to be set aside before Python can run it.

Modules that unpack data, which a homework does not need, are named for a person to look at, with their line; none is
forbidden. How much a submission brings along is measured outside (run/doubts.py).
"""

import ast
import hashlib
import io
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from grader.protocol import SourceRead
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
    """A file that was read: the text that runs, empty where there is a fault, and what is said of it."""

    text: str
    seen: SourceRead


def line_of(error: BaseException) -> int:
    """The script's line that an exception comes from, the innermost one; 0 where it comes from none."""
    trace, line = _traceback_of(error), 0
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == SCRIPT else line
        trace = trace.tb_next
    return line


class _Unreadable(Exception):
    """Why a file is not Python, in one sentence, and the line at which it is not; 0 where there is none."""

    def __init__(self, fault: str, line: int = 0) -> None:
        super().__init__(fault)
        self.fault, self.line = fault, line


def read_source(content: bytes, beside: Iterable[Path] = ()) -> Source:
    """Decode and parse a file, whatever is in it. Nothing of it is executed.

    IPython lines (`!pip`, `%matplotlib`, `x?`) are set aside, only where Python objects to them; a notebook's JSON
    becomes its code cells.

    Args:
        beside: Files that the script may import: Python decodes them as they say.
    """
    notes: list[str] = []
    try:
        for name, each in (("The file", content), *((path.name, path.read_bytes()) for path in beside)):
            _refuse_odd_codec(name, each)
        text = _decode(content)
        cells = notebook_code(text)
        if cells is not None:
            notes.append("The file is a notebook, so the grader ran its code cells as one script.")
        tree, text, aside = _parse(text if cells is None else cells)
    except _Unreadable as error:
        lines = (error.line,) if error.line else ()
        return Source("", SourceRead(notes=tuple(notes), fault=error.fault, lines=lines))
    if aside:
        notes.append(f"The grader set aside {counted(aside, 'line')} that only a notebook understands.")
    prepared = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() if notes else ""
    blanks = _blanks(tree)
    named = tuple(dict.fromkeys(_question(text.split("\n"), line) for line in blanks))
    return Source(text, SourceRead(named, tuple(notes), prepared, suspicions=carried_in(tree), lines=blanks))


def _refuse_odd_codec(name: str, content: bytes) -> None:
    codec = declared_codec(content)
    if codec and not codec.startswith("utf-16") and not shows_what_runs(codec):
        said = f"{name} says that it is written in {codec}, in which a reader may see other text than Python runs"
        raise _Unreadable(f"{said}: save it as UTF-8.")


def _decode(content: bytes) -> str:
    """Text with universal newlines."""
    text = source_text(content)
    if text is None or "\0" in text:
        if b"\0" in content:
            raise _Unreadable("The file is not text.")
        raise _Unreadable("The file is neither UTF-8 nor in a Korean Windows encoding (cp949): save it as UTF-8.")
    if not text.strip():
        raise _Unreadable("The file is empty.")
    return io.StringIO(text, newline=None).read()


def _parse(text: str) -> tuple[ast.Module, str, int]:
    """The tree, the text that parses, and how many IPython lines, on which Python stumbles, were set aside for that."""
    lines, aside = text.split("\n"), 0
    while True:
        text = "\n".join(lines)
        try:
            return ast.parse(text), text, aside
        except SyntaxError as error:
            line = error.lineno or 0
            if aside == _MAX_IPYTHON_LINES or not 0 < line <= len(lines) or not set_aside(lines, line - 1):
                raise _Unreadable(f"Python cannot read the file: {error.msg} (line {line}, {_PYTHON}).", line) from None
            aside += 1
        except (ValueError, RecursionError, MemoryError) as error:
            raise _Unreadable(f"Python cannot read the file: {type(error).__name__}.") from None


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
