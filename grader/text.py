"""What a notebook understands and Python does not: commands, magics, questions."""

import json
import re

_COMMAND = re.compile(r"(?P<indent>\s*)(?P<command>[!%].*)")
_TIMED = re.compile(r"(?P<indent>\s*)%time\s+(?P<statement>\S.*)")
_ASSIGNED = re.compile(r"(?P<target>\s*[\w.,\[\] ]+=\s*)(?P<command>[!%].*)")
_QUESTION = re.compile(r"(?P<indent>\s*)(?P<command>\?{1,2}[\w.]+|[\w.]+\?{1,2})\s*")
# Magics of a whole cell below which there is Python all the same.
_PYTHON_CELLS = re.compile(r"%%(time|timeit|capture|prun|python3?)\b")


def set_aside(lines: list[str], at: int) -> bool:
    """Rewrite the line on which Python stumbled, so that Python passes it; say whether it was IPython's.

    A command or a magic becomes a comment, with those that a backslash joins to it; what is assigned from a command
    becomes an empty list, from a magic None; of `%time` only the word goes, since the rest of its line is Python.
    """
    line = lines[at]
    if timed := _TIMED.fullmatch(line):
        lines[at] = f"{timed['indent']}{timed['statement']}"
        return True
    if assigned := _ASSIGNED.fullmatch(line):
        value = "[]" if assigned["command"].startswith("!") else "None"
        lines[at] = f"{assigned['target']}{value}  # {assigned['command']}"
    elif command := _COMMAND.fullmatch(line) or _QUESTION.fullmatch(line):
        # `pass` keeps a block that holds nothing else.
        lines[at] = f"{command['indent']}pass  # {command['command']}"
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


def _cell_code(source: str) -> str:
    """A cell in another language (`%%bash`, `%%writefile`) as a comment."""
    if not source.lstrip().startswith("%%") or _PYTHON_CELLS.match(source.lstrip()):
        return source
    return "\n".join(f"# {line}" for line in source.split("\n"))
