"""What tests/sandbox/test_attacks.py saw, as the table of .github/SECURITY.md, where running this file puts it."""

import ast
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ATTACKS = Path(__file__).parents[1] / "attacks"
SEEN = ROOT / "results" / "attacks"
SECURITY = ROOT / ".github" / "SECURITY.md"
BEGIN, END = "<!-- attacks: begin -->\n", "<!-- attacks: end -->\n"
WAYS = ("full-root", "full-user", "strong-root", "strong-user", "partial-root", "partial-user")
_NOT_SEEN = "not run"


def keep(way: str, results: Iterable[dict[str, Any]]) -> None:
    """Write down what came of each attack in one way."""
    SEEN.mkdir(parents=True, exist_ok=True)
    (SEEN / f"{way}.json").write_text(json.dumps({result["attack"]: _said(result) for result in results}, indent=1))


def _said(result: dict[str, Any]) -> str:
    got_through = "SUCCEEDED" in result["log"] or result["survivors"] or not result["witness_kept"]
    if got_through or result["folders_left"]:
        return "GOT THROUGH"
    return "held" if result["ending"] == "exited" else f"held: {result['ending'].replace('_', ' ')}"


def table(standing: str = "") -> str:
    """A row for each attack, with what it tries in its own words; a column for each way.

    Args:
        standing: A text with an earlier table: a way that was not run here keeps its column.
    """
    seen = {way: _seen(way, standing) for way in WAYS}
    lines = ["| attack | tries to | " + " | ".join(WAYS) + " |", "|---" * (2 + len(WAYS)) + "|"]
    for attack in sorted(ATTACKS.glob("*.py")):
        tries = (ast.get_docstring(ast.parse(attack.read_text(encoding="utf-8"))) or "").rstrip(".")
        cells = (seen[way].get(attack.stem, _NOT_SEEN) for way in WAYS)
        lines.append(f"| {attack.stem} | {tries[:1].lower()}{tries[1:]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _seen(way: str, standing: str) -> dict[str, str]:
    if (path := SEEN / f"{way}.json").exists():
        return dict(json.loads(path.read_text()))
    header, *rows = _cells(standing) or [[]]
    return {row[0]: row[header.index(way)] for row in rows} if way in header else {}


def _cells(text: str) -> list[list[str]]:
    """The table in a text: its header, then its rows."""
    lines = text.partition(BEGIN)[2].partition(END)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (*lines[:1], *lines[2:])]


def names_in(text: str) -> list[str]:
    """The attacks that the table in a text names, in its order."""
    return [row[0] for row in _cells(text)[1:]]


def main() -> None:
    """Put the table between its marks."""
    text = SECURITY.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    SECURITY.write_text(before + BEGIN + table(text) + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
