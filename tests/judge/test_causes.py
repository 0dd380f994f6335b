"""One cause is one finding, the main one first, and no place is said twice."""

import runpy
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from torch import nn

from grader.judge.verdict import Judgement, judge
from grader.protocol import NetworkSeen
from grader.records import Deviation, Verdict
from grader.worker.look.network import look_at
from judged import NETWORKS, TWO, OfConvolutions, judged, reference


def traced(case: str) -> Judgement:
    made = runpy.run_path(str(NETWORKS / case / "hw6.py"), run_name="network")["IdentityResNet"]
    return judged(made(*TWO))


def narrow(seen: NetworkSeen, share: Fraction) -> NetworkSeen:
    """The same graph with another share of channels everywhere."""
    nodes = tuple(
        replace(node, shape=(node.shape[0], int(node.shape[1] * share), *node.shape[2:]))
        if index and len(node.shape) == 4
        else node
        for index, node in enumerate(seen.nodes)
    )
    return replace(seen, nodes=nodes)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (
            Fraction(1, 2),
            "All widths are half of what the handout asks for: 32, 64, 128, 256, and not 64, 128, 256, 512",
        ),
        (Fraction(2), "All widths are twice what the handout asks for: 128, 256, 512, 1024, and not 64, 128, 256, 512"),
        (Fraction(5, 4), "The stages have the widths 80, 160, 320, 640; the handout asks for 64, 128, 256, 512"),
    ],
)
def test_widths_that_are_all_wrong_in_the_same_way_are_one_finding(share: Fraction, said: str) -> None:
    (finding,) = judge(narrow(look_at(reference(), ""), share), TWO).findings
    assert finding.sentence == f"{said} (section 3.1)."
    assert (finding.code, finding.where) == (Deviation.WRONG_WIDTH, "first convolution")
    assert len(finding.also) == 8


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (
            "post_activation",
            "The blocks have the order convolution, BN, ReLU; Figure 1 has the order BN, ReLU, convolution, "
            "and nothing after the addition.",
        ),
        ("relu_after_add", "In every block, a ReLU follows the addition; in Figure 1 nothing follows it."),
        (
            "skip_convolution_everywhere",
            "In every block that keeps its shape, the skip connection passes through a convolution; "
            "in Figure 1 it adds the block's input as it is.",
        ),
        (
            "variant_skip_batch_norm",
            "In the first block of stages 2, 3 and 4, the skip connection has more than option A or B: "
            "a batch normalization (sections 3.1.3 and 3.1.4).",
        ),
        (
            "wrong_stride_second",
            "In the first block of stages 2, 3 and 4, the second convolution has stride 2; it belongs to the first one "
            "(sections 3.1.3 and 3.1.4).",
        ),
        (
            "wrong_width",
            "In block 2 of stage 3, the first convolution has 96 output channels; the handout asks for 256 "
            "(section 3.1.4).",
        ),
        (
            "shared_list_of_one_block",
            "Block 2 of stage 1 is the same module as block 1: all their layers are shared, and every layer of the "
            "handout has weights of its own (section 3.1).",
        ),
        (
            "unregistered_made_in_forward",
            "The linear layer is not registered in the network, so no optimizer trains it: keep layers in an "
            "nn.ModuleList or in attributes that __init__ makes (section 3.2).",
        ),
    ],
)
def test_one_cause_is_said_once_and_no_place_twice(case: str, said: str) -> None:
    assert {finding.sentence for finding in traced(case).findings} == {said}


def test_the_same_fault_in_both_halves_of_every_block_is_one_finding() -> None:
    seen = look_at(reference(), "")
    kept = [index for index, node in enumerate(seen.nodes) if node.op != "relu"]
    before = {index: index if index in kept else node.inputs[0] for index, node in enumerate(seen.nodes)}
    nodes = tuple(
        replace(seen.nodes[index], inputs=tuple(kept.index(before[each]) for each in seen.nodes[index].inputs))
        for index in kept
    )
    (finding,) = judge(replace(seen, nodes=nodes, output=len(nodes) - 1), TWO).findings
    assert finding.sentence == "In every block, both ReLUs are missing; the order in Figure 1 is BN, ReLU, convolution."


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((4, 4), "In every block of stage 1, there are two convolutions too many, with their BN and ReLU; "),
        ((4, 2), "In block 1 of stage 1, there are two convolutions too many, with their BN and ReLU; "),
        ((2, 3), "In block 2 of stage 1, there is one convolution too many, with its BN and ReLU; "),
        ((1, 1), "In every block of stage 1, one of the two convolutions is missing, with its BN and ReLU "),
        ((2, 1), "In block 2 of stage 1, one of the two convolutions is missing, with its BN and ReLU "),
    ],
    ids=str,
)
def test_convolutions_too_many_or_too_few_are_those_of_the_blocks_that_have_them(
    counts: tuple[int, int], said: str
) -> None:
    network = reference((2, 2, 1, 1))
    network.stage1 = nn.Sequential(*(OfConvolutions(64, count) for count in counts))
    (finding,) = judged(network, (2, 2, 1, 1)).findings
    assert finding.sentence.startswith(said)


