"""What the trace leaves out, what it bounds, and what is said when there is little or nothing to judge."""

import json
import os
import random
import runpy
import threading
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from grader.judge.verdict import Judgement, judge
from grader.protocol import NetworkSeen, Node, to_json
from grader.records import Deviation, Verdict
from grader.worker.look.network import build, look_at
from grader.worker.source import SCRIPT
from judged import NETWORKS, REFERENCE, TWO, OfConvolutions, judged, places, reference


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


@pytest.mark.parametrize("name", ["train", "eval"])
def test_a_method_of_a_script_that_trains_or_tests_is_not_taken_for_a_mode(name: str) -> None:
    def with_loader(network: nn.Module, loader: Any) -> None:
        raise AssertionError(loader)

    made = type("IdentityResNet", (REFERENCE["IdentityResNet"],), {name: with_loader})
    assert judge(look_at(made(*TWO), "", made), TWO) == Judgement(Verdict.CONFORMING)


@pytest.mark.parametrize("output", [torch.zeros(4, 11), torch.zeros(4), torch.zeros(4, 10, 1), (1, 2), None], ids=str)
def test_another_output_shape_is_named(output: object) -> None:
    judgement = judged(ConstantForward(output))
    assert judgement.verdict is Verdict.DEVIATES
    shaped = f"has the shape {tuple(output.shape)}, not" if isinstance(output, Tensor) else ""
    said = shaped or "is no tensor (is a return missing?); it should have the shape"
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


@pytest.mark.parametrize(("made", "line"), [("super", 3), ("Module", 5)], ids=["constructor", "forward"])
def test_where_a_network_fails_its_line_of_the_script_is_said(made: str, line: int) -> None:
    text = f"""class IdentityResNet(Module):
    def __init__(self, *counts):
        {made}.__init__(self)
    def forward(self, images):
        return self.convolution
"""
    names: dict[str, Any] = {"Module": nn.Module}
    exec(compile(text, SCRIPT, "exec"), names)
    network, failure = build(names["IdentityResNet"], TWO)
    (finding,) = judge(look_at(network, failure, names["IdentityResNet"]), TWO).findings
    assert f" (line {line})); see section 3.2" in finding.sentence


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
    assert [flag.words for flag in judgement.flags] == [
        "in eval mode the network computes something else than its traced graph"
    ]


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
