"""Strangers' text made safe to show: decoded, on one line, control characters written out; of a notebook, its code.

Also the name of a student's files, and how a file about students is written so that nobody else can read it.
"""

import codecs
import hashlib
import json
import math
import os
import re
import tempfile
import unicodedata
from pathlib import Path

from grader.errors import UserError

# Control characters except tab and newline; and those that turn the direction of writing, which can show one name as
# another. In a log a carriage return stays, since a progress bar begins its line anew with it.
_IN_LOGS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
_UNPRINTABLE, _UNPRINTABLE_IN_LOGS = re.compile(f"[\r{_IN_LOGS}]"), re.compile(f"[{_IN_LOGS}]")
_SURROGATE = re.compile("[\ud800-\udfff]")

_COMMAND = re.compile(r"(?P<indent>\s*)(?P<command>[!%].*)")
_TIMED = re.compile(r"(?P<indent>\s*)%time\s+(?P<statement>\S.*)")
_ASSIGNED = re.compile(r"(?P<target>\s*[\w.,\[\] ]+=\s*)(?P<command>[!%].*)")
_QUESTION = re.compile(r"(?P<indent>\s*)(?P<command>\?{1,2}[\w.]+|[\w.]+\?{1,2})\s*")
# Magics of a whole cell below which there is Python all the same.
_PYTHON_CELLS = re.compile(r"%%(time|timeit|capture|prun|python3?)\b")

