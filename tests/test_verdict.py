"""A network is judged by what ran in a real forward, against the handout's section 3.1."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from grader.check.graph import look_at
from grader.check.verdict import judge
from grader.records import Deviation, Finding, Verdict
from grader.telemetry import NetworkSeen, to_json

REFERENCE = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "hw6.py"), run_name="reference")
TWO = (2, 2, 2, 2)


def reference(blocks: tuple[int, ...] = TWO, option: str = "B", device: str = "meta") -> Any:
    """The model answer; on the meta device it has shapes and no numbers, so that looking at it costs nothing."""
    with torch.device(device):
        return REFERENCE["IdentityResNet"](*blocks, option=option)


def judged(
    network: object, blocks: tuple[int, ...] = TWO, constructor_error: str = ""
) -> tuple[Verdict, list[Finding]]:
    verdict, findings = judge(look_at(network, constructor_error), blocks)
    return verdict, list(findings)


def places(findings: list[Finding]) -> list[tuple[Deviation, str]]:
    return [(finding.code, finding.where) for finding in findings]


class ConstantForward(nn.Module):
    """Whatever it is given, its forward returns one fixed thing, or raises it."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, images: torch.Tensor) -> object:
        if isinstance(self.output, Exception):
            raise self.output
        return self.output


@pytest.mark.parametrize("option", ["A", "B"])
def test_the_reference_conforms_on_the_processor(option: str) -> None:
    assert judged(reference(option=option, device="cpu")) == (Verdict.CONFORMING, [])


@pytest.mark.parametrize("option", ["A", "B"])
@pytest.mark.parametrize("blocks", [TWO, (1, 1, 1, 1), (3, 1, 2, 1)], ids=str)
def test_the_reference_conforms_with_any_number_of_blocks(blocks: tuple[int, ...], option: str) -> None:
    assert judged(reference(blocks, option), blocks) == (Verdict.CONFORMING, [])


@pytest.mark.parametrize(
    ("blocks", "code", "where"),
    [
        ((2, 2, 1, 2), Deviation.MISSING_LAYER, "stage 3"),
        ((1, 2, 2, 2), Deviation.MISSING_LAYER, "stage 1"),
        ((2, 3, 2, 2), Deviation.EXTRA_LAYER, "stage 2"),
        ((2, 2, 2, 3), Deviation.EXTRA_LAYER, "stage 4"),
    ],
    ids=str,
)
def test_a_stage_with_another_number_of_blocks_is_named(blocks: tuple[int, ...], code: Deviation, where: str) -> None:
    verdict, findings = judged(reference(blocks))
    assert verdict is Verdict.DEVIATES
    assert places(findings) == [(code, where)]


def conv(inputs: int, outputs: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=size, padding=size // 2)


def wrong_width(network: Any) -> None:
    block = network.stage2[1]
    block.conv1, block.bn2, block.conv2 = conv(128, 96), nn.BatchNorm2d(96), conv(96, 128)


def wrong_kernel(network: Any) -> None:
    network.stage1[0].conv2 = conv(64, 64, size=5)


def wrong_linear_layer(network: Any) -> None:
    network.fc = nn.Sequential(nn.ConstantPad1d((0, 88), 0.0), nn.Linear(600, 10))


def two_linear_layers(network: Any) -> None:
    network.fc = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 10))


def no_linear_layer(network: Any) -> None:
    network.fc = nn.ConstantPad1d((0, -502), 0.0)


def a_convolution_of_another_size(network: Any) -> None:
    network.conv = nn.Sequential(network.conv, nn.ConstantPad2d(-4, 0.0), conv(64, 64), nn.ConstantPad2d(4, 0.0))


def a_second_shortcut(network: Any) -> None:
    network.stage4[0].skip_conv = nn.Sequential(
        network.stage4[0].skip_conv, nn.Upsample(scale_factor=2), nn.Conv2d(512, 512, kernel_size=1, stride=2)
    )


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        (wrong_width, Deviation.WRONG_WIDTH, "stage 2"),
        (wrong_kernel, Deviation.WRONG_KERNEL, "stage 1"),
        (wrong_linear_layer, Deviation.WRONG_WIDTH, "linear layer"),
        (two_linear_layers, Deviation.EXTRA_LAYER, "linear layer"),
        (no_linear_layer, Deviation.MISSING_LAYER, "linear layer"),
        (a_convolution_of_another_size, Deviation.EXTRA_LAYER, "network"),
        (a_second_shortcut, Deviation.EXTRA_LAYER, "stage 4's skip connections"),
    ],
)
def test_a_layer_that_differs_is_named_with_its_place(
    change: Callable[[Any], None], code: Deviation, where: str
) -> None:
    network = reference()
    with torch.device("meta"):
        change(network)
    verdict, findings = judged(network)
    assert verdict is Verdict.DEVIATES
    assert (code, where) in places(findings)


