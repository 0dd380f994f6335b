"""What a student is given, and the model answer: the same file but for the class and nine answers."""

import ast
import difflib
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from grader.worker.source import read_source

ROOT = Path(__file__).parents[2]
TEMPLATE, REFERENCE = ROOT / "student_template" / "hw6.py", ROOT / "reference" / "hw6.py"
BOTH = pytest.mark.parametrize("file", [TEMPLATE, REFERENCE], ids=["template", "reference"])


def run(file: Path) -> dict[str, Any]:
    """The names that a file defines when it is imported."""
    return runpy.run_path(str(file), run_name="hw6")


def outside_classes(file: Path) -> list[str]:
    """The lines of a file that are in no class, less the empty ones and what stands for the class's code."""
    text = file.read_text(encoding="utf-8")
    lines: list[str] = text.splitlines()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or 0) - node.lineno + 1)
    return [line for line in lines if line.strip() not in ("", "# your code here")]


def class_of(file: Path) -> ast.ClassDef:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "IdentityResNet")


def arguments(file: Path) -> list[str]:
    constructor = class_of(file).body[1]
    assert isinstance(constructor, ast.FunctionDef)
    return [argument.arg for argument in constructor.args.args]


def test_the_template_is_python_with_nine_blanks() -> None:
    source = read_source(TEMPLATE.read_bytes())
    assert source.seen.fault == ""
    assert source.seen.blanks == tuple(f"Q{number}" for number in range(1, 10))


def test_the_reference_has_no_blank_left() -> None:
    assert read_source(REFERENCE.read_bytes()).seen.blanks == ()
    assert "your code here" not in REFERENCE.read_text(encoding="utf-8")


@BOTH
def test_importing_trains_nothing_and_needs_no_data(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_data(*_: object, **__: object) -> None:
        raise AssertionError("a data set was made")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", no_data)
    monkeypatch.chdir(tmp_path)
    assert {"IdentityResNet", "main", "train", "evaluate"} <= run(file).keys()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_the_templates_class_can_be_made_before_it_is_filled_in() -> None:
    assert isinstance(run(TEMPLATE)["IdentityResNet"](2, 2, 2, 2), nn.Module)


@BOTH
def test_the_constructor_takes_the_four_block_counts(file: Path) -> None:
    assert arguments(file)[:5] == ["self", *(f"nblk_stage{number}" for number in range(1, 5))]


def test_outside_the_class_the_reference_keeps_all_but_the_blanks_and_its_recipe() -> None:
    blank, answered = outside_classes(TEMPLATE), outside_classes(REFERENCE)
    replaced = [
        blank[first:last]
        for kind, first, last, *_ in difflib.SequenceMatcher(None, blank, answered, autojunk=False).get_opcodes()
        if kind in ("replace", "delete")
    ]
    assert all(len(lines) == 1 for lines in replaced), replaced
    lines = [line.strip() for (line,) in replaced]
    recipe = [line for line in lines if "..." not in line]
    assert len(lines) - len(recipe) == 9
    assert [line.split(" = ")[0] for line in recipe] == ["trainset", "criterion"]


def test_the_class_says_the_same_in_both() -> None:
    template, reference = class_of(TEMPLATE), class_of(REFERENCE)
    assert ast.get_docstring(template) == ast.get_docstring(reference)
    forwards = [
        next(node for node in each.body if isinstance(node, ast.FunctionDef) and node.name == "forward")
        for each in (template, reference)
    ]
    assert ast.get_docstring(forwards[0]) == ast.get_docstring(forwards[1])


@pytest.mark.parametrize("option", ["A", "B"])
def test_the_reference_gives_ten_scores_for_each_image(option: str) -> None:
    network = run(REFERENCE)["IdentityResNet"](1, 2, 1, 1, option=option).eval()
    with torch.no_grad():
        scores = network(torch.randn(3, 3, 32, 32))
    assert scores.shape == (3, 10)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("training", [True, False])
def test_a_block_without_weights_is_the_identity(training: bool) -> None:
    block = run(REFERENCE)["PreActivationBlock"](4).train(training)
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("option", "kept"), [("A", True), ("B", False)])
def test_option_a_pools_the_input_and_adds_empty_channels(option: str, kept: bool) -> None:
    block = run(REFERENCE)["PreActivationBlock"](4, halve=True, option=option)
    for layer in (block.conv1, block.conv2):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = torch.randn(2, 4, 8, 8)
    out = block(x)
    assert out.shape == (2, 8, 4, 4)
    expected = torch.cat((nn.functional.max_pool2d(x, 2), torch.zeros(2, 4, 4, 4)), dim=1)
    assert torch.equal(out, expected) is kept
