"""What a homework's source does not need: data carried in it, and modules that unpack such data.

Each is named for a person to look at, with its line; none is forbidden.
"""

import ast
import math
from collections import Counter
from collections.abc import Iterator

# The assignment's template has 5 KB in all; its longest text has 200 characters.
_LONG_TEXT = 4_000
_LONG_SEQUENCE = 1_000
# English and Python are at 4 to 5 bits a character; base64 is at 6, hexadecimal at 4 without a blank.
_DENSE_BITS = 5.5
_UNPACKERS = frozenset({"base64", "binascii", "bz2", "ctypes", "gzip", "lzma", "marshal", "zlib"})
_MOST_REMARKS = 5


def carried_in(tree: ast.Module) -> tuple[str, ...]:
    """Say where a source holds much data or unpacks some; at most five sentences without a full stop."""
    found = sorted(set(_findings(tree)))
    return tuple(f"{what} (line {line})" for line, what in found[:_MOST_REMARKS])


def _findings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield from _of_text(node, node.value)
        elif isinstance(node, ast.List | ast.Tuple | ast.Set) and len(node.elts) >= _LONG_SEQUENCE:
            yield node.lineno, f"a written-out sequence of {len(node.elts)} values"
        elif isinstance(node, ast.Dict) and len(node.keys) >= _LONG_SEQUENCE:
            yield node.lineno, f"a written-out table of {len(node.keys)} entries"
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, f"imports {name.name}") for name in node.names if _unpacks(name.name))
        elif isinstance(node, ast.ImportFrom) and _unpacks(node.module or ""):
            yield node.lineno, f"imports {node.module}"


def _of_text(node: ast.Constant, text: str | bytes) -> Iterator[tuple[int, str]]:
    if len(text) >= _LONG_TEXT:
        # A long explanation is prose; data has no blanks, or nearly every sign as often as the others.
        blanks = sum(sign in b" \n" if isinstance(sign, int) else sign.isspace() for sign in text) / len(text)
        if blanks < 0.05 or _bits(text) > _DENSE_BITS:
            yield node.lineno, f"a text of {len(text)} signs that is data, not prose"


def _bits(text: str | bytes) -> float:
    """Entropy of the signs, in bits."""
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)


def _unpacks(module: str) -> bool:
    return module.partition(".")[0] in _UNPACKERS
