"""Close pairs are found through new names, comments and layout; what everyone was given does not count."""

import itertools
import json
import stat
from pathlib import Path

from command import ROOT, run_grader
from grader.records import Submission
from grader.report.similar import MOST_BYTES, find_similar, write_similar

REFERENCE = (ROOT / "reference" / "hw6.py").read_text(encoding="utf-8")
TEMPLATE = (ROOT / "student_template" / "hw6.py").read_text(encoding="utf-8")
OTHER = "\n".join(
    f"def f{number}(x):\n    return [x {sign} {number} for _ in range({number})] if x else {{'k': ({number}, x)}}"
    for number, sign in enumerate("+-*/%&|^" * 3)
)


def disguised(source: str) -> str:
    """A copy with other names, comments and blank lines."""
    for name, other in {"images": "batch_x", "labels": "targets", "loss": "error", "out": "y", "stage": "part"}.items():
        source = source.replace(name, other)
    return "# my own work\n\n" + source.replace("\n    def ", "\n\n    # a method\n    def ")


def submission(student: str, text: str) -> Submission:
    return Submission(student, content=text.encode())


def pairs_of(*submissions: Submission, least: float = 80) -> list[tuple[str, str]]:
    found = find_similar(submissions, least, most_pairs=10)
    return [(pair.first.student_id, pair.second.student_id) for pair in found]


def test_a_disguised_copy_is_found_and_an_own_solution_is_not() -> None:
    given = submission("kim", REFERENCE), submission("lee", disguised(REFERENCE)), submission("park", OTHER)
    assert pairs_of(*given) == [("kim", "lee")]


def test_the_templates_own_text_does_not_count() -> None:
    assert pairs_of(submission("kim", TEMPLATE), submission("lee", TEMPLATE)) == []


def test_the_closest_pair_is_first_and_the_number_is_bounded() -> None:
    half = REFERENCE[: len(REFERENCE) // 2] + OTHER
    given = [submission("half", half), submission("kim", REFERENCE), submission("lee", disguised(REFERENCE))]
    assert pairs_of(*given, least=20)[0] == ("kim", "lee")
    assert len(find_similar(given, 1, most_pairs=1)) == 1


def test_the_pieces_of_a_side_are_its_text() -> None:
    (pair,) = find_similar([submission("kim", REFERENCE), submission("lee", disguised(REFERENCE))], 80, 10)
    for side, text in ((pair.first, REFERENCE), (pair.second, disguised(REFERENCE))):
        assert "".join(piece for piece, _ in side.pieces) == text
        assert any(shared for _, shared in side.pieces)


def test_a_file_too_large_to_be_a_homework_is_not_compared() -> None:
    large = REFERENCE + "\n#" + "x" * MOST_BYTES
    assert pairs_of(submission("kim", large), submission("lee", large)) == []


def test_what_students_wrote_is_text_on_the_page(tmp_path: Path) -> None:
    hostile = REFERENCE + "\n# </pre><script>alert(1)</script>\n"
    pairs = find_similar([submission("<b>kim", hostile), submission("lee", hostile)], 80, 10)
    write_similar(pairs, 80, tmp_path / "similar.html")
    page = (tmp_path / "similar.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<b>kim" not in page
    assert "default-src &#39;none&#39;" in page
    assert stat.S_IMODE((tmp_path / "similar.html").stat().st_mode) == 0o600


def test_without_a_class_the_command_asks_for_one_and_not_for_a_grading(tmp_path: Path) -> None:
    finished = run_grader("similar", "--out", tmp_path / "out")
    assert finished.returncode == 2
    assert "SUBMISSIONS= is missing" in finished.stderr


def test_the_command_lists_the_pairs_and_moves_no_points(tmp_path: Path) -> None:
    for student, text in {"kim": REFERENCE, "lee": disguised(REFERENCE), "park": OTHER}.items():
        (tmp_path / "class" / student).mkdir(parents=True)
        (tmp_path / "class" / student / "hw6.py").write_text(text, encoding="utf-8")
    finished = run_grader("similar", tmp_path / "class", "--out", tmp_path / "out")
    assert finished.returncode == 0, finished.stderr
    assert "kim 100.0 %, lee" in finished.stdout
    assert "park" not in finished.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["collection.csv", "similar.html"]


def test_a_notebook_is_compared_by_its_code() -> None:
    def notebook(text: str) -> str:
        cells: list[dict[str, object]] = [
            {"cell_type": "code", "source": text, "metadata": {}, "outputs": [], "execution_count": None}
        ]
        return json.dumps({"cells": cells, "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4})

    assert pairs_of(submission("kim", REFERENCE), submission("lee", notebook(disguised(REFERENCE)))) == [("kim", "lee")]
    assert pairs_of(submission("kim", notebook(REFERENCE)), submission("lee", notebook(OTHER)), least=20) == []


def test_what_a_file_is_written_in_hides_no_copy() -> None:
    cells = [{"cell_type": "code", "source": disguised(REFERENCE)}]
    book = json.dumps({"cells": cells, "metadata": {"kernelspec": {"name": "python3"}}})
    korean = "# 제가 직접 한 과제\n" + REFERENCE
    spanish = ("# coding: latin-1\n# hecho por José\n" + REFERENCE).encode("latin-1")
    contents = [REFERENCE.encode(), spanish, book.encode("utf-8-sig"), book.encode("utf-16"), korean.encode("cp949")]
    for one, other in itertools.combinations(contents, 2):
        (pair,) = find_similar([Submission("kim", content=one), Submission("lee", content=other)], 80, most_pairs=10)
        assert not any(
            '"cells"' in text or "\ufffd" in text for side in (pair.first, pair.second) for text, _ in side.pieces
        )
