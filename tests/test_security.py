"""SECURITY.md speaks of the attacks that there are, and claims for none what no run showed."""

from pathlib import Path

import pytest

import attack_table
from attack_table import ATTACKS, SECURITY, keep, names_in, table
from command import expectation
from hostile_corpus import CASES

TEXT = SECURITY.read_text(encoding="utf-8")
RESULT = {"log": "", "survivors": 0, "witness_kept": True, "folders_left": [], "ending": "exited"}


def test_the_table_names_the_attacks_of_the_folder() -> None:
    assert names_in(TEXT) == sorted(path.stem for path in ATTACKS.glob("*.py"))


def test_no_attack_got_through() -> None:
    assert "GOT THROUGH" not in TEXT


def test_the_text_names_what_is_only_noticed_and_what_is_neither() -> None:
    weak = [case.name for case in CASES if expectation(case)["holds"] != "prevented"]
    assert weak
    assert [name for name in weak if f"`{name}`" not in TEXT] == []


def test_the_table_says_what_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack_table, "SEEN", tmp_path)
    keep(
        "strong-root",
        [
            RESULT | {"attack": "forks_many"},
            RESULT | {"attack": "stops_itself", "ending": "wall_limit"},
            RESULT | {"attack": "opens_files", "log": "SUCCEEDED"},
        ],
    )
    rows = {row.split("|")[1].strip(): row for row in table().splitlines()}
    assert rows["forks_many"].endswith("| held | not run | not run | not run |")
    assert rows["stops_itself"].endswith("| held: wall limit | not run | not run | not run |")
    assert rows["opens_files"].endswith("| GOT THROUGH | not run | not run | not run |")