def test_the_same_fault_in_blocks_of_several_stages_is_one_sentence() -> None:
    network = reference()
    for block, width in ((network.stage1[0], 64), (network.stage1[1], 64), (network.stage4[1], 512)):
        block.skip = nn.Conv2d(width, width, 1)
    (finding,) = judged(network).findings
    assert finding.sentence.startswith("In blocks 1 and 2 of stage 1 and block 2 of stage 4, the skip connection ")


def test_one_width_of_a_stage_is_one_finding() -> None:
    seen = look_at(reference(), "")
    nodes = tuple(
        replace(node, shape=(4, 192, *node.shape[2:])) if len(node.shape) == 4 and node.shape[1] == 256 else node
        for node in seen.nodes
    )
    (finding,) = judge(replace(seen, nodes=nodes), TWO).findings
    said = "The convolutions of stage 3 have 192 output channels; the handout asks for 256 (section 3.1.4)."
    assert finding.sentence == said


def small_layers(names: str, width: int) -> list[nn.Module]:
    made: dict[str, Callable[[], nn.Module]] = {
        "bn": lambda: nn.BatchNorm2d(width),
        "relu": nn.ReLU,
        "dropout": nn.Dropout,
        "conv": lambda: nn.Conv2d(width, width, 3, padding=1),
    }
    return [made[name]() for name in names.split()]


@pytest.mark.parametrize(
    ("names", "verdict"),
    [
        *(("bn", Verdict.VARIANT), ("bn relu", Verdict.VARIANT), ("relu bn", Verdict.VARIANT)),
        *(("relu", Verdict.DEVIATES), ("dropout", Verdict.DEVIATES)),
    ],
)
def test_the_same_layers_behind_the_first_convolution_and_before_the_pooling_are_judged_alike(
    names: str, verdict: Verdict
) -> None:
    first, last = reference((1, 1, 1, 1)), reference((1, 1, 1, 1))
    first.conv = nn.Sequential(first.conv, *small_layers(names, 64))
    last.stage4.extend(small_layers(names, 512))
    judgements = [judged(network, (1, 1, 1, 1)) for network in (first, last)]
    assert [judgement.verdict for judgement in judgements] == [verdict, verdict]
    assert [len(judgement.findings) for judgement in judgements] == [1, 1]


def test_what_is_missing_comes_before_what_is_shared_and_small_things_come_last() -> None:
    network = reference()
    network.stage4[1].relu = nn.Identity()
    network.stage1[1] = network.stage1[0]
    network.unused = nn.Linear(3, 3)
    network.fc = nn.Sequential(network.fc, nn.Softmax(1))
    codes = [finding.code for finding in judged(network).findings]
    weighty = codes.index(Deviation.SHARED_WEIGHTS)
    assert codes[0] is Deviation.EXTRA_LAYER
    assert codes[weighty:] == [Deviation.SHARED_WEIGHTS, Deviation.UNUSED_MODULE]


def test_of_a_network_without_blocks_no_block_is_looked_for_in_its_layers() -> None:
    network = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 512, 3, 8, 1), nn.ReLU())
    network.extend([nn.AvgPool2d(4), nn.Flatten(), nn.Linear(512, 10)])
    (finding,) = judged(network).findings
    assert finding.sentence == "Every block is missing (section 3.1)."


def with_blocks_of(names: str) -> Any:
    """A network of nine blocks in stage 1 whose way has these layers, and three right ones."""
    network = reference((9, 1, 1, 1))
    for block in network.stage1:
        way = nn.Sequential(*small_layers(names, 64))
        block.forward = lambda images, way=way: images + way(images)
        block.way = way
    return network


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("conv relu bn conv relu bn", "The blocks have the order convolution, ReLU, BN; "),
        ("conv bn relu conv bn", "The blocks have the order convolution, BN, ReLU; "),
        ("bn relu conv bn relu conv bn", "In every block that keeps its shape, there is a batch normalization "),
    ],
)
def test_the_order_that_is_named_is_that_of_the_blocks(names: str, said: str) -> None:
    findings = judged(with_blocks_of(names), (9, 1, 1, 1)).findings
    assert findings[0].sentence.startswith(said)
    assert all(each.sentence.startswith(said) for each in findings if each.code is not Deviation.UNUSED_MODULE)


