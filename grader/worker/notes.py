"""What the grader set aside or supplied for a script, in sentences that its student reads."""

_sentences: dict[str, None] = {}


def note(sentence: str) -> None:
    """Remember a sentence; a second time changes nothing, so a loop may say it at each turn."""
    _sentences.setdefault(sentence)


def all_notes() -> tuple[str, ...]:
    """Every sentence of this process, in the order in which it was first said."""
    return tuple(_sentences)
