"""What a student sees at upload: `python -m grader.student.upload_check ROOT`, in a container of Gradescope's.

ROOT/submission is what the student uploaded; ROOT/results/results.json is what Gradescope shows. The code is the
self-check's: the script runs on a few images of noise, nothing is trained, and no test gives points. There is no
sandbox: the container is the student's own, and it holds no label and no model answer.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from grader.assignment import Assignment, load_assignment
from grader.judge.verdict import judge
from grader.lms.attempts import SystemAttempt, add_companions, sort_out
from grader.lms.files import Attempt, Fault, Found, WithoutFile, unpacked
from grader.records import Answer, Decision, Status, Submission, Verdict, still_blank
from grader.student.observe import ASKED, NO_LAYERS, Observed, observe
from grader.text import printable

# Of work. Gradescope ends everything after 10 minutes; by the clock, `observe` takes at most 20 times as long as this.
_SECONDS = 25
_ABOUT = (
    "This check gives no points. It ran your script on a few images of noise, to see whether it can be graded: nothing "
    "was trained, and no accuracy was measured. Your grade comes from the grader's own run after the deadline."
)
_RUNS = "The script runs from top to bottom"
_Test = dict[str, str]


def main(root: Path, seconds: float = _SECONDS) -> None:
    """Check what lies in `root`/submission, and write `root`/results/results.json.

    Args:
        seconds: As for `observe`.
    """
    whole = {
        # Without a score for each test, Gradescope needs one for the whole.
        "score": 0,
        "output": _ABOUT,
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": list(_tests(root / "submission", load_assignment(), seconds)),
    }
    results = root / "results" / "results.json"
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps(whole, ensure_ascii=False, indent=2), encoding="utf-8")


def _tests(handed_in: Path, rules: Assignment, seconds: float) -> Iterator[_Test]:
    """Find the file that counts by the grader's own rule, then check it."""
    title = f"Your upload has {rules.file}"
    with unpacked(handed_in) as files, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        attempt = SystemAttempt("", "your upload", tuple(files), None, timed=False)
        found = list(sort_out(attempt, rules))
        counts = next((each for each in found if isinstance(each, Attempt)), None)
        if counts is None:
            yield _test(title, False, " ".join(_without_file(found)))
            return
        content = counts.stored.read(rules.limits.file_size_kb)
        if isinstance(content, Fault):
            yield _test(title, False, f"{counts.file} {content.said}.")
            return
        submission, _ = add_companions(Submission("", file=counts.file, content=content), [counts], rules.limits)
        Path(folder, rules.file).write_bytes(content)
        for companion in submission.companions:
            Path(folder, companion.name).write_bytes(companion.content)
        how = counts.how or "is the file that counts"
        yield _test(title, True, "\n".join([f"{counts.file} {how}.", *_aside(found), *submission.remarks]))
        yield from _of_file(observe(Path(folder, rules.file), seconds), rules.blocks)


def _without_file(found: Sequence[Found]) -> Iterator[str]:
    for each in found:
        if isinstance(each, WithoutFile):
            yield f"{each.remark}."
            if each.fault:
                yield f"{each.archive} {each.fault.said}."


def _aside(found: Sequence[Found]) -> Iterator[str]:
    """Say which files could have counted and do not."""
    for each in found:
        if isinstance(each, Decision) and each.status is Status.SUPERSEDED:
            yield f"{each.file} does not count: {each.reason}."


def _of_file(seen: Observed, blocks: tuple[int, ...]) -> Iterator[_Test]:
    blanks = still_blank(seen.blanks, seen.questions)
    said = f"These blanks are still empty: {', '.join(blanks)}." if blanks else "No blank is left."
    yield _test("No blank is left", not blanks, said)
    ran = "\n".join(["The script ran from top to bottom.", *seen.notes])
    yield _test(_RUNS, not seen.fault, seen.fault or ran)
    for question, asked in zip(seen.questions, ASKED, strict=bool(seen.questions)):
        yield _test(f"{question.name}: {asked}", question.answer is Answer.OK, question.reason or "This is answered.")
    yield _of_network(seen, blocks)


def _of_network(seen: Observed, blocks: tuple[int, ...]) -> _Test:
    title = "The network is the one of section 3.1"
    if seen.network is None:
        stopped = f'The script did not come to its network: see "{_RUNS}".'
        return _test(title, False, stopped if seen.fault else "There is no class IdentityResNet in the file.")
    if seen.without_layers:
        return _test(title, False, NO_LAYERS)
    judgement = judge(seen.network, blocks)
    found = dict.fromkeys(finding.sentence for finding in judgement.findings)
    said = [f"Verdict: {judgement.verdict}.", *found, *judgement.notes]
    return _test(title, judgement.verdict in (Verdict.CONFORMING, Verdict.VARIANT), "\n".join(said))


def _test(name: str, passed: bool, output: str) -> _Test:
    """One test as Gradescope shows it; without a score, `status` says whether it passed."""
    return {
        "name": name,
        "status": "passed" if passed else "failed",
        "output": printable(output),
        "output_format": "text",
        "visibility": "visible",
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
