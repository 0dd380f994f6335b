"""Gradescope: what is written is one results.json for each student, after its autograder's docs.

Its export of submissions is known by a file in it, and not read. Whose a results.json is, its `extra_data` says.
Gradescope knows the deadlines and extensions of its own, and grades a new upload anew; a group's one upload counts
there for all of its members.
"""

import json
from decimal import Decimal

from grader.results.entries import Result
from grader.text import printable

# Lies in the export, beside a folder `submission_<number>` for each upload, and says whose each is.
METADATA = "submission_metadata.yml"


def results_json(result: Result, most: Decimal) -> bytes | None:
    """Give the file's bytes; None where there are no points: Gradescope would take a file without them for 0."""
    grade = result.grade
    if grade.points is None:
        return None
    test = {
        "name": "Accuracy on the test images" if grade.accuracy is None else f"Accuracy: {grade.accuracy} %",
        "score": float(grade.points),
        "max_score": float(most),
        "output": printable(grade.message),
        "output_format": "text",
        "visibility": "after_published",
    }
    whole = {
        "score": float(grade.points),
        "output_format": "text",
        "visibility": "after_published",
        "stdout_visibility": "hidden",
        "extra_data": {"student_id": result.submission.student_id, "sha256": result.submission.sha256},
        "tests": [test],
    }
    return json.dumps(whole, ensure_ascii=False, indent=2).encode()
