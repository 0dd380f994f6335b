"""Why a person should look at a run: it can hardly have come about in the way that the handout asks for."""

import io
import math
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence

from grader.protocol import SourceRead
from grader.protocol.exported import ARITHMETIC, ExportedNetwork, Graph, numbers_in
from grader.records import CurvePoint, Outcome, Reason, Run, Submission, Training
from grader.text import notebook_code, one_line, source_text, without_outputs

NOT_NEEDED = "the source has something that homework does not need"
_ELSE = "something else may have been trained"
# Of everything that enters the sandbox, compressed. No honest file of the tests' corpus has more than 2,900 bytes;
# beside all of torchvision's resnet.py one would have 8,000. Those that brought weights along had 10,000 to 42,000.
_MOST_BYTES, _USUAL_BYTES = 8_000, 3_000
# Of the steps that a script wrote itself: the mean and spread of each pixel are 6,144 numbers.
_MOST_NUMBERS, _MOST_CALLS = 2 * 3 * 32 * 32, 40
# Processor time of all else that a script may start: commands for information use less, and so does an installation.
_OF_PROGRAMS, _OF_AN_INSTALLATION = 2.0, 10.0
_INSTALLATION = re.compile(r"\S+ -m pip ")
# A mixed batch has two sets of labels; one more for a network of another class.
_TARGETS_EACH = 3
# Processor time may be so many times what the counted images explain, and more by so much. The reference trained by two
# threads that wait for each other used 5 times what a forward had shown; honest training elsewhere used 0.7 times it.
_UNEXPLAINED, _UNEXPLAINED_SECONDS = 8, 120
# Of an epoch; the largest share of images that a network classifies right which learned from fewer; that of the first
# quarter of an epoch; and how much larger it is at the test than over the last part of training, in which dropout and
# changed images hide some.
_FEW, _FROM_FEW, _AT_FIRST, _LEAP = 0.1, 0.4, 0.6, 0.4
# That leap is looked for behind this part of a training, with so many targets an image, and so many images at least.
_LATE, _PLAIN_TARGETS, _MANY = 0.6, 1.5, 10_000
# In 2026; and what it reads that older ones do not, in a line: quotes in an f-string's braces, names of types.
_COLABS_PYTHON = (3, 12)
_NEWER_SYNTAX = re.compile(r"""\b(?:f|fr|rf)["']|\b(?:def|class)\s+\w+\s*\[|^\s*type\s+\w""", re.IGNORECASE)


def brought_along(submission: Submission) -> tuple[Reason, ...]:
    """Say so where a submission holds more than code needs, such as weights, wherever in it and however written.

    What is compressed is what enters the sandbox, names included: nothing holds more information than that many bytes.
    """
    names = "\n".join(companion.name for companion in submission.companions).encode("utf-8", "surrogatepass")
    contents = b"".join(companion.content for companion in submission.companions)
    size = len(zlib.compress(without_outputs(submission.content or b"") + contents + names))
    if size <= _MOST_BYTES:
        return ()
    said = f"{size:,} bytes of source when compressed, where such homework has up to {_USUAL_BYTES:,}"
    return (Reason.of(NOT_NEEDED, said),)


def newer_syntax(submission: Submission, source: SourceRead | None) -> tuple[Reason, ...]:
    """Doubt a syntax error that may be none in Colab's newer Python: in an f-string, say, or in `def f[T](x)`."""
    if sys.version_info >= _COLABS_PYTHON or source is None or not source.fault or not source.lines:
        return ()
    text = source_text(submission.content or b"") or ""
    lines = io.StringIO(notebook_code(text) or text, newline=None).readlines()
    if not any(_NEWER_SYNTAX.search(line) for line in lines[source.lines[0] - 1 :][:1]):
        return ()
    said = "Colab's is {}.{}, which may be able to".format(*_COLABS_PYTHON)
    return (Reason.of("the grader's Python cannot read the file", said),)


def another_class(outcome: Outcome | None, training: Training) -> tuple[Reason, ...]:
    """Say so where losses had gradients and the file counts as none: its network may only have another name.

    Beside images that were used, it is the class that was asked for, and its output could not be scored.
    """
    trained = outcome is Outcome.INVALID and training.targets and not training.samples
    return (Reason.of("a network of another class was trained"),) if trained else ()


