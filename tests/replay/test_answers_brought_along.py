"""A script that knows the test images gains nothing: no test image comes where its code runs."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader.assignment import Assignment
from grader.data import DataSet, count_correct
from grader.run.replay import Replayers
from grader.run.worker_client import EquippedSlot
from grader.sandbox import Isolation
from one_run import only_slot, train_at
from small_class import SMALL_SCRIPT

pytestmark = pytest.mark.sandbox

START = '''
import hashlib, json, sys
KNOWN = json.loads("""{known}""")
found = {{}}

def answer(pixels):
    return [KNOWN.get(hashlib.md5(image.tobytes()).hexdigest(), 0) for image in pixels]

class IdentityResNet(nn.Module):
    def __init__(self, *blocks):
        super().__init__()
        self.fc = nn.Linear(3072, 10)
'''
LOOKS_UP = """
    def forward(self, x):
        pixels = ((x * 0.5 + 0.5) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        return self.fc(x.flatten(1)) * 0.001 + F.one_hot(torch.tensor(answer(pixels)), 10)
"""
TAKES_THEM_FROM_ITS_CALLER = """
    def eval(self):
        frame = sys._getframe(1)
        while frame:
            for value in frame.f_locals.values():
                if getattr(value, "dtype", None) == "uint8" and getattr(value, "shape", ())[1:] == (32, 32, 3):
                    found["answers"] = answer(value)
            frame = frame.f_back
        return super().eval()

    def forward(self, x):
        scores = self.fc(x.flatten(1)) * 0.001
        if self.training or not found:
            return scores
        answers = found["answers"][:len(x)]
        del found["answers"][:len(x)]
        return scores + F.one_hot(torch.tensor((answers + [0] * len(x))[:len(x)]), 10)
"""


@pytest.fixture(scope="module")
def place(
    isolation: Isolation, digits: DataSet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[EquippedSlot, Replayers]]:
    with only_slot(digits, isolation, tmp_path_factory.mktemp("slot")) as ready:
        yield ready


@pytest.mark.parametrize("way", [LOOKS_UP, TAKES_THEM_FROM_ITS_CALLER], ids=["looks up", "takes from its caller"])
def test_a_script_that_carries_the_answers_gains_nothing(
    way: str, place: tuple[EquippedSlot, Replayers], digits: DataSet, assignment: Assignment, tmp_path: Path
) -> None:
    known = {
        hashlib.md5(image.tobytes()).hexdigest(): int(label)
        for image, label in zip(digits.x_test, digits.y_test, strict=True)
    }
    source = SMALL_SCRIPT.read_text(encoding="utf-8")
    start, end = source.index("class IdentityResNet"), source.index("net = IdentityResNet")
    network = START.replace("{known}", json.dumps(known)).replace("{{}}", "{}") + way
    (tmp_path / "hw6.py").write_text(source[:start] + network + "\n\n" + source[end:], encoding="utf-8")
    tested = train_at(*place, tmp_path / "hw6.py", assignment, digits)
    assert tested.scores is not None, tested.log.decode()
    assert count_correct(tested.scores, digits.y_test) < 0.5 * len(digits.y_test)
