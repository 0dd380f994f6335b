"""What the trace leaves out, what it bounds, and what is said when there is little or nothing to judge."""

import json
import os
import random
import runpy
import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from grader.judge.verdict import Judgement, judge
from grader.protocol import NetworkSeen, Node, to_json
from grader.records import Deviation, Verdict
from grader.worker.look.network import look_at

REFERENCE = runpy.run_path(str(Path(__file__).parents[2] / "reference" / "hw6.py"), run_name="reference")
NETWORKS = Path(__file__).parents[1] / "submissions" / "networks"
TWO = (2, 2, 2, 2)


def reference(blocks: tuple[int, ...] = TWO, option: str = "B") -> Any:
    return REFERENCE["IdentityResNet"](*blocks, option=option)


def judged(network: object, blocks: tuple[int, ...] = TWO, constructor_error: str = "") -> Judgement:
    return judge(look_at(network, constructor_error), blocks)


def places(judgement: Judgement) -> list[tuple[Deviation, str]]:
    return [(finding.code, finding.where) for finding in judgement.findings]


class ConstantForward(nn.Module):
    """Whatever it is given, its forward returns one fixed thing, or raises it."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, images: Tensor) -> object:
        if isinstance(self.output, Exception):
            raise self.output
        return self.output


class ChangesInEvalMode(nn.Module):
    """A right network in train mode, from which the graph is taken; in eval mode its scores are others."""

    def __init__(self) -> None:
        super().__init__()
        self.network = reference()

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.network(images)
        return scores if self.training else scores.flip(1)


def decorated(decorator: Any) -> Any:
    """A small right network whose forward is decorated."""
    made = REFERENCE["IdentityResNet"]
    return type("IdentityResNet", (made,), {"forward": decorator(made.forward)})(1, 1, 1, 1, option="A")


@pytest.mark.parametrize("option", ["A", "B"])
@pytest.mark.parametrize("blocks", [TWO, (3, 1, 2, 1)], ids=str)
def test_the_reference_conforms_with_any_number_of_blocks(blocks: tuple[int, ...], option: str) -> None:
    assert judged(reference(blocks, option), blocks) == Judgement(Verdict.CONFORMING)


@pytest.mark.parametrize("output", [torch.zeros(4, 11), torch.zeros(4), torch.zeros(4, 10, 1), (1, 2), None], ids=str)
def test_another_output_shape_is_named(output: object) -> None:
    judgement = judged(ConstantForward(output))
    assert judgement.verdict is Verdict.DEVIATES
    shaped = f"has the shape {tuple(output.shape)}, not" if isinstance(output, Tensor) else ""
    said = shaped or "is no tensor; it should have the shape"
    assert any(f"the output {said} (4, 10)" in finding.sentence for finding in judgement.findings)


def test_what_runs_for_nothing_at_the_first_convolution_is_said_without_its_name_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.stem = reference((1, 1, 1, 1)), nn.Conv2d(3, 64, 3, padding=1)

        def forward(self, images: Tensor) -> Tensor:
            self.stem(images)
            scores: Tensor = self.network(images)
            return scores

    (finding,) = judged(Twice(), (1, 1, 1, 1)).findings
    assert finding.sentence.startswith("At the first convolution, the convolution stem is computed, but never used")


def test_an_error_that_is_quoted_keeps_no_full_stop_inside_a_sentence() -> None:
    (finding,) = judged(ConstantForward(ValueError("Sizes must match."))).findings
    assert "(ValueError: Sizes must match); see section 3.2.1." in finding.sentence


def test_a_second_linear_layer_is_another_one() -> None:
    network = reference((1, 1, 1, 1))
    network.fc = nn.Sequential(network.fc, nn.ReLU(), nn.Linear(10, 10))
    (finding,) = judged(network, (1, 1, 1, 1)).findings
    assert "After the linear layer there is a ReLU and another linear layer that" in finding.sentence


def test_scores_that_do_not_depend_on_the_images_are_named() -> None:
    judgement = judged(ConstantForward(torch.ones(4, 10)))
    assert judgement.verdict is Verdict.DEVIATES
    assert places(judgement)[0] == (Deviation.DEAD_LAYER, "forward")


def test_scores_that_are_drawn_at_random_are_not_taken_for_ones_that_the_images_matter_to() -> None:
    class Drawn(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.rand(len(images), 10)

    assert Deviation.NOT_DIFFERENTIABLE not in {code for code, _ in places(judged(Drawn()))}


def test_a_frozen_layer_is_named_as_one_that_no_gradient_reaches() -> None:
    network = reference((1, 1, 1, 1))
    network.fc.requires_grad_(False)
    assert places(judged(network, (1, 1, 1, 1))) == [(Deviation.NOT_DIFFERENTIABLE, "linear layer")]


def test_a_forward_that_raises_leaves_the_network_unread() -> None:
    judgement = judged(ConstantForward(ValueError("two\nlines")))
    assert judgement.verdict is Verdict.UNREADABLE
    assert places(judgement) == [(Deviation.OUTPUT_SHAPE, "forward")]
    assert "ValueError: two lines" in judgement.findings[0].sentence


@pytest.mark.parametrize(("case", "noted"), [("relu_after_last_add", True), ("skip_missing", False)])
def test_other_block_counts_are_noted_of_a_network_that_deviates_where_blocks_can_be_counted(
    case: str, noted: bool
) -> None:
    counts = (((1, 1, 1, 1), (2, 2, 2, 2)), ((3, 1, 2, 4), (3, 1, 2, 4)))
    make = runpy.run_path(str(NETWORKS / case / "hw6.py"), run_name="network")["IdentityResNet"]
    seen = look_at(make(*TWO), "")
    judgement = judge(replace(seen, behaviour=replace(seen.behaviour, counts=counts)), TWO)
    assert judgement.verdict is Verdict.DEVIATES
    said = (
        "IdentityResNet(1, 1, 1, 1) has (2, 2, 2, 2) blocks. Other numbers of blocks than (2, 2, 2, 2) are optional.",
    )
    assert judgement.notes == (said if noted else ())


@pytest.mark.parametrize(
    ("single_image", "counts"),
    [
        ("RuntimeError: sizes", (((1, 1, 1, 1), "RuntimeError: sizes"), ((3, 1, 2, 4), "RuntimeError: sizes"))),
        ((1, 10), (((1, 1, 1, 1), (1, 1, 1, 2)), ((3, 1, 2, 4), (3, 1, 2, 5)))),
    ],
    ids=["one image fails", "noise is added besides"],
)
def test_block_counts_that_another_fault_makes_wrong_are_not_noted(single_image: Any, counts: Any) -> None:
    seen = look_at(reference(), "")
    behaviour = replace(seen.behaviour, single_image=single_image, counts=counts)
    assert judge(replace(seen, behaviour=behaviour), TWO).notes == ()


def test_a_class_that_makes_no_module_is_named() -> None:
    judgement = judged("a network")
    assert judgement.verdict is Verdict.DEVIATES
    assert places(judgement) == [(Deviation.NOT_A_MODULE, "network")]


def test_a_constructor_that_fails_is_named_and_its_network_still_read() -> None:
    judgement = judged(reference(), constructor_error="TypeError: takes 3")
    assert judgement.verdict is Verdict.DEVIATES
    assert places(judgement) == [(Deviation.CONSTRUCTOR, "constructor")]
    assert "IdentityResNet(2, 2, 2, 2) failed (TypeError: takes 3)" in judgement.findings[0].sentence


def test_a_network_that_differs_from_its_trace_is_flagged() -> None:
    judgement = judged(ChangesInEvalMode())
    assert judgement.verdict is Verdict.CONFORMING
    assert judgement.flags == ("in eval mode the network computes something else than its traced graph",)


class Cast(nn.Module):
    """A right network that changes its images to a precision of its own."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = reference().to(dtype)
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.to(self.dtype))  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_network_is_fed_what_it_takes(dtype: torch.dtype) -> None:
    judgement = judged(Cast(dtype))
    assert (judgement.verdict, judgement.flags) == (Verdict.CONFORMING, ())


