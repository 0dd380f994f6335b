"""What the grader set aside or supplied for a script, in sentences that its student reads."""

_sentences: dict[str, dict[str, None]] = {}


def note(sentence: str, what: str = "") -> None:
    """Remember a sentence; a second time changes nothing, so a loop may say it at each turn.

    Args:
        what: One of the things that the sentence ends with; it then has no full stop of its own.
    """
    things = _sentences.setdefault(sentence, {})
    if what:
        things.setdefault(what)


def all_notes() -> tuple[str, ...]:
    """Every sentence of this process, in the order in which it was first said."""
    return tuple(f"{said} {', '.join(things)}." if things else said for said, things in _sentences.items())
