"""What tests/test_attacks.py saw, as the table of .github/SECURITY.md; `python tests/attack_table.py` puts it there."""

import ast
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ATTACKS = Path(__file__).parent / "attacks"
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


def table() -> str:
    """A row for each attack, with what it tries in its own words; a column for each way."""
    seen = {way: json.loads(path.read_text()) if (path := SEEN / f"{way}.json").exists() else {} for way in WAYS}
    lines = ["| attack | tries to | " + " | ".join(WAYS) + " |", "|---" * (2 + len(WAYS)) + "|"]
    for attack in sorted(ATTACKS.glob("*.py")):
        tries = (ast.get_docstring(ast.parse(attack.read_text(encoding="utf-8"))) or "").rstrip(".")
        cells = (seen[way].get(attack.stem, _NOT_SEEN) for way in WAYS)
        lines.append(f"| {attack.stem} | {tries[:1].lower()}{tries[1:]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def names_in(text: str) -> list[str]:
    """The attacks that the table in a text names, in its order."""
    rows = text.partition(BEGIN)[2].partition(END)[0].splitlines()[2:]
    return [row.split("|")[1].strip() for row in rows]


def main() -> None:
    """Put the table between its marks."""
    before, _, rest = SECURITY.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    SECURITY.write_text(before + BEGIN + table() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