def test_a_network_of_a_script_in_double_precision_is_judged_as_any_other() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        judgement = judge(look_at(reference(), "", REFERENCE["IdentityResNet"]), TWO)
    finally:
        torch.set_default_dtype(torch.float32)
    assert judgement.verdict is Verdict.CONFORMING
    assert judgement.flags == ()


def test_parameters_are_the_trainable_scalars() -> None:
    network = reference((1, 1, 1, 1))
    expected = sum(weight.numel() for weight in network.parameters())
    assert look_at(network, "").parameters == expected
    network.fc.requires_grad_(False)
    assert look_at(network, "").parameters == expected - 512 * 10 - 10


def test_looking_changes_nothing_of_the_network() -> None:
    network = reference((1, 1, 1, 1)).half().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert look_at(network, "").output_shape == (4, 10)
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_network_that_keeps_a_tensor_of_an_earlier_forward_is_read() -> None:
    network = reference((1, 1, 1, 1))
    network.kept = network(torch.zeros(2, 3, 32, 32))
    assert judged(network, (1, 1, 1, 1)).verdict is Verdict.CONFORMING


@pytest.mark.parametrize(
    "held",
    [threading.Lock, lambda: os.fdopen(os.open(os.devnull, os.O_RDONLY)), lambda: (number for number in range(3))],
    ids=["a lock", "a file", "a generator"],
)
def test_a_network_that_cannot_be_copied_is_read_and_stays_as_it_is(held: Any) -> None:
    network = reference((1, 1, 1, 1)).half().eval()
    network.held = held()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert judged(network, (1, 1, 1, 1)) == Judgement(Verdict.CONFORMING)
    assert not any(module.training for module in network.modules())
    after = network.state_dict()
    assert all(value.dtype == before[name].dtype for name, value in after.items())
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    if hasattr(network.held, "close"):
        network.held.close()


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_a_network_with_compiled_parts_is_read_as_any_other() -> None:
    """As on a student's machine, where nothing takes the compiler's place."""
    network = reference((1, 1, 1, 1))
    block: Any = OfConvolutions(64, 2)
    block.way = torch.jit.script(block.way)
    network.stage1 = nn.Sequential(block)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert judged(network, (1, 1, 1, 1)) == Judgement(Verdict.CONFORMING)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    "mode", [torch.no_grad, torch.inference_mode, torch.enable_grad], ids=lambda mode: mode.__name__
)
def test_the_graph_is_the_same_in_every_gradient_mode(mode: Any) -> None:
    assert look_at(decorated(mode()), "").nodes == look_at(decorated(lambda forward: forward), "").nodes


