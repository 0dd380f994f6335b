"""A trained network and the test images become scores: in order, as the network was trained to see them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from grader.worker import dataset
from grader.worker.budget import Budget
from grader.worker.dataset import GraderCIFAR10, given
from grader.worker.evaluate import NotScores, prepare
from grader.worker.preprocessing import Statistics

NORMALIZE = transforms.Normalize((0.5,) * 3, (0.5,) * 3)
PLAIN = transforms.Compose([transforms.ToTensor(), NORMALIZE])
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
SHOWN = Image.fromarray(IMAGES[0])


@pytest.fixture(autouse=True)
def _no_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that has made no data set yet."""
    monkeypatch.setattr(given, "made", [])
    monkeypatch.setattr(given, "arrays", dataset.blank_arrays(10))


def make_set(train: bool, transform: Any) -> None:
    GraderCIFAR10("./data", train=train, transform=transform)


class Network(nn.Module):
    """Scores that tell an image apart: ten averages over its pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 32 * 32, 10)
        self.calls: list[tuple[int, bool, bool]] = []

    def forward(self, x: torch.Tensor) -> Any:
        self.calls.append((len(x), self.training, torch.is_grad_enabled()))
        return self.scores(x)

    def scores(self, x: torch.Tensor) -> Any:
        return self.fc(x.flatten(start_dim=1))


def budget_of(network: nn.Module, batch_size: int = 4, trained_on: torch.Tensor | None = None) -> Budget:
    """What `prepare` reads of a budget."""
    statistics = Statistics()
    if trained_on is not None:
        statistics.add(trained_on)
    return cast(Budget, SimpleNamespace(network=network, batch_size=batch_size, statistics=statistics))


def scores_of(network: nn.Module, **options: Any) -> np.ndarray[Any, Any]:
    scores = prepare(budget_of(network, **options), IMAGES).predict(IMAGES)
    return np.frombuffer(scores, "<f4").reshape(len(IMAGES), 10)


def batch_of(transform: Callable[[Any], Any], images: np.ndarray[Any, Any] = IMAGES) -> torch.Tensor:
    return torch.stack([transform(transforms.ToPILImage()(image)) for image in images])


def test_scores_are_the_networks_own_in_the_order_of_the_images() -> None:
    make_set(False, PLAIN)
    network = Network()
    with torch.no_grad():
        expected = network(batch_of(PLAIN)).numpy()
    assert np.allclose(scores_of(network), expected, atol=1e-5)


def test_scores_are_little_endian_float32() -> None:
    class Counting(Network):
        def scores(self, x: torch.Tensor) -> Any:
            return torch.arange(10.0).expand(len(x), 10)

    scores = prepare(budget_of(Counting()), IMAGES).predict(IMAGES)
    assert scores == np.tile(np.arange(10, dtype="<f4"), len(IMAGES)).tobytes()
    assert len(scores) == len(IMAGES) * 10 * 4


def test_the_network_is_tested_in_eval_mode_without_gradients() -> None:
    network = Network().train()
    scores_of(network)
    assert {(training, gradients) for _, training, gradients in network.calls} == {(False, False)}


def takes_loader(_: nn.Module, loader: Any) -> None:
    raise AssertionError(loader)


def trains(_: nn.Module, epochs: int = 5) -> None:
    raise AssertionError(epochs)


def trains_in_a_mode(_: nn.Module, loader: Any, mode: str = "fast") -> None:
    raise AssertionError(loader, mode)


def takes_mode(network: nn.Module, mode: bool = True) -> nn.Module:
    return nn.Module.train(network, mode)


@pytest.mark.parametrize(
    "own",
    [
        *({"train": takes_loader}, {"train": trains}, {"eval": takes_loader}, {"train": True}),
        {"train": trains_in_a_mode},
        {"train": takes_mode, "eval": takes_loader},
    ],
    ids=["takes a loader", "trains", "tests", "attribute", "trains in a mode", "takes a mode"],
)
def test_what_a_script_calls_train_or_eval_keeps_no_network_from_its_test(own: dict[str, Any]) -> None:
    network: Network = type("Own", (Network,), own)()
    assert network.training
    scores_of(network)
    assert {training for _, training, _ in network.calls} == {False}


def test_autocast_of_the_script_is_left_aside() -> None:
    network = Network()
    expected = scores_of(network)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(scores_of(network), expected)


class OnlyBatchesOf(Network):
    """A network with its batch size written into its forward."""

    def __init__(self, size: int, flatten: Callable[[torch.Tensor, int], torch.Tensor]) -> None:
        super().__init__()
        self.size, self.flatten = size, flatten

    def scores(self, x: torch.Tensor) -> Any:
        return self.flatten(self.fc(x.flatten(start_dim=1)), self.size)


@pytest.mark.parametrize(
    "flatten", [lambda out, size: out.view(size, 10), lambda out, size: out.view(size, -1)], ids=["raises", "misshapes"]
)
@pytest.mark.parametrize("size", [1, 4, 5, 10])
def test_a_network_that_takes_one_batch_size_gets_it(size: int, flatten: Any) -> None:
    network = OnlyBatchesOf(size, flatten)
    prepared = prepare(budget_of(network, batch_size=size), IMAGES)
    scores, notes = prepared.predict(IMAGES), prepared.notes
    with torch.no_grad():
        expected = network.fc(batch_of(transforms.ToTensor()).flatten(start_dim=1)).numpy()
    assert np.allclose(np.frombuffer(scores, "<f4").reshape(-1, 10), expected, atol=1e-5)
    assert f"batches of {size} images" in notes[-1]
    assert {rows for rows, _, _ in network.calls[1:]} == {size}


def test_a_network_that_takes_no_batch_at_all_raises_its_own_error() -> None:
    class Failing(Network):
        def scores(self, x: torch.Tensor) -> Any:
            raise ValueError("no")

    for batch_size in (0, 4):
        with pytest.raises(ValueError, match="no"):
            scores_of(Failing(), batch_size=batch_size)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda out: out[:, :9], r"\(4, 9\)"),
        (lambda out: out.argmax(dim=1), r"\(4,\)"),
        (lambda out: out[:, :, None], r"\(4, 10, 1\)"),
        (lambda out: (out, out), "tuple"),
        (lambda out: None, "NoneType"),
    ],
    ids=["nine", "labels", "three dimensions", "tuple", "nothing"],
)
def test_another_output_than_ten_scores_an_image_is_named(change: Any, named: str) -> None:
    class Other(Network):
        def scores(self, x: torch.Tensor) -> Any:
            return change(super().scores(x))

    with pytest.raises(NotScores, match=named):
        scores_of(Other())


def test_scores_that_are_no_numbers_are_handed_over() -> None:
    class Diverged(Network):
        def scores(self, x: torch.Tensor) -> Any:
            return super().scores(x) * torch.tensor([float("nan"), float("inf"), *[1.0] * 8])

    scores = scores_of(Diverged())
    assert np.isnan(scores[:, 0]).all()
    assert np.isinf(scores[:, 1]).all()
    assert np.isfinite(scores[:, 2:]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_images_come_in_the_dtype_of_the_weights(dtype: torch.dtype) -> None:
    network = Network()
    expected = scores_of(network)
    assert np.allclose(scores_of(network.to(dtype)), expected, atol=0.05)


def test_a_transform_that_makes_no_tensor_is_helped() -> None:
    make_set(False, transforms.Grayscale(3))
    assert scores_of(Network()).shape == (len(IMAGES), 10)


@pytest.mark.parametrize(
    ("trained_on", "flagged"),
    [
        (batch_of(PLAIN), False),
        (batch_of(PLAIN, IMAGES[:2]), False),
        (batch_of(transforms.ToTensor()), True),
        (batch_of(PLAIN) * 3, True),
        (batch_of(PLAIN)[:, :, :28, :28], True),
        (batch_of(PLAIN).double(), False),
        (batch_of(PLAIN).byte(), True),
        (torch.zeros(4, 3, 32, 32), True),
        (None, False),
    ],
    ids=[
        "same",
        "other images",
        "not normalised",
        "wider",
        "smaller",
        "other precision",
        "bytes",
        "black",
        "not trained",
    ],
)
def test_test_images_that_look_unlike_the_training_images_are_flagged(
    trained_on: torch.Tensor | None, flagged: bool
) -> None:
    make_set(False, PLAIN)
    flags = prepare(budget_of(Network(), trained_on=trained_on), IMAGES).flags
    assert bool(flags) is flagged
    assert all(flag.startswith("preprocessing differs") for flag in flags)
