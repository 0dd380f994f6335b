"""What is tested is judged, too: a network that is another one when it is tested is seen."""

import runpy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from command import ROOT, SUBMISSIONS
from grader.assignment import Assignment
from grader.judge.alignment import compare
from grader.judge.verdict import judge
from grader.protocol import NetworkSeen
from grader.records import Answer, Check, Deviation, Finding, Question, Reason, Verdict, still_blank
from grader.run.check import with_tested
from grader.worker.look.network import look_at

REFERENCE: Any = runpy.run_path(str(ROOT / "reference" / "hw6.py"), run_name="network")["IdentityResNet"]
DROPPED = Check(
    Verdict.VARIANT,
    (Finding(Deviation.EXTRA_LAYER, "classifier", "The classifier has a dropout."),),
    flags=(Reason.of("known"),),
)


def seen(make: Callable[[], nn.Module]) -> NetworkSeen:
    return look_at(make(), "")


class OnlyLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 32 * 32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.fc(x.flatten(start_dim=1))
        return scores


@pytest.fixture(scope="module")
def right() -> NetworkSeen:
    return seen(lambda: REFERENCE(2, 2, 2, 2))


def test_the_network_that_was_checked_changes_nothing_when_it_is_tested(
    right: NetworkSeen, assignment: Assignment
) -> None:
    assert with_tested(Check(Verdict.CONFORMING), right, assignment) == Check(Verdict.CONFORMING)


def test_what_only_train_mode_has_stays(right: NetworkSeen, assignment: Assignment) -> None:
    assert with_tested(DROPPED, right, assignment) == DROPPED


def test_another_network_is_judged_as_it_was_tested_and_flagged(assignment: Assignment) -> None:
    tested = with_tested(Check(Verdict.CONFORMING, flags=(Reason.of("known"),)), seen(OnlyLinear), assignment)
    assert tested.verdict is Verdict.DEVIATES
    assert {finding.code for finding in tested.findings} >= {Deviation.MISSING_LAYER}
    assert tested.message
    known, flag = tested.flags
    assert known.words == "known"
    assert flag.words.startswith("the network that was tested is not the one that was checked: ")


def test_what_ran_for_nothing_is_missed_by_nobody_when_the_network_is_tested(assignment: Assignment) -> None:
    case = runpy.run_path(str(SUBMISSIONS / "networks" / "dead_convolution" / "hw6.py"), run_name="network")
    network = case["IdentityResNet"](2, 2, 2, 2)
    checked = look_at(network, "")
    judged = judge(checked, assignment.blocks)
    known = Check(judged.verdict, judged.findings, layers=compare(checked, assignment.blocks))
    case["Odd"].forward = lambda block, x: block.conv2(torch.relu(block.bn2(x))) + x
    del network.stage3[1].bn1, network.stage3[1].conv1
    assert with_tested(known, look_at(network, ""), assignment) == known


def with_filter(network: NetworkSeen, which: int, side: int) -> NetworkSeen:
    """A network whose convolution of that number has a filter of another size."""
    nodes = list(network.nodes)
    at = [index for index, node in enumerate(nodes) if node.op == "conv"][which]
    nodes[at] = replace(nodes[at], kernel=(side, side), padding=(side // 2,) * 2)
    return replace(network, nodes=tuple(nodes))


@pytest.mark.parametrize(("which", "side", "said"), [(3, 5, ""), (3, 7, "filter of 7 x 7"), (5, 5, "filter of 5 x 5")])
def test_what_differs_as_before_in_another_place_or_size_is_another_network(
    right: NetworkSeen, assignment: Assignment, which: int, side: int, said: str
) -> None:
    checked = with_filter(right, 3, 5)
    judged = judge(checked, assignment.blocks)
    known = Check(judged.verdict, judged.findings, layers=compare(checked, assignment.blocks))
    tested = with_tested(known, with_filter(right, which, side), assignment)
    assert (tested == known) is not bool(said)
    assert [said in flag.words for flag in tested.flags] == [True] * bool(said)


def test_what_the_check_could_not_read_stays_unreadable(assignment: Assignment) -> None:
    unreadable = replace(DROPPED, verdict=Verdict.UNREADABLE)
    assert with_tested(unreadable, seen(OnlyLinear), assignment) == unreadable


def test_where_the_check_saw_no_network_the_trained_one_is_judged(right: NetworkSeen, assignment: Assignment) -> None:
    too_late = Check(Verdict.UNREADABLE, message="The script did not begin to train within 60 seconds.")
    judged, wrong = (with_tested(too_late, tested, assignment) for tested in (right, seen(OnlyLinear)))
    assert (judged.verdict, judged.findings, judged.message, judged.flags) == (Verdict.CONFORMING, (), "", ())
    assert judged.layers
    assert wrong.verdict is Verdict.DEVIATES
    assert wrong.message
    assert [each.notes for each in (judged, wrong)] == [too_late.notes + judged.notes[-1:]] * 2


def test_dots_beside_an_answer_leave_no_blank() -> None:
    questions = (Question("Q4", Answer.OK), Question("Q5", Answer.OK), Question("Q8", Answer.BLANK))
    assert still_blank(("Q4", "Q8", "line 12"), questions) == ("Q8", "line 12")
