"""The probes notice answers that were carried in, and have nothing to say about an honest network."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from command import read_table, run_grader
from grader.assignment import load_assignment
from grader.data import DataSet, load_data
from grader.records import CLASSES, Probes
from grader.results.messages import for_teacher
from grader.results.score import grade
from grader.run.probes import ImagesToScore, images_to_score, probe_doubts, read_answer
from record_examples import SUBMISSION, entry
from small_class import SMALL_SCRIPT

Images = npt.NDArray[np.uint8]
Network = Callable[[Images], npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def data() -> DataSet:
    """Stripes of a width and a brightness of its own for each class: the same when shifted or mirrored."""
    labels = np.arange(600) % CLASSES
    noise = np.random.default_rng(0).integers(0, 8, (600, 32, 32, 3))
    images = (labels * 20 + 20).reshape(-1, 1, 1, 1) + noise
    return replace(load_data("digits"), x_test=images.astype(np.uint8), y_test=labels.astype(np.int64), mirrors=True)


def one_hot(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    return np.eye(CLASSES, dtype=np.float32)[labels]


def honest(images: Images) -> npt.NDArray[np.float32]:
    return one_hot(np.clip((images.mean(axis=(1, 2, 3)) - 13) // 20, 0, 9).astype(np.int64))


def ignorant(images: Images) -> npt.NDArray[np.float32]:
    return one_hot(np.zeros(len(images), np.int64))


def answered(questions: ImagesToScore, data: DataSet, trained: Network, untrained: Network) -> tuple[bytes, Probes]:
    rows = np.concatenate([trained(questions.images), untrained(questions.images[: questions.untrained])])
    answer = rows.astype("<f4").tobytes()
    assert len(answer) == questions.answer_bytes
    return read_answer(answer, questions, data.y_test)


def looks_up(data: DataSet) -> Network:
    known = {image.tobytes(): label for image, label in zip(data.x_test, data.y_test, strict=True)}
    return lambda images: one_hot(np.array([known.get(image.tobytes(), 0) for image in images]))


def test_scores_come_back_in_the_order_of_the_test_set(data: DataSet) -> None:
    scores, _ = answered(images_to_score(data, np.random.default_rng()), data, honest, ignorant)
    assert np.array_equal(np.frombuffer(scores, "<f4").reshape(-1, CLASSES).argmax(axis=1), data.y_test)


def test_the_order_and_the_choice_are_new_each_time(data: DataSet) -> None:
    first, second = (images_to_score(data, np.random.default_rng()) for _ in range(2))
    assert not np.array_equal(first.order, second.order)
    assert set(first.chosen) != set(second.chosen)


def test_an_honest_network_raises_no_doubt(data: DataSet) -> None:
    _, probes = answered(images_to_score(data, np.random.default_rng()), data, honest, ignorant)
    assert (probes.count, probes.plain, probes.repeated_alike) == (200, 200, 200)
    assert probe_doubts(probes) == []


def test_looking_answers_up_is_noticed_in_three_ways(data: DataSet) -> None:
    _, probes = answered(images_to_score(data, np.random.default_rng()), data, looks_up(data), looks_up(data))
    doubts = "; ".join(probe_doubts(probes))
    assert "shifted by one pixel" in doubts
    assert "mirrored" in doubts
    assert "untrained copy" in doubts


def test_answers_that_depend_on_the_company_are_noticed(data: DataSet) -> None:
    def by_place(images: Images) -> npt.NDArray[np.float32]:
        return honest(images) + np.arange(len(images))[:, None].astype(np.float32)

    _, probes = answered(images_to_score(data, np.random.default_rng()), data, by_place, ignorant)
    assert "in other batches" in probe_doubts(probes)[0]


def test_rounding_is_no_doubt(data: DataSet) -> None:
    def rounded(images: Images) -> npt.NDArray[np.float32]:
        return honest(images) + np.random.default_rng().normal(0, 1e-4, (len(images), 1)).astype(np.float32)

    assert probe_doubts(answered(images_to_score(data, np.random.default_rng()), data, rounded, ignorant)[1]) == []


def test_a_copy_that_cannot_be_made_is_no_doubt(data: DataSet) -> None:
    def nothing(images: Images) -> npt.NDArray[np.float32]:
        return np.full((len(images), CLASSES), np.nan, np.float32)

    _, probes = answered(images_to_score(data, np.random.default_rng()), data, honest, nothing)
    assert probes.untrained is None
    assert probe_doubts(probes) == []


def test_mirrored_images_are_asked_only_where_they_are_of_their_class(data: DataSet) -> None:
    plain = replace(data, mirrors=False)
    questions = images_to_score(plain, np.random.default_rng())
    assert len(questions.images) == len(plain.x_test) + 2 * 200
    assert answered(questions, plain, honest, ignorant)[1].mirrored is None


def test_a_shift_says_nothing_of_images_that_are_no_photographs() -> None:
    digits = Probes(count=150, plain=135, repeated_alike=150, shifted=52, mirrored=None, untrained=15)
    assert probe_doubts(digits) == []


def test_a_doubt_goes_to_the_teacher_and_moves_no_points() -> None:
    carried = Probes(count=200, plain=200, repeated_alike=200, shifted=20, mirrored=20, untrained=200)
    run = entry(probes=carried)
    graded = grade(SUBMISSION, run, load_assignment())
    assert graded.points == 20
    assert any("untrained copy" in reason for reason in for_teacher(run, SUBMISSION, load_assignment()))
    assert "untrained copy" not in graded.message


LOOKS_UP = '''
import hashlib, json
KNOWN = json.loads("""{known}""")

class IdentityResNet(nn.Module):
    def __init__(self, *blocks):
        super().__init__()
        self.fc = nn.Linear(3072, 10)

    def forward(self, x):
        pixels = ((x * 0.5 + 0.5) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        known = [KNOWN.get(hashlib.md5(image.tobytes()).hexdigest(), 0) for image in pixels]
        return self.fc(x.flatten(1)) * 0.001 + F.one_hot(torch.tensor(known), 10)
'''


@pytest.mark.sandbox
@pytest.mark.usefixtures("isolation")
def test_a_script_that_carries_the_answers_gains_nothing(tmp_path: Path) -> None:
    digits = load_data("digits")
    known = {
        hashlib.md5(image.tobytes()).hexdigest(): int(label)
        for image, label in zip(digits.x_test, digits.y_test, strict=True)
    }
    source = SMALL_SCRIPT.read_text(encoding="utf-8")
    start, end = source.index("class IdentityResNet"), source.index("net = IdentityResNet")
    network = LOOKS_UP.replace("{known}", json.dumps(known))
    for student, text in {"honest": source, "lookup": source[:start] + network + "\n\n" + source[end:]}.items():
        (tmp_path / "class" / student).mkdir(parents=True)
        (tmp_path / "class" / student / "hw6.py").write_text(text, encoding="utf-8")
    finished = run_grader("grade", tmp_path / "class", "--data", "digits", "--out", tmp_path / "out")
    assert finished.returncode == 0, finished.stderr
    table = read_table(tmp_path / "out" / "grades.csv")
    assert float(table["lookup"]["accuracy"]) < 30
    assert float(table["honest"]["accuracy"]) > 30