def test_layers_that_never_run_do_not_count() -> None:
    network = reference()
    network.unused = nn.ModuleList([conv(64, 64), nn.Linear(512, 10)])
    network.to("meta")
    assert judged(network) == (Verdict.CONFORMING, [])


@pytest.mark.parametrize("output", [torch.zeros(4, 11), torch.zeros(4), torch.zeros(4, 10, 1), (1, 2), None], ids=str)
def test_another_output_shape_is_named(output: object) -> None:
    verdict, findings = judged(ConstantForward(output))
    assert verdict is Verdict.DEVIATES
    assert places(findings)[0] == (Deviation.OUTPUT_SHAPE, "forward")
    shape = str(tuple(output.shape)) if isinstance(output, torch.Tensor) else "no tensor"
    assert f"the output is {shape}, not (4, 10)" in findings[0].sentence


def test_a_forward_that_raises_leaves_the_network_unread() -> None:
    verdict, findings = judged(ConstantForward(ValueError("two\nlines")))
    assert verdict is Verdict.UNREADABLE
    assert places(findings) == [(Deviation.OUTPUT_SHAPE, "forward")]
    assert "ValueError: two lines" in findings[0].sentence


def test_a_class_that_makes_no_module_is_named() -> None:
    verdict, findings = judged("a network")
    assert verdict is Verdict.DEVIATES
    assert places(findings) == [(Deviation.NOT_A_MODULE, "network")]


def test_a_constructor_that_fails_is_named_and_its_network_still_read() -> None:
    verdict, findings = judged(reference(), constructor_error="TypeError: takes 3")
    assert verdict is Verdict.DEVIATES
    assert places(findings) == [(Deviation.CONSTRUCTOR, "constructor")]
    assert "IdentityResNet(2, 2, 2, 2) failed (TypeError: takes 3)" in findings[0].sentence


def test_a_constructor_that_never_worked_is_named_first() -> None:
    _, findings = judged(None, constructor_error="TypeError: takes 3")
    assert places(findings)[0] == (Deviation.CONSTRUCTOR, "constructor")


def test_parameters_are_the_trainable_scalars() -> None:
    network = reference()
    expected = sum(weight.numel() for weight in network.parameters())
    assert look_at(network, "").parameters == expected
    network.fc.requires_grad_(False)
    assert look_at(network, "").parameters == expected - 512 * 10 - 10


def test_looking_changes_nothing_of_the_network() -> None:
    network = reference((1, 1, 1, 1), device="cpu").half().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert look_at(network, "").output_shape == (4, 10)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_layers_are_described_in_the_order_in_which_they_ran() -> None:
    layers = look_at(reference((1, 1, 1, 1)), "").layers
    assert [(layer.kind, layer.outputs, layer.size) for layer in layers] == [
        *[("conv", 64, 32)] * 3,
        *[("conv", 128, 16)] * 3,
        *[("conv", 256, 8)] * 3,
        *[("conv", 512, 4)] * 3,
        ("linear", 10, 1),
    ]
    assert sum(layer.kernel == (1, 1) and layer.stride == (2, 2) for layer in layers) == 3


def test_the_description_of_any_network_is_bounded() -> None:
    deep = nn.Sequential(*[nn.Conv2d(3, 3, 1, device="meta")] * 1000)
    seen = look_at(deep, "")
    assert seen.output_shape == (4, 3, 32, 32)
    assert len(to_json(seen)) < 50_000
    loud = look_at(ConstantForward(ValueError("x" * 1_000_000)), "")
    assert len(to_json(loud)) < 10_000
    many = look_at(ConstantForward(torch.zeros([1] * 2_000)), "")
    assert len(to_json(many)) < 10_000


def test_a_description_survives_its_way_as_json() -> None:
    seen = look_at(reference((1, 1, 1, 1)), "")
    assert NetworkSeen(**json.loads(to_json(seen))).parameters == seen.parameters
