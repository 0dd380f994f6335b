"""Loss and accuracy of training batches are the script's own, and looking at them changes nothing for it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from grader.worker.batch_means import BatchMeans

SCORES = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 3.0, 1.0], [5.0, 0.0, 0.0]])
LABELS = torch.tensor([0, 1, 1, 2])
SHARE = 0.5


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch) -> BatchMeans:
    """The functions of torch are watched until the test's end."""
    made = BatchMeans(lambda loss, target: None)
    for name in ("cross_entropy", "nll_loss"):
        monkeypatch.setattr(functional, name, made.watched(getattr(functional, name)))
    return made


def scores() -> torch.Tensor:
    return SCORES.clone().requires_grad_()


def log_scores() -> torch.Tensor:
    return scores().log_softmax(1)


WAYS: dict[str, Callable[[], torch.Tensor]] = {
    "a module": lambda: nn.CrossEntropyLoss()(scores(), LABELS),
    "a function": lambda: functional.cross_entropy(scores(), LABELS),
    "by name": lambda: functional.cross_entropy(target=LABELS, input=scores()),
    "one by name": lambda: functional.cross_entropy(scores(), target=LABELS),
    "nll module": lambda: nn.NLLLoss()(log_scores(), LABELS),
    "nll function": lambda: functional.nll_loss(log_scores(), LABELS),
    "smoothed": lambda: nn.CrossEntropyLoss(label_smoothing=0.1)(scores(), LABELS),
    "each image": lambda: nn.CrossEntropyLoss(reduction="none")(scores(), LABELS),
    "labels of a byte": lambda: functional.nll_loss(log_scores(), LABELS.to(torch.uint8)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_has_the_loss_and_the_share_that_is_right(means: BatchMeans, way: str) -> None:
    loss = WAYS[way]()
    means.learned()
    assert means.take() == pytest.approx((loss.mean().item(), SHARE))


WITHOUT_ACCURACY: dict[str, Callable[[], torch.Tensor]] = {
    "class probabilities": lambda: functional.cross_entropy(scores(), SCORES.softmax(1)),
    "scores for each pixel": lambda: functional.cross_entropy(scores()[:, :, None], LABELS[:, None]),
    "one image without a batch": lambda: functional.cross_entropy(scores()[0], LABELS[0]),
}


@pytest.mark.parametrize("way", WITHOUT_ACCURACY)
def test_other_forms_have_a_loss_alone(means: BatchMeans, way: str) -> None:
    loss = WITHOUT_ACCURACY[way]()
    means.learned()
    assert means.take() == pytest.approx((loss.item(), None))


def test_a_mean_is_over_the_batches_since_the_last_and_accuracy_over_their_images(means: BatchMeans) -> None:
    losses = []
    for rows in (4, 1, 3):
        losses.append(functional.cross_entropy(scores()[:rows], LABELS[:rows]).item())
        means.learned()
    assert means.take() == pytest.approx((sum(losses) / 3, (2 + 1 + 2) / 8))
    assert means.take() == (None, None)


def test_what_nothing_was_learned_from_does_not_count(means: BatchMeans) -> None:
    learned = functional.cross_entropy(scores(), LABELS)
    with torch.no_grad():
        functional.cross_entropy(scores(), LABELS.flip(0))
    functional.cross_entropy(SCORES, LABELS.flip(0))
    means.learned()
    functional.cross_entropy(scores() * 9, LABELS.flip(0))
    assert means.take() == pytest.approx((learned.item(), SHARE))
    functional.cross_entropy(scores(), LABELS)
    means.learned()
    means.learned()
    assert means.take() == pytest.approx((learned.item(), SHARE))


def test_an_endless_loss_is_none_and_its_accuracy_is_told(means: BatchMeans) -> None:
    functional.cross_entropy(scores() * torch.tensor(float("inf")), LABELS)
    means.learned()
    loss, accuracy = means.take()
    assert loss is None
    assert accuracy is not None


def test_an_empty_batch_is_no_accuracy(means: BatchMeans) -> None:
    functional.cross_entropy(scores()[:0], LABELS[:0])
    means.learned()
    assert means.take() == (None, None)


def test_memory_does_not_grow_where_nobody_asks(means: BatchMeans) -> None:
    for _ in range(3_000):
        functional.cross_entropy(scores(), LABELS)
        means.learned()
    assert len(means._learned) <= 1_000
    assert means.take()[1] == SHARE


def test_loss_gradient_and_random_state_stay_as_they_are(request: pytest.FixtureRequest) -> None:
    def step() -> tuple[torch.Tensor, torch.Tensor]:
        given = scores()
        loss = nn.CrossEntropyLoss()(functional.dropout(given, 0.5), LABELS)
        loss.backward()
        assert given.grad is not None
        return loss.detach(), given.grad

    torch.manual_seed(3)
    alone, state = step(), torch.get_rng_state()
    means = request.getfixturevalue("means")
    torch.manual_seed(3)
    watched = step()
    means.learned()
    means.take()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, other) for one, other in zip(alone, watched, strict=True))


MISTAKES: dict[str, Callable[[], Any]] = {
    "a label out of range": lambda: functional.cross_entropy(scores(), LABELS + 9),
    "no labels": lambda: functional.cross_entropy(scores()),  # type: ignore[call-arg]
    "labels too few": lambda: functional.cross_entropy(scores(), LABELS[:2]),
    "nothing": lambda: functional.nll_loss(),  # type: ignore[call-arg]
    "no tensors": lambda: nn.CrossEntropyLoss()("scores", [1]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_script_s_own_mistake_is_its_own_error(means: BatchMeans, mistake: str) -> None:
    inner: Any = functional.cross_entropy
    with pytest.raises((IndexError, TypeError, ValueError)) as raised:
        MISTAKES[mistake]()
    assert inner.__wrapped__.__module__ == "torch.nn.functional"
    assert raised.traceback[-1].path != BatchMeans.__init__.__code__.co_filename
    means.learned()
    assert means.take() == (None, None)


class Touchy(torch.Tensor):
    """Computes a cross entropy and nothing else."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.__name__ not in ("cross_entropy", "requires_grad_", "__get__"):
            raise RuntimeError(f"{function.__name__} is not to be called")
        return super().__torch_function__(function, types, args, kwargs or {})  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("which", ["scores", "labels"])
def test_a_subclass_is_asked_for_nothing_that_the_script_does_not_ask(means: BatchMeans, which: str) -> None:
    given, labels = scores(), LABELS
    if which == "scores":
        given = SCORES.as_subclass(Touchy).requires_grad_()
    else:
        labels = LABELS.as_subclass(Touchy)
    assert isinstance(functional.cross_entropy(given, labels), Touchy)
    means.learned()
    assert means.take()[1] is None


def test_tensors_that_hold_no_values_or_lie_elsewhere_end_nothing(means: BatchMeans) -> None:
    for device in ("cpu", "meta"):
        functional.cross_entropy(scores().to(device), LABELS.to(device))
        means.learned()
    assert means.take() == (None, None)
    functional.cross_entropy(scores(), LABELS)
    means.learned()
    assert means.take()[1] == SHARE


def test_a_failure_of_the_look_itself_stays_away_from_the_script(
    means: BatchMeans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(torch.Tensor, "argmax", fail)
    assert functional.cross_entropy(scores(), LABELS).isfinite()
    means.learned()
    loss, right = means.take()
    assert loss is not None
    assert right is None
