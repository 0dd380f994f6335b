"""Training images are counted where they are used, and a script stops before the first forward past its budget."""

import copy
import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from grader.records import StopReason
from grader.worker.budget import Budget
from grader.worker.channel import Channel
from grader.worker.speed.acceleration import Acceleration

NAME = "IdentityResNet"
ROWS = 4
FX_INPUT = torch.fx.Proxy(torch.fx.Graph().placeholder("x"))


class Stop(BaseException):
    """What the worker would end the script with; no `except Exception` catches it."""


def stop(reason: StopReason) -> NoReturn:
    raise Stop(reason)


@pytest.fixture
def channel() -> Iterator[tuple[Channel, int]]:
    """A channel whose report can be read from the other end of a pipe."""
    pipes = [os.pipe() for _ in range(3)]
    (images, _), (_, scores), (reader, report) = pipes
    yield Channel(images, scores, report), reader
    for pipe in pipes:
        for descriptor in pipe:
            os.close(descriptor)


@pytest.fixture
def watch(channel: tuple[Channel, int], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Budget]:
    """Make a budget that wraps classes and losses from now on; afterwards, torch is as it was."""

    def make(samples: int = 1_000, seconds: float = 60) -> Budget:
        budget = Budget(NAME, samples, seconds, channel[0], stop, Acceleration((), "script", []))
        monkeypatch.setattr(nn.Module, "__init_subclass__", budget.subclassing())
        recompile = torch.fx.GraphModule.recompile
        monkeypatch.setattr(torch.fx.GraphModule, "recompile", budget.recompiling(recompile))
        for name in ("cross_entropy", "nll_loss"):
            monkeypatch.setattr(functional, name, budget.means.watched(getattr(functional, name)))
        return budget

    assert "__init_subclass__" not in vars(nn.Module)
    return make


def make_class(name: str = NAME, bases: tuple[type, ...] = (nn.Module,), **methods: Any) -> Any:
    """A class as a script would define it: one linear layer from 3 values to 10."""

    def __init__(self: Any) -> None:  # noqa: N807 (it becomes a method)
        nn.Module.__init__(self)
        self.fc = nn.Linear(3, 10)

    return type(name, bases, {"__init__": __init__, "forward": lambda self, x: self.fc(x)} | methods)


def images(rows: int = ROWS) -> torch.Tensor:
    return torch.ones(rows, 3)


def step(network: Any, rows: int = ROWS) -> None:
    network(images(rows)).sum().backward()


def test_rows_count_once_a_gradient_flows_back(watch: Callable[..., Budget]) -> None:
    budget = watch()
    network = make_class()()
    output = network(images())
    assert budget.samples == 0
    output.sum().backward()
    assert budget.samples == ROWS
    step(network, 7)
    assert budget.samples == ROWS + 7


def test_a_forward_that_is_never_learned_from_costs_nothing(watch: Callable[..., Budget]) -> None:
    budget = watch(samples=ROWS)
    network = make_class()()
    for _ in range(5):
        network(images())
    with torch.no_grad():
        network(images())
    with torch.inference_mode():
        network(images())
    assert budget.samples == 0


def test_a_direct_call_of_forward_counts(watch: Callable[..., Budget]) -> None:
    budget = watch()
    make_class()().forward(images()).sum().backward()
    assert budget.samples == ROWS


def test_rows_given_by_name_count_and_are_looked_at(watch: Callable[..., Budget]) -> None:
    budget = watch()
    make_class()()(x=images()).sum().backward()
    assert budget.samples == ROWS
    assert budget.batch_size == ROWS
    assert budget.statistics.shape == (3,)


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: (self.fc(x), self.fc(x)),
        lambda self, x: [self.fc(x), x, "aside", self.fc(x)],
        lambda self, x: self.fc(x).sum(),
        lambda self, x: (self.fc(x).mean(dim=0), self.fc(x)),
    ],
    ids=["tuple", "list", "a loss", "a mean first"],
)
def test_a_batch_counts_once_by_the_images_that_went_in(watch: Callable[..., Budget], forward: Any) -> None:
    budget = watch()
    output = make_class(forward=forward)()(images())
    tensors = output if isinstance(output, tuple | list) else [output]
    used = [tensor.sum() for tensor in tensors if isinstance(tensor, torch.Tensor)]
    torch.autograd.backward(torch.stack(used).sum())
    assert budget.samples == ROWS