def test_what_runs_for_nothing_in_several_places_is_one_sentence() -> None:
    network = reference((1, 1, 1, 1))
    for stage, width in ((network.stage2, 64), (network.stage3, 128)):
        stage[0].idle = nn.Conv2d(width, 8, 1)
        stage[0].register_forward_pre_hook(lambda block, images: (block.idle(*images), None)[1])
    sentences = {finding.sentence for finding in judged(network, (1, 1, 1, 1)).findings}
    said = (
        "The network runs stage2.0.idle and stage3.0.idle, but never uses what they compute for the scores "
        "(section 3.1)."
    )
    assert sentences == {said}


def test_blocks_that_run_twice_for_one_value_are_not_counted_twice() -> None:
    network = reference((1, 1, 1, 1))
    network.register_forward_pre_hook(lambda module, images: (module.stage1(module.conv(*images)), None)[1])
    seen = look_at(network, "")
    counts = (((3, 1, 2, 4), (6, 1, 2, 4)),)
    judgement = judge(replace(seen, behaviour=replace(seen.behaviour, counts=counts)), (1, 1, 1, 1))
    assert judgement.verdict is Verdict.CONFORMING
    (note,) = judgement.notes
    assert "twice. This is right" in note


def test_two_layers_with_one_weight_are_no_riddle_to_the_teacher() -> None:
    network = reference((1, 1, 1, 1))
    network.stage1[0].conv1.weight = network.stage1[0].conv2.weight
    judgement = judged(network, (1, 1, 1, 1))
    assert {finding.code for finding in judgement.findings} == {Deviation.SHARED_WEIGHTS}
    assert judgement.flags == ()


def changed(of: NetworkSeen, op: str, **values: Any) -> NetworkSeen:
    """The same graph with its first node of this kind made otherwise."""
    at = next(index for index, node in enumerate(of.nodes) if node.op == op)
    return replace(of, nodes=(*of.nodes[:at], replace(of.nodes[at], **values), *of.nodes[at + 1 :]))


def test_layers_that_do_nothing_are_said_with_what_is_missing() -> None:
    network = reference((1, 1, 1, 1))
    network.spare, network.stage1 = network.stage1, nn.Identity()
    findings = judged(network, (1, 1, 1, 1)).findings
    assert {finding.code for finding in findings} == {Deviation.MISSING_LAYER, Deviation.UNUSED_MODULE}
    (sentence,) = {finding.sentence for finding in findings}
    assert sentence.startswith("Stage 1 is missing (section 3.1.2). __init__ makes the layer spare, but")


def test_all_that_is_wrong_with_one_convolution_is_one_sentence() -> None:
    wrong = changed(look_at(reference((1, 1, 1, 1)), ""), "conv", kernel=(5, 5), stride=(2, 2))
    findings = judge(wrong, (1, 1, 1, 1)).findings
    assert {finding.code for finding in findings} == {Deviation.WRONG_STRIDE, Deviation.WRONG_KERNEL}
    assert {finding.sentence for finding in findings} == {
        "The first convolution has stride 2 and a filter of 5 x 5 with padding 1; "
        "the handout asks for stride 1 and 3 x 3 with padding 1 (section 3.1.1)."
    }


@pytest.mark.parametrize(("kernel", "right"), [((4, 4), True), ((3, 3), False)])
def test_a_pooling_window_that_leaves_a_part_of_the_image_out_is_no_average_of_it(
    kernel: tuple[int, int], right: bool
) -> None:
    seen = changed(look_at(reference((1, 1, 1, 1)), ""), "avg_pool", kernel=kernel)
    assert (judge(seen, (1, 1, 1, 1)).findings == ()) is right


def test_a_stage_of_another_width_is_no_other_number_of_blocks() -> None:
    seen = look_at(reference(), "")
    nodes = [
        replace(node, shape=(4, 256, 4, 4)) if node.shape[2:] == (4, 4) and node.op != "avg_pool" else node
        for node in seen.nodes
    ]
    (finding,) = judge(replace(seen, nodes=tuple(nodes)), TWO).findings
    assert finding.sentence == (
        "The convolutions of stage 4 have 256 output channels; the handout asks for 512 (section 3.1.4)."
    )


def test_the_first_convolution_of_all_and_that_of_a_block_are_not_one_layer() -> None:
    seen = look_at(reference(), "")
    wrong = ("conv.weight", "stage2.1.conv1.weight")
    nodes = [replace(node, shape=(4, 48, *node.shape[2:])) if node.weight in wrong else node for node in seen.nodes]
    assert {finding.sentence for finding in judge(replace(seen, nodes=tuple(nodes)), TWO).findings} == {
        "The first convolution has 48 output channels; the handout asks for 64 (section 3.1.1).",
        "In block 2 of stage 2, the first convolution has 48 output channels; "
        "the handout asks for 128 (section 3.1.3).",
    }
