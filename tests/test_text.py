"""Whatever a script prints becomes lines that a terminal can be shown."""

import pytest

from grader.text import LONGEST_LINE, OutputLines


def lines(*chunks: bytes) -> list[str]:
    output = OutputLines()
    seen = [line for chunk in chunks for line in output.feed(chunk)]
    return seen + output.feed(b"", final=True)


@pytest.mark.parametrize("text", ["", "one", "one\n", "one\ntwo\n\nfour", "정확도 53 %\n한글", "a\r\nb\r\n", "é😀\n"])
def test_where_the_bytes_are_cut_changes_nothing(text: str) -> None:
    whole = text.encode()
    expected = text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
    assert lines(whole) == expected
    assert lines(*(whole[place : place + 1] for place in range(len(whole)))) == expected


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"\x1b[31mred\x1b[0m\n", "red"),
        (b"\x1b[2J\x1b[1;1Hgone\n", "gone"),
        (b"\x1b]0;a title\x07text\n", "text"),
        (b"\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\\n", "link"),
        ("\x9b31mc1\x9d0;t\x9c\n".encode(), "c1"),
        ("a\u202eb\u2066c\x07\x08\x00\n".encode(), "abc"),
        (b"[bold]not markup[/bold] :smile:\n", "[bold]not markup[/bold] :smile:"),
        (b"\xff\xfe half \xed\x95\n", "\ufffd\ufffd half \ufffd"),
    ],
    ids=ascii,
)
def test_nothing_can_steer_the_terminal(printed: bytes, shown: str) -> None:
    assert lines(printed) == [shown]
    assert lines(*(printed[place : place + 1] for place in range(len(printed)))) == [shown]


def test_a_progress_bar_is_one_line_as_it_was_last() -> None:
    output = OutputLines()
    assert output.feed(b"\r  0%|   |\r 50%|#  |") == []
    assert output.unfinished == " 50%|#  |"
    assert output.feed(b"\r100%|###|\r") == []
    assert output.unfinished == "100%|###|"
    assert output.feed(b"\nnext\n") == ["100%|###|", "next"]
    assert output.unfinished == ""


def test_a_line_without_end_does_not_pile_up() -> None:
    output = OutputLines()
    pieces = [line for _ in range(100) for line in output.feed(b"x" * 999)]
    assert {len(line) for line in pieces} == {LONGEST_LINE}
    assert len("".join(pieces) + output.unfinished) == 99_900