class Small(torch.Tensor):
    """Says of each batch that it has one row."""

    shape = property(lambda self: torch.Size([1, 3]))

    def __len__(self) -> int:
        return 1

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (torch.Tensor.size, torch.Tensor.requires_grad.__get__):  # type: ignore[attr-defined]
            return 1 if function is torch.Tensor.size else False
        return super().__torch_function__(function, types, args, kwargs or {})  # type: ignore[no-untyped-call]


class Batch:
    """An object of a script's own."""

    def __init__(self, images: torch.Tensor) -> None:
        self.parts = {"images": images}


PACKED: dict[str, tuple[Any, Any]] = {
    "second": (lambda self, x: self.fc(x[1]), lambda x: (x[:1], x)),
    "an object": (lambda self, x: self.fc(x.parts["images"]), Batch),
    "one by one": (lambda self, x: self.fc(torch.cat(x).flatten(1)), lambda x: x.reshape(-1, 1, 3, 1).split(1)),
    "as columns": (lambda self, x: self.fc(x.reshape(-1, 3)), lambda x: x.reshape(1, -1)),
    "a lie": (lambda self, x: self.fc(x.as_subclass(torch.Tensor)).as_subclass(Small), lambda x: x.as_subclass(Small)),
    "in a table": (lambda self, x: {"scores": self.fc(x)}, lambda x: x),
    "in an object": (lambda self, x: Batch(self.fc(x)), lambda x: x),
}


@pytest.mark.parametrize("name", PACKED)
def test_rows_count_wherever_in_the_input_or_the_output_they_are(watch: Callable[..., Budget], name: str) -> None:
    budget = watch()
    forward, packed = PACKED[name]
    output = make_class(forward=forward)()(packed(images()))
    output = output.parts["images"] if isinstance(output, Batch) else output
    output = output["scores"] if isinstance(output, dict) else output
    torch.autograd.backward(output.as_subclass(torch.Tensor).sum())
    assert (budget.samples, budget.batches) == (ROWS, 1)


def test_the_targets_at_the_loss_count_where_no_tensor_has_as_many_rows(watch: Callable[..., Budget]) -> None:
    budget = watch()
    network = make_class(forward=lambda self, x: self.fc(x.reshape(-1, 3)).reshape(1, -1))()
    for _ in range(3):
        scores = network(images().reshape(1, -1)).reshape(-1, 10)
        torch.autograd.backward(functional.cross_entropy(scores, labels()))
    with pytest.raises(Stop):
        budget.close(StopReason.FINISHED)
    assert budget.samples == 3 * ROWS


def labels(rows: int = ROWS) -> torch.Tensor:
    return torch.zeros(rows, dtype=torch.long)


def mixed(network: Any) -> None:
    scores = network(images())
    torch.autograd.backward(functional.cross_entropy(scores, labels()) + functional.nll_loss(scores, labels()))


