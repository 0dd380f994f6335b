"""Whatever a script prints becomes lines that a terminal can be shown; whatever a student is called names files."""

import itertools
import re

import pytest

from grader.text import (
    LONGEST_LINE,
    OutputLines,
    decoded,
    duration,
    duration_in_words,
    file_key,
    one_line,
    printable_log,
)


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
        (b"\x1b[A\x1b[2K\x1b[1;32mepoch 2\x1b[0m\n", "epoch 2"),
        (b"\x1b[2J\x1b[1;1Hgone\n", r"\x1b[2J\x1b[1;1Hgone"),
        (b"\x1b]0;a title\x07text\n", r"\x1b]0;a title\x07text"),
        (b"\x1b]8;;http://example.org\x1b\\link\n", r"\x1b]8;;http://example.org\x1b\link"),
        ("\x9b31mc1\x9d0;t\x9c\n".encode(), r"\x9b31mc1\x9d0;t\x9c"),
        ("a\u202eb\u2066c\x07\x08\x00\n".encode(), r"a\u202eb\u2066c\x07\x08\x00"),
        (b"[bold]not markup[/bold] :smile:\n", "[bold]not markup[/bold] :smile:"),
        (b"\xff\xfe half \xed\x95\n", "\ufffd\ufffd half \ufffd"),
    ],
    ids=ascii,
)
def test_what_would_steer_the_terminal_is_shown_and_not_sent(printed: bytes, shown: str) -> None:
    assert lines(printed) == [shown]
    assert lines(*(printed[place : place + 1] for place in range(len(printed)))) == [shown]


def test_a_log_keeps_its_lines_and_bars_and_nothing_that_steers_a_terminal() -> None:
    kept = printable_log("50 %\r100 %\n\t정확도\x1b[2J\u202e\n".encode() + b"\xff\n")
    assert kept == "50 %\r100 %\n\t정확도\\x1b[2J\\u202e\n\\xff\n".encode()
    assert printable_log(kept) == kept


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


@pytest.mark.parametrize(
    "student_id",
    [
        *("../../etc/passwd", ".hidden", "", "a/b", "a b", "x" * 300, "가" * 120, "a\nb", "\ud800", "nul\x00", "."),
        *("kim~2", "A" * 100, "straße", "\u0131", "aux", "com1.old", "-rf", "김\u1112\u1161"),
    ],
)
def test_a_student_s_key_is_safe_as_a_file_s_name_and_as_a_link(student_id: str) -> None:
    key = file_key(student_id)
    assert re.fullmatch(r"\w{1,30}~[0-9a-f]{24}", key)
    assert key == file_key(student_id) != file_key(student_id + "x")
    assert len(f".{key}~1000.log.12345678".encode()) < 255


@pytest.mark.parametrize("student_id", ["s20261001", "박지우", "kim.lee-2_b", "2026-1234", "auxiliary", "x" * 200])
def test_an_ordinary_id_names_its_own_files(student_id: str) -> None:
    assert file_key(student_id) == student_id


@pytest.mark.parametrize(("student_id", "key"), [("S20261001", "S20261001~c1"), ("Kim", "Kim~c1"), ("kIM", "kIM~c6")])
def test_an_id_with_capitals_stays_readable(student_id: str, key: str) -> None:
    assert file_key(student_id) == key


def test_no_two_students_share_a_name_where_capitals_and_accents_are_told_apart_by_nobody() -> None:
    alike = [
        "kim",
        "Kim",
        "KIM",
        "kIm",
        "kim~c1",
        "kim~c6",
        "kim~2",
        "k\u0131m",
        "strasse",
        "straße",
        "STRASSE",
        "jos\u00e9",
        "jose\u0301",
        "../kim",
    ]
    for one, other in itertools.combinations(map(file_key, alike), 2):
        assert one.casefold() != other.casefold()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949"])
def test_text_is_read_in_whatever_encoding_it_came(encoding: str) -> None:
    assert decoded("# 한글\nx = 1\n".encode(encoding)) == "# 한글\nx = 1\n"


@pytest.mark.parametrize("content", [b"\xff", b"\xff\xfea", b"x = 1\xff\xff\n", b"\x89PNG\r\n\x1a\n\xff\xfe"])
def test_what_is_no_text_can_be_shown_all_the_same(content: bytes) -> None:
    assert "\ufffd" in decoded(content)


@pytest.mark.parametrize(
    ("seconds", "short", "words"),
    [
        (0.0, "0 s", "0 seconds"),
        (4.23, "4 s", "4 seconds"),
        (1, "1 s", "1 second"),
        (59.4, "59 s", "59 seconds"),
        (59.6, "1 min", "1 minute"),
        (90, "1 min 30 s", "1 minute 30 seconds"),
        (812, "13 min 32 s", "13 minutes 32 seconds"),
        (3_599.0, "59 min 59 s", "59 minutes 59 seconds"),
        (3_599.6, "1 h", "1 hour"),
        (7_200, "2 h", "2 hours"),
        (7_229, "2 h", "2 hours"),
        (9_000, "2 h 30 min", "2 hours 30 minutes"),
        (86_399, "24 h", "1 day"),
        (100_000.0, "27 h 47 min", "1 day 4 hours"),
    ],
)
def test_times_are_said_in_their_two_largest_units(seconds: float, short: str, words: str) -> None:
    assert duration(seconds) == short
    assert duration_in_words(seconds) == words


@pytest.mark.parametrize("seconds", [None, float("nan"), float("inf"), -1.0])
def test_a_time_that_is_not_known_is_a_dash(seconds: float | None) -> None:
    assert duration(seconds) == "-"


def test_one_line_parts_words_at_whatever_breaks_a_line_and_is_bounded() -> None:
    assert one_line("a\r\nb\rc\x0bd\n \x1b[1me \x00 f") == r"a b c d \x1b[1me \x00 f"
    assert one_line("x" * 500, 10) == "x" * 9 + "…"