def test_under_autocast_the_graph_is_the_same() -> None:
    usual = look_at(decorated(lambda forward: forward), "").nodes
    assert look_at(decorated(torch.autocast("cpu", dtype=torch.bfloat16)), "").nodes == usual


def test_the_description_of_any_network_is_bounded() -> None:
    deep = look_at(nn.Sequential(*[nn.Conv2d(3, 3, 1)] * 1000), "")
    assert "operations" in deep.forward_error
    assert len(to_json(deep)) < 10_000
    loud = look_at(ConstantForward(ValueError("x" * 1_000_000)), "")
    assert len(to_json(loud)) < 10_000
    many = look_at(ConstantForward(torch.zeros([1] * 60)), "")
    assert len(to_json(many)) < 10_000
    long = nn.Sequential()
    for index in range(280):
        long.add_module(f"{'n' * 100}{index}", nn.Conv2d(3, 3, 1))
    assert len(to_json(look_at(long, ""))) < 10_000
    wide = nn.ModuleDict({f"{'n' * 500}{index}": nn.Linear(1, 1) for index in range(300)})
    wide.forward = lambda images: images.mean((1, 2, 3))
    assert len(to_json(look_at(wide, ""))) < 50_000


def test_a_description_survives_its_way_as_json() -> None:
    seen = look_at(reference((1, 1, 1, 1)), "", REFERENCE["IdentityResNet"])
    assert TypeAdapter(NetworkSeen).validate_json(to_json(seen)) == seen


@pytest.mark.parametrize(
    ("inputs", "output"),
    [((0,), 2), ((1,), 1), ((-1,), 1), ((), 1), ((0,), -1)],
    ids=["no such output", "itself", "before the first", "nothing", "negative output"],
)
def test_a_forged_graph_that_is_none_is_not_accepted(inputs: tuple[int, ...], output: int) -> None:
    forged = json.dumps(
        {
            "is_module": True,
            "nodes": [{"op": "input", "inputs": (), "shape": (4, 3)}, {"op": "relu", "inputs": inputs, "shape": ()}],
            "output": output,
            "event": "network",
        }
    )
    with pytest.raises(ValidationError):
        TypeAdapter(NetworkSeen).validate_json(forged)


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


class OfConvolutions(nn.Module):
    """A block that keeps its shape, of so many convolutions, each with its BN and ReLU."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        layers = [(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)) for _ in range(count)]
        self.way = nn.Sequential(*(layer for three in layers for layer in three))

    def forward(self, images: Tensor) -> Tensor:
        return torch.add(images, self.way(images))


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
    said = "The network computes stage2.0.idle and stage3.0.idle, but never uses them for the scores (section 3.1)."
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


@pytest.mark.parametrize("seed", range(20))
def test_whatever_graph_comes_out_of_a_sandbox_there_is_a_verdict(seed: int) -> None:
    chance = random.Random(seed)
    operations = ["conv", "batch_norm", "relu", "add", "max_pool", "avg_pool", "zero_channels", "linear", "cat", ""]
    nodes = [Node("input", (), (4, 3, 32, 32))]
    for index in range(1, chance.randrange(2, 200)):
        few = tuple(chance.randrange(max(0, index - 5), index) for _ in range(chance.randrange(1, 4)))
        pair = tuple(chance.randrange(6) for _ in range(chance.randrange(3)))
        operation = chance.choice(operations)
        shape = tuple(chance.randrange(600) for _ in range(chance.randrange(2 if operation == "conv" else 0, 5)))
        weight = chance.choice(["", "a.weight", "b.weight", f"c.{index}.weight"])
        nodes.append(Node(operation, few, shape, weight, chance.random() < 0.9, pair, pair, pair))
    seen = NetworkSeen(is_module=True, nodes=tuple(nodes), output=len(nodes) - 1, output_shape=(4, 10))
    assert judge(seen, TWO).verdict is Verdict.DEVIATES
