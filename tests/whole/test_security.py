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
    unseen = "| not run | not run | not run |"
    assert rows["forks_many"].endswith(f"| not run | not run | held {unseen}")
    assert rows["stops_itself"].endswith(f"| not run | not run | held: wall limit {unseen}")
    assert rows["opens_files"].endswith(f"| not run | not run | GOT THROUGH {unseen}")


def test_a_way_that_was_not_run_here_keeps_its_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The level full needs a machine that this one may not be."""
    monkeypatch.setattr(attack_table, "SEEN", tmp_path)
    keep("full-root", [RESULT | {"attack": name} for name in ("forks_many", "stops_itself")])
    standing = attack_table.BEGIN + table() + attack_table.END
    (tmp_path / "full-root.json").unlink()
    keep("strong-root", [RESULT | {"attack": "forks_many"}])
    rows = {row.split("|")[1].strip(): row for row in table(standing).splitlines()}
    assert "| held | not run | held | not run |" in rows["forks_many"]
    assert "| held | not run | not run | not run |" in rows["stops_itself"]