def accumulated(network: Any) -> None:
    """Two forwards, then two losses, in one pass."""
    first, second = network(images(ROWS // 2)), network(images(ROWS // 2))
    losses = [functional.cross_entropy(scores, labels(ROWS // 2)) for scores in (first, second)]
    torch.autograd.backward(torch.stack(losses).sum())


def gathered(network: Any) -> None:
    """A batch in two parts, as DataParallel makes them, and one loss."""
    scores = torch.cat([network(images(1)), network(images(ROWS - 1))])
    torch.autograd.backward(functional.cross_entropy(scores, labels()))


def looked_at_without_no_grad(network: Any) -> None:
    functional.cross_entropy(network(images(100)), labels(100))
    step(network)


@pytest.mark.parametrize("train", [mixed, accumulated, gathered, looked_at_without_no_grad])
def test_the_targets_of_an_honest_batch_count_nothing_more(watch: Callable[..., Budget], train: Any) -> None:
    budget = watch()
    network = make_class()()
    for _ in range(3):
        train(network)
    with pytest.raises(Stop):
        budget.close(StopReason.FINISHED)
    assert budget.samples == 3 * ROWS
    assert budget.targets <= 2 * budget.samples


def test_losses_of_other_networks_are_told_and_not_counted(watch: Callable[..., Budget]) -> None:
    budget = watch()
    twin = make_class("Twin")()
    for _ in range(3):
        loss = functional.cross_entropy(twin(images()), labels())
        engine = torch.autograd.Variable._execution_engine
        engine.run_backward((loss,), (torch.ones(()),), False, False, (), True, True)
    assert (budget.samples, budget.targets) == (0, 3 * ROWS)


def test_two_backward_passes_through_one_forward_count_once(watch: Callable[..., Budget]) -> None:
    budget = watch()
    output = make_class()()(images())
    output.sum().backward(retain_graph=True)
    output.sum().backward()
    assert budget.samples == ROWS


def test_a_subclass_that_calls_its_parent_counts_once(watch: Callable[..., Budget]) -> None:
    budget = watch()
    parent = make_class()
    child = make_class(bases=(parent,), forward=lambda self, x: parent.forward(self, x))
    step(child())
    assert budget.samples == ROWS


def test_a_class_of_another_name_is_left_alone(watch: Callable[..., Budget]) -> None:
    budget = watch(samples=0)
    network = make_class("Block")()
    step(network)
    assert budget.samples == 0
    assert budget.network is None


def test_the_script_stops_before_the_first_forward_past_its_budget(watch: Callable[..., Budget]) -> None:
    budget = watch(samples=2 * ROWS)
    ran: list[int] = []

    def forward(network: Any, x: torch.Tensor) -> torch.Tensor:
        ran.append(len(x))
        return torch.as_tensor(network.fc(x))

    network = make_class(forward=forward)()
    step(network)
    step(network)
    with pytest.raises(Stop) as stopped:
        network(images())
    assert stopped.value.args == (StopReason.EPOCH_BUDGET,)
    assert budget.samples == 2 * ROWS
    assert ran == [ROWS, ROWS]


def test_after_the_budget_the_network_can_still_be_asked(watch: Callable[..., Budget]) -> None:
    budget = watch(samples=ROWS)
    network = make_class()()
    step(network)
    with pytest.raises(Stop):
        step(network)
    with torch.no_grad():
        assert budget.network(images()).shape == (ROWS, 10)
    assert budget.network(images()).shape == (ROWS, 10)
    assert budget.samples == ROWS


def test_a_budget_of_nothing_stops_before_the_first_training_forward(watch: Callable[..., Budget]) -> None:
    budget = watch(samples=0)
    network = make_class()()
    with torch.no_grad():
        network(images())
    with pytest.raises(Stop) as stopped:
        network(images())
    assert stopped.value.args == (StopReason.EPOCH_BUDGET,)
    assert budget.network is network


def test_a_script_that_is_stopped_in_a_transformation_of_functions_leaves_a_usual_network(
    watch: Callable[..., Budget], monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = watch(0)
    network = make_class()()
    weights = {name: torch.ones_like(weight) for name, weight in network.named_parameters()}
    kept = []

    def test(reason: StopReason) -> NoReturn:
        with torch.no_grad():
            kept.append(budget.network(images()).numpy())
        stop(reason)

    monkeypatch.setattr(budget, "_stop", test)

    def loss(weights: Any) -> Any:
        return torch.func.functional_call(network, weights, (images(),)).sum()

    # Torch itself does not expect that anybody comes back from there, and nobody does.
    with pytest.raises((Stop, RuntimeError)):
        torch.func.grad(loss)(weights)
    assert kept[0].tolist() == [[4.0] * 10] * ROWS


@pytest.mark.parametrize(
    "look",
    [
        torch.fx.symbolic_trace,
        lambda network: torch.export.export(network, (images(),)),
        lambda network: copy.deepcopy(network).to("meta")(images().to("meta")),
    ],
    ids=["fx", "export", "meta"],
)
def test_what_only_writes_a_network_down_is_no_training_and_stops_nothing(
    watch: Callable[..., Budget], look: Callable[[Any], Any]
) -> None:
    budget = watch(samples=0)
    network = make_class()()
    look(network)
    with pytest.raises(Stop):
        step(network)
    assert (budget.samples, budget.network) == (0, network)


def test_what_fx_makes_of_a_network_counts_as_that_one(watch: Callable[..., Budget]) -> None:
    budget = watch(samples=2 * ROWS)
    written = torch.fx.symbolic_trace(make_class()())
    step(written)
    written.recompile()
    step(written)
    assert budget.samples == 2 * ROWS
    with pytest.raises(Stop):
        written(images())


@pytest.mark.parametrize("given", [None, torch.ones(ROWS, 3, device="meta"), FX_INPUT], ids=["none", "meta", "fx"])
def test_a_forward_that_fetches_its_images_itself_stops_at_the_budget(watch: Callable[..., Budget], given: Any) -> None:
    budget = watch(samples=ROWS)
    network = make_class(forward=lambda self, _: self.fc(images()))()
    network(given).sum().backward()
    assert budget.samples == ROWS
    with pytest.raises(Stop):
        network(given)


def test_no_mode_of_a_script_or_a_tracer_is_left_when_its_network_is_tested(watch: Callable[..., Budget]) -> None:
    class Lies(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {})) * 2

    budget = watch(samples=0)
    network = make_class()()
    right = network.fc(images())
    seen = []
    with Lies():  # type: ignore[no-untyped-call]
        with pytest.raises(Stop):
            network(images())
        seen.append(network.fc(images()))
        budget._without_modes.__exit__(None, None, None)  # as a worker never does
    assert torch.equal(seen[0], right)


def test_time_that_has_run_out_stops_the_next_forward(watch: Callable[..., Budget]) -> None:
    budget = watch(seconds=-1)
    with pytest.raises(Stop) as stopped:
        step(make_class()())
    assert stopped.value.args == (StopReason.TIME_BUDGET,)
    assert budget.samples == 0


def test_the_instance_that_used_the_most_images_is_chosen(watch: Callable[..., Budget]) -> None:
    budget = watch()
    cls = make_class()
    assert budget.network is None
    first, second, third = cls(), cls(), cls()
    assert budget.network is third
    step(first, 3)
    step(second, 2)
    assert budget.network is first
    step(second, 2)
    assert budget.network is second


def test_the_class_is_known_wherever_it_was_defined(watch: Callable[..., Budget]) -> None:
    budget = watch()
    make_class("Block")
    assert budget.defined is None
    cls = make_class()
    assert budget.defined is cls
    assert budget.network is None


def test_an_exception_in_a_forward_leaves_the_count_as_it_was(watch: Callable[..., Budget]) -> None:
    budget = watch()
    network = make_class()()
    with pytest.raises(RuntimeError):
        network(torch.ones(ROWS, 5))
    assert budget.samples == 0
    step(network)
    assert budget.samples == ROWS


def test_a_forward_in_another_thread_counts(watch: Callable[..., Budget]) -> None:
    budget = watch()
    thread = threading.Thread(target=step, args=(make_class()(),))
    thread.start()
    thread.join()
    assert budget.samples == ROWS


def test_what_training_saw_is_kept(watch: Callable[..., Budget]) -> None:
    budget = watch()
    network = make_class()()
    network(torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])).sum().backward()
    assert budget.batch_size == 2
    assert budget.statistics.shape == (3,)
    assert budget.statistics.dtype is torch.float32
    assert budget.statistics.means == [2.0]
    assert budget.statistics.spreads == [pytest.approx((2 / 3) ** 0.5)]


def test_a_forward_before_training_is_neither_its_start_nor_its_look(watch: Callable[..., Budget]) -> None:
    budget = watch()
    network = make_class()()
    # What torchsummary.summary does: two random images, with gradients on.
    network(torch.rand(2, 3))
    assert (budget.started, budget.batch_size, budget.statistics.means) == (None, 0, [])
    step(network)
    assert budget.started is not None
    assert (budget.batch_size, budget.statistics.means) == (ROWS, [1.0])


def test_progress_is_told(watch: Callable[..., Budget], channel: tuple[Channel, int]) -> None:
    budget = watch()
    network = make_class()()
    step(network)
    budget.started = (budget.started or 0) - 5
    step(network)
    line = json.loads(os.read(channel[1], 10_000))
    assert (line["event"], line["samples"]) == ("progress", 2 * ROWS)
    assert line["seconds"] > 5


def test_progress_tells_the_means_over_the_batches_since_the_last(
    watch: Callable[..., Budget], channel: tuple[Channel, int]
) -> None:
    budget = watch()
    network = make_class()()
    given, labels = torch.eye(3), torch.tensor([0, 1, 2])
    told, losses, right = [], [], []
    for number in range(6):
        scores = network(given[: 1 + number % 3])
        loss = functional.cross_entropy(scores, labels[: 1 + number % 3])
        with torch.no_grad():  # a look aside, as scripts take it, with another loss
            functional.cross_entropy(scores, labels[: 1 + number % 3])
        losses.append(loss.item())
        right.append(int((scores.argmax(1) == labels[: 1 + number % 3]).sum()))
        if number % 3 == 2:
            budget.started = (budget.started or 0) - 5
        torch.autograd.backward(loss)
        torch.optim.SGD(network.parameters(), lr=1.0).step()
        if number % 3 == 2:
            told.append(json.loads(os.read(channel[1], 10_000)))
    assert [line["samples"] for line in told] == [6, 12]
    assert [line["loss"] for line in told] == [pytest.approx(sum(losses[at : at + 3]) / 3) for at in (0, 3)]
    assert [line["accuracy"] for line in told] == [pytest.approx(sum(right[at : at + 3]) / 6) for at in (0, 3)]