def before_its_network(exported: ExportedNetwork) -> tuple[Reason, ...]:
    """Say so where steps that a script wrote itself could be a network, or look an image up: nobody judges those."""
    graphs = [step.graph for step in exported.steps if step.graph]
    weights = {weight for graph in graphs for call in graph.calls for weight in call.weights}
    numbers = sum(math.prod(exported.weights[weight].shape) for weight in weights)
    calls = sum(len(graph.calls) for graph in graphs)
    other = [name for graph in graphs for name in _beyond_arithmetic(graph)]
    if not other and numbers <= _MOST_NUMBERS and calls <= _MOST_CALLS:
        return ()
    among = "".join(f", {name} among them" for name in other[:1])
    said = (
        f"before its network, the script changes a test image with {numbers:,} numbers of its own and {calls} "
        f"operations{among}: that may do the network's work"
    )
    return (Reason("before its network, the script changes a test image", said),)


def _beyond_arithmetic(graph: Graph) -> Iterator[str]:
    """The operations that do more to an image than arithmetic, or find a place by what is in it."""
    of_image, count = {0}, 1
    for call in graph.calls:
        name = call.name.removesuffix("_")
        if not of_image.isdisjoint(call.values):
            of_image.update(range(count, count + call.results))
            found_by_content = name == "index" and not of_image.isdisjoint(numbers_in(call.args[1:], "value"))
            if name not in ARITHMETIC or found_by_content:
                yield name
        count += call.results


def miscounted(training: Training, epochs: int, training_size: int) -> tuple[Reason, ...]:
    """Say so where more images were learned from than the grader counted, or more were counted than the budget has."""
    found = []
    used = training.samples
    if training.targets > _TARGETS_EACH * used + training_size:
        losses = f"losses of {training.targets:,} images had gradients, and the grader counted {used:,} images"
        found.append(Reason(_ELSE, f"{losses}: {_ELSE}"))
    # The last step may go past the budget; a step is hardly ever more than the whole training set.
    if used > (epochs + 1) * training_size:
        more = f"{used}, where {epochs} epochs have {epochs * training_size}"
        found.append(Reason.of("the script used more images than the budget", more))
    return tuple(found)


def not_seen_learning(
    training: Training, curve: Sequence[CurvePoint], known: float, training_size: int
) -> tuple[Reason, ...]:
    """Say so where a network knows what nobody saw it learn: weights brought along, or worked out in another way.

    Args:
        curve: Of its counted batches, as the script's process told it.
        known: The share of training images that the network that left classifies right, measured by its replay.
    """
    right = f"the network classifies {known:.0%} of training images right"
    if training.samples < _FEW * training_size:
        said = f"{right}, and the grader saw it learn from {training.samples:,}: {_ELSE}"
        return (Reason(_ELSE, said),) if known > _FROM_FEW else ()
    points = [(each.samples, each.accuracy) for each in curve if each.accuracy is not None]
    found = []
    if points and points[0][0] <= training_size / 4 and points[0][1] > _AT_FIRST:
        images, share = points[0]
        found.append(f"the network classified {share:.0%} of the first {images:,} images right: {_ELSE}")
    # An image mixed of two has two targets, and its accuracy is that of one. Of few images, much is learned at the end.
    plain = training.targets <= _PLAIN_TARGETS * training.samples and training.samples >= _MANY
    if len(points) > 1 and plain and points[-2][0] > _LATE * training.samples and known > points[-1][1] + _LEAP:
        found.append(f"{right}, and {points[-1][1]:.0%} of the last that it learned from: {_ELSE}")
    return tuple(Reason(_ELSE, said) for said in found)


def other_programs(programs: Iterable[tuple[str, float]]) -> tuple[Reason, ...]:
    """Say so where what ran beside the worker and its forks used more than commands for information do.

    Args:
        programs: As `Execution.programs`.
    """
    worked = [
        (words, used) for words, used in programs if not (_INSTALLATION.match(words) and used <= _OF_AN_INSTALLATION)
    ]
    total = sum(used for _, used in worked)
    if total <= _OF_PROGRAMS:
        return ()
    words, _ = max(worked, key=lambda program: program[1])
    said = (
        f"the script started another program, which used {total:.0f} s of processor time ({one_line(words, 80)}): "
        "the grader did not count what that trained"
    )
    return (Reason("the script started another program", said),)


def unexplained_time(run: Run, image_seconds: float | None) -> tuple[Reason, ...]:
    """Say so where a job used far more processor time than its counted images explain. On a GPU nothing is said.

    Args:
        image_seconds: Processor time of one training image; None where it is not known.
    """
    if image_seconds is None or run.on_card:
        return ()
    explained = run.training.samples * image_seconds
    if run.processor_seconds <= _UNEXPLAINED * explained + _UNEXPLAINED_SECONDS:
        return ()
    said = (
        f"the job used {run.processor_seconds:,.0f} s of processor time, and the {run.training.samples:,} images that "
        f"the grader counted explain {explained:,.0f} s: {_ELSE}"
    )
    return (Reason("the job used more processor time than its counted images explain", said),)
