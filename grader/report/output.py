"""What a script prints, from bytes in pieces to lines that a terminal may be shown."""

import codecs
import re

from grader.report.table import printable

# A script without line breaks must not fill the memory.
LONGEST_LINE = 2_000

# Colours, cursor movements, window titles and links: whole, so that no `[31m` remains. ECMA-48, sections 5.4 and 5.6.
_ESCAPE_SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"
)


class OutputLines:
    """Puts together the lines of one script; bytes that are not UTF-8 become replacement characters."""

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
    return printable(_ESCAPE_SEQUENCE.sub("", line.rstrip("\r").rpartition("\r")[2]))
