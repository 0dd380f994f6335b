"""Check your hw6.py: run `pytest` in this folder. `HW6=other.py pytest` checks another file.

Every test asks one thing of the assignment. Start with the first one that fails.
"""

import functools
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
FILE = Path(os.environ.get("HW6", HERE / "hw6.py")).resolve()
# The check itself is the grader's: beside this file in the handout, one folder up in the grader's own repository.
CODE = next((folder for folder in (HERE, HERE.parent) if (folder / "grader" / "student").is_dir()), None)
if CODE is None:
    raise pytest.Collector.CollectError(
        "This check needs the folder `grader` beside it: unpack the whole zip file of the homework, "
        "put your hw6.py into its folder, and run pytest there."
    )
sys.path.insert(0, str(CODE))

from grader.judge.verdict import Judgement, judge, keeps_its_input  # noqa: E402
from grader.protocol import NetworkSeen  # noqa: E402
from grader.records import Deviation, Verdict  # noqa: E402
from grader.student.observe import ASKED, NO_LAYERS, observe  # noqa: E402

SECONDS = 60  # of work: what others do on the same machine does not count
WEIGHTS = {
    *(Deviation.SHARED_WEIGHTS, Deviation.DEAD_LAYER, Deviation.UNUSED_MODULE, Deviation.UNREGISTERED_MODULE),
    Deviation.NOT_DIFFERENTIABLE,
}
BEHAVIOUR = {Deviation.SINGLE_IMAGE, Deviation.BATCH_DEPENDENT, Deviation.NONDETERMINISTIC}


SAID = {}  # each sentence, and the test that said it first


def fail(sentence):
    """Fail with a sentence; where an earlier test said it, with that test's name."""
    here = os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split()[0]
    first = SAID.setdefault(sentence, here)
    pytest.fail(sentence if first == here else f"The same as in {first}.", pytrace=False)


@pytest.fixture(autouse=True, scope="session")
def each_sentence_once(request):
    """Leave out pytest's summary of the failures, which stand above it in whole sentences."""
    if reporter := request.config.pluginmanager.get_plugin("terminalreporter"):
        reporter.reportchars = ""


@functools.cache
def observed():
    """Run the file once in a process of its own."""
    return observe(FILE, SECONDS)


def network():
    """What was seen of the network, or a failure that says why there is none."""
    seen = observed()
    if seen.network is None:
        fail(seen.fault or "There is no class IdentityResNet in the file.")
    return seen.network


def judged():
    found: NetworkSeen = network()
    if observed().without_layers:
        fail(NO_LAYERS)
    return judge(found, (2, 2, 2, 2))


def expect_nothing(chosen):
    """Fail with the first finding that is chosen; what is small and defensible passes."""
    judgement: Judgement = judged()
    if judgement.verdict is Verdict.UNREADABLE:
        fail(judgement.findings[0].sentence)
    if judgement.verdict is Verdict.DEVIATES:
        for finding in judgement.findings:
            if chosen(finding):
                fail(finding.sentence)


def expect_place(part):
    def chosen(finding):
        here = any(place.startswith(part) for place in (finding.where, *finding.also))
        return here and finding.code not in WEIGHTS | BEHAVIOUR

    expect_nothing(chosen)


def expect_answer(number):
    seen = observed()
    if not seen.questions:
        fail(seen.fault or "The file could not be run.")
    question = seen.questions[number - 1]
    if question.answer != "ok":
        if question.answer == "unknown" and seen.fault:
            fail(seen.fault)
        fail(f"Q{number}. Expected: {ASKED[number - 1]} Found: {question.reason}")


def test_the_file_can_be_run_from_top_to_bottom():
    if observed().fault:
        fail(observed().fault)


def test_q1_device():
    expect_answer(1)


def test_q2_batch_size():
    expect_answer(2)


def test_q3_network_on_the_device():
    expect_answer(3)


def test_q4_sgd_with_momentum():
    expect_answer(4)


def test_q5_gradients_of_the_batch_before():
    expect_answer(5)


def test_q6_forward_pass():
    expect_answer(6)


def test_q7_backpropagation():
    expect_answer(7)


def test_q8_optimizer_step():
    expect_answer(8)


def test_q9_testing_without_gradients():
    expect_answer(9)


def test_constructor_takes_four_block_counts():
    found = network()
    if found.constructor_error:
        fail(f"IdentityResNet(2, 2, 2, 2) failed: {found.constructor_error}; see section 3.2.")
    if not found.is_module:
        fail("IdentityResNet is not an nn.Module; see section 3.2.")


def test_forward_gives_ten_scores_for_each_image():
    expect_nothing(lambda finding: finding.code is Deviation.OUTPUT_SHAPE)


def test_first_convolution():
    expect_place("first convolution")


def test_stage1_keeps_the_image_and_the_channels():
    expect_place("stage 1")


def test_stage2_halves_the_image_and_doubles_the_channels():
    expect_place("stage 2")


def test_stage3_halves_the_image_and_doubles_the_channels():
    expect_place("stage 3")


def test_stage4_halves_the_image_and_doubles_the_channels():
    expect_place("stage 4")


def test_average_pooling_follows_stage_4():
    expect_place("average pooling")
    expect_place("after stage 4")


def test_linear_layer_gives_the_scores():
    expect_place("linear layer")


def test_every_layer_has_weights_of_its_own_and_is_trained():
    expect_nothing(lambda finding: finding.code in WEIGHTS)


def test_zeroed_convolutions_make_the_block_the_identity():
    found = network()
    judged()
    if not any(node.op == "add" for node in found.nodes):
        fail("No block adds its input to its output; see Figure 1.")
    if not keeps_its_input(found):
        fail("With all weights of the convolutions 0, a block that keeps its shape changes its input; see section 3.1.")


def test_one_image_alone_and_any_batch():
    expect_nothing(lambda finding: finding.code in BEHAVIOUR)