# A line of PEP 263, and one before which there may be such a line. In bytes, as Python's own importer reads them.
_COOKIE = re.compile(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BEFORE_COOKIE = re.compile(rb"[ \t\f]*(?:#|\Z)")
# What Python reads as these, whatever follows: Emacs writes `latin-1-unix`.
_SPELLINGS = {"utf-8-": "utf-8", "latin-1-": "latin-1", "iso-8859-1-": "latin-1", "iso-latin-1-": "latin-1"}
# What stands for something else in some codec: an escape, a shift to other characters, a name of the internet.
_ESCAPES = bytes(range(128)).replace(b"\\", b"") + b"\x1b$B \x1b$)C \x0e +AEE- ~{VP~} .xn--4ca." + rb"\u0041 \x41"

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

_DAY, _HOUR = 86_400, 3_600
_LONG = {_DAY: "day", _HOUR: "hour", 60: "minute", 1: "second"}
_SHORT = {_HOUR: "h", 60: "min", 1: "s"}

# A script without line breaks must not fill the memory.
LONGEST_LINE = 2_000

# Some file systems keep these for devices, whatever suffix follows.
_SAFE_NAME = re.compile(r"(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|\Z))\w[\w.\-]*")
_LONGEST_KEY, _HASH_DIGITS, _MOST_CAPITALS = 200, 24, 64

# What progress bars print: colours, "erase the line", "one line up". It says nothing, so it is left out.
_DECORATION = re.compile("\x1b\\[[0-9;]*[mKA]")

# Said of a table whose bytes cannot be decoded, after "is".
NO_TEXT = "neither UTF-8, UTF-16 nor cp949 text (an .xlsx file is none, and Excel's plain CSV may be none)"


def codec_of(content: bytes) -> str:
    """The codec of text without a byte order mark: UTF-8 where that fits, else Korean Windows' own."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "cp949"
    return "utf-8"


def encoding_of(content: bytes) -> tuple[str, bytes]:
    """The codec of a text, and the byte order mark that stands before it; empty where there is none."""
    for mark, codec in _MARKS:
        if content.startswith(mark):
            return codec, mark
    return codec_of(content), b""


def decoded(content: bytes) -> str:
    """Text in whatever encoding it came, without its byte order mark. Bytes that are no text become U+FFFD."""
    codec, mark = encoding_of(content)
    try:
        return content.removeprefix(mark).decode(codec)
    except UnicodeDecodeError:
        return content.decode("utf-8", "replace")


def declared_codec(source: bytes) -> str:
    """The codec's name in Python that a script's first lines give; empty where there is none that Python knows."""
    for line in re.split(rb"\r\n?|\n", source.removeprefix(codecs.BOM_UTF8), maxsplit=2)[:2]:
        if found := _COOKIE.match(line):
            said = found[1].decode().lower().replace("_", "-")
            name = next((known for spelt, known in _SPELLINGS.items() if f"{said}-".startswith(spelt)), said)
            try:
                return codecs.lookup(name).name
            except LookupError:
                return ""
        if not _BEFORE_COOKIE.match(line):
            break
    return ""


def shows_what_runs(codec: str) -> bool:
    """Whether ASCII stands for itself in a codec: of `unicode_escape`, Python runs code out of what looks a comment."""
    try:
        return _ESCAPES.decode(codec) == _ESCAPES.decode("ascii")
    except (UnicodeError, LookupError):  # LookupError: it makes something else than text
        return False


def source_text(source: bytes) -> str | None:
    """A script's text as Python reads it, in the codec that it declares or else in its own; None if it is no text."""
    codec, mark = encoding_of(source)
    declared = declared_codec(source)
    for each in (declared if not mark and declared and shows_what_runs(declared) else codec, codec):
        try:
            return source.removeprefix(mark).decode(each)
        except UnicodeError:
            continue
    return None


def shown_source(source: bytes) -> str:
    """A script's text for people: as `source_text`, and where it is none, whatever can be read of it."""
    return source_text(source) or decoded(source)


def printable(text: str) -> str:
    """Return `text` in valid Unicode, with control characters other than tab and newline written out, as `x1b`."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", _UNPRINTABLE.sub(_as_escape, text))


def printable_log(content: bytes) -> bytes:
    """Return a log that is safe on a terminal: control characters, and bytes that are not UTF-8, become escapes."""
    return _UNPRINTABLE_IN_LOGS.sub(_as_escape, content.decode("utf-8", "backslashreplace")).encode()


def _as_escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def one_line(value: str, longest: int | None = None) -> str:
    """Return a stranger's text as one line, control characters written out, cut where it is longer than so many."""
    line = " ".join(printable(" ".join(value.split())).split())
    return line if longest is None or len(line) <= longest else line[: longest - 1] + "…"


def duration(seconds: float | None) -> str:
    """Say a length of time in its two largest units, as `2 h 30 min`; `-` where it is not known."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return "-"
    parts = _two_units(seconds, _HOUR)
    return " ".join(f"{number} {_SHORT[size]}" for number, size in parts) or "0 s"


def duration_in_words(seconds: float) -> str:
    """Say a length of time in a sentence, as `1 day 2 hours`."""
    parts = _two_units(seconds, _DAY)
    return " ".join(counted(number, _LONG[size]) for number, size in parts) or "0 seconds"


def counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _two_units(seconds: float, largest: int) -> list[tuple[int, int]]:
    """Numbers of the two largest units, each with its size, without those that are 0; the rest is rounded."""
    sizes = [size for size in _LONG if size <= largest]
    first = next((place for place, size in enumerate(sizes) if round(seconds) >= size), len(sizes) - 1)
    two = sizes[first : first + 2]
    rest = round(seconds / two[-1]) * two[-1]
    # Rounding may fill the next unit: 3,599.6 s are an hour.
    two = sizes[first - 1 : first] + two if first and rest >= sizes[first - 1] else two
    parts = []
    for size in two:
        number, rest = divmod(rest, size)
        parts += [(number, size)] if number else []
    return parts


def set_aside(lines: list[str], at: int) -> bool:
    """Rewrite an IPython line on which Python stumbled; say whether it was one.

    A command or a magic becomes a comment, with the lines that a backslash joins to it. What was assigned from a
    command becomes an empty list, from a magic None. Of `%time` only the word goes: the rest of its line is Python.
    """
    line = lines[at]
    if timed := _TIMED.fullmatch(line):
        lines[at] = f"{timed['indent']}{timed['statement']}"
        return True
    if assigned := _ASSIGNED.fullmatch(line):
        value = "[]" if assigned["command"].startswith("!") else "None"
        lines[at] = f"{assigned['target']}{value}  # {assigned['command']}"
    elif command := _COMMAND.fullmatch(line) or _QUESTION.fullmatch(line):
        # `pass` keeps a block that holds nothing else. Where there is none, an import from __future__ may follow.
        keeps = f"{command['indent']}pass  " if command["indent"] else ""
        lines[at] = f"{keeps}# {command['command']}"
    else:
        return False
    while line.endswith("\\") and at + 1 < len(lines):
        at += 1
        line = lines[at]
        lines[at] = f"# {line}"
    return True


def notebook_code(text: str) -> str | None:
    """The code cells of a notebook's JSON as one script; None if the text is no notebook."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        cells = json.loads(text)["cells"]
        return "\n\n".join(_cell_code("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def without_outputs(content: bytes) -> bytes:
    """A notebook with its code cells only; any other file as it is."""
    text = decoded(content)
    if notebook_code(text) is None:
        return content
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    kept = {"cells": [{"cell_type": "code", "source": "".join(cell["source"])} for cell in cells]}
    return json.dumps(kept, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _cell_code(source: str) -> str:
    """A cell as Python: one in another language (`%%bash`, `%%writefile`) becomes a comment."""
    if not source.lstrip().startswith("%%") or _PYTHON_CELLS.match(source.lstrip()):
        return source
    return "\n".join(f"# {line}" for line in source.split("\n"))


class OutputLines:
    """Puts one script's output together line by line; bytes that are not UTF-8 become U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    @property
    def unfinished(self) -> str:
        """The line that has not ended yet, such as a progress bar."""
        return _shown(self._rest)

    def feed(self, chunk: bytes, final: bool = False) -> list[str]:
        """Return the lines that have ended with this chunk; with `final`, also the one without a line break."""
        *lines, rest = (self._rest + self._decoder.decode(chunk, final)).split("\n")
        # After a carriage return the line is written anew; a lone one at the end may still be followed by a newline.
        rest = rest[rest.rfind("\r", 0, -1) + 1 :]
        whole = len(rest) if final else len(rest) // LONGEST_LINE * LONGEST_LINE
        lines += [rest[begin : begin + LONGEST_LINE] for begin in range(0, whole, LONGEST_LINE)]
        self._rest = rest[whole:]
        return [_shown(line) for line in lines]


def _shown(line: str) -> str:
    return printable(_DECORATION.sub("", line.rstrip("\r").rpartition("\r")[2]))


def file_key(student_id: str) -> str:
    """Return the one name of a student's files and links: the id, or a part of it and a hash where the id is not safe.

    Two students never share a name, even on a file system that ignores case: the part after a tilde says where an id
    has capitals, and an id that is safe as it is has no tilde. A name has at most 200 bytes, so a suffix always fits.
    """
    folded = unicodedata.normalize("NFC", student_id.upper().casefold())
    if student_id == folded and _SAFE_NAME.fullmatch(student_id) and len(student_id.encode()) <= _LONGEST_KEY:
        return student_id
    lower = student_id.lower()
    if student_id.isascii() and len(student_id) <= _MOST_CAPITALS and lower != student_id and file_key(lower) == lower:
        return f"{student_id}~c{sum(1 << place for place, letter in enumerate(student_id) if letter.isupper()):x}"
    readable = "".join(re.findall(r"\w", student_id))[:30] or "student"
    return f"{readable}~{hashlib.sha256(student_id.encode('utf-8', 'surrogatepass')).hexdigest()[:_HASH_DIGITS]}"


def write_private(path: Path, content: bytes, *, flush: bool = True) -> None:
    """Replace the file at `path` in one step, with mode 0600; a folder that is made for it has mode 0700.

    Args:
        flush: Wait until the disk has it. Without, a power cut may leave an empty file, so for what can be made again.

    Raises:
        UserError: Nothing can be written there. An older file is left as it was.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                if flush:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; make room there or name another folder") from None
