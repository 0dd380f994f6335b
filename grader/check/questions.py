"""Watch a script train and test on a few batches, and say of each of its nine questions whether it is answered.

Of the script's text only the blanks that are left are known. While it is watched, a stand-in that costs nothing takes
the network's forward: the questions are about the script around it.
"""

import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader

from grader.findings import Answer, Question

QUESTIONS = tuple(f"Q{number}" for number in range(1, 10))
MOMENTUM = 0.9
_BATCHES_EACH, _BATCHES_IN_ALL = 2, 12
_LARGEST_BATCH = 4096
_SIDE = 2  # to which each dimension of a parameter is cut
_WORKERS = ("num_workers", "persistent_workers", "prefetch_factor", "multiprocessing_context", "timeout", "pin_memory")

_NOT_REACHED = "While it was watched, the script did not come to its training."

_Found = tuple[Answer, str]


class Watch:
    """What a script does with its network, its data and its optimizer while this is `installed`.

    Attributes:
        made: The class as the script defined it, or None.
        failed: Whether an error ended the script.
    """

    def __init__(self, class_name: str) -> None:
        self._class_name = class_name
        self._active = False
        self.made: Any = None
        self.failed = False
        self._optimizers: list[Any] = []
        self._batch_sizes: list[Any] = []
        self._asked_for_gpu = self._moved = self._testing = False
        self._batches = self._backwards = 0
        self._stale = self._apart = self._changed = self._used = False
        self._network: Any = None
        self._before = torch.zeros(0)
        self._tests: list[bool] = []

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Watch whatever runs inside."""
        with contextlib.ExitStack() as stack:
            for owner, name, wrapper in self._wrappers():
                stack.enter_context(patch.object(owner, name, wrapper(getattr(owner, name))))
            self._active = True
            try:
                yield
            finally:
                self._active = False

    def answers(self, blanks: tuple[str, ...], rates: tuple[float, float]) -> tuple[Question, ...]:
        """One answer for each of Q1 to Q9.

        Args:
            blanks: The questions whose `...` still stands.
            rates: The smallest and the largest learning rate that make sense.
        """
        found = (
            *(self._device(), self._batch_size(), self._on_device(), self._optimizer(rates)),
            *(self._gradients(), self._forward_pass(), self._backward(), self._step(), self._test()),
        )
        return tuple(
            Question(name, *((Answer.BLANK, "Its dots are still there.") if name in blanks else each))
            for name, each in zip(QUESTIONS, found, strict=True)
        )

    def _wrappers(self) -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
        yield nn.Module, "__init_subclass__", self._subclassing
        yield nn.Module, "to", self._moving
        yield nn.Module, "cuda", self._moving
        yield DataLoader, "__init__", self._loading
        yield DataLoader, "__iter__", self._iterating
        yield Optimizer, "__init__", self._optimizing
        yield Tensor, "backward", self._going_backward
        yield torch.cuda, "is_available", self._asking
        if type(torch.device) is not type:  # the grader's own, which lets cuda mean the processor
            yield torch.device, "__new__", self._naming

    def _subclassing(self, original: Any) -> Any:
        watch = self

        def subclassed(cls: Any, /, **options: Any) -> None:
            original.__func__(cls, **options) if inspect.ismethod(original) else original(**options)
            if cls.__name__ == watch._class_name:
                watch._wrap(cls)

        return classmethod(subclassed)

    def _wrap(self, cls: Any) -> None:
        self.made = cls
        init, forward = cls.__init__, cls.forward

        def watched_init(network: nn.Module, *args: Any, **options: Any) -> None:
            if not self._active:
                init(network, *args, **options)
                return
            try:
                init(network, *args, **options)
            except Exception:  # whether the class works is asked elsewhere
                nn.Module.__init__(network)
            if next(network.parameters(), None) is None:
                network.register_parameter("stand_in", nn.Parameter(torch.zeros(_SIDE)))
            for parameter in network.parameters():  # eleven million scalars would take seconds to train
                parameter.data = parameter.data[tuple(slice(_SIDE) for _ in parameter.shape)].clone()

        def watched_forward(network: nn.Module, *args: Any, **options: Any) -> Any:
            return self._stand_in(network, *args, **options) if self._active else forward(network, *args, **options)

        cls.__init__, cls.forward = watched_init, watched_forward

    def _stand_in(self, network: nn.Module, images: Tensor, *_: Any, **__: Any) -> Tensor:
        """Ten scores that depend on every parameter."""
        parameters = list(network.parameters())
        self._apart |= any(parameter.device.type != images.device.type for parameter in parameters)
        some = torch.cat([parameter.reshape(-1).float().to(images.device) for parameter in parameters])
        weights = torch.arange(10, device=images.device) / 1000
        scores = torch.tanh(some).sum() * weights + torch.zeros(len(images), 1, device=images.device)
        if self._testing:
            self._tests.append(torch.is_grad_enabled())
        elif torch.is_grad_enabled():
            self._note_change(network, some)
            scores.register_hook(self._note_use)  # type: ignore[no-untyped-call]
        return scores

    def _note_change(self, network: nn.Module, some: Tensor) -> None:
        if self._network is network:
            self._changed |= not torch.equal(self._before, some.detach())
        self._network, self._before = network, some.detach().clone()

    def _note_use(self, _: Tensor) -> None:
        self._used = True

    def _moving(self, original: Any) -> Any:
        def move(module: nn.Module, *args: Any, **options: Any) -> Any:
            if any(type(each).__name__ == self._class_name for each in module.modules()):
                self._moved = True
            self._asked_for_gpu |= original.__name__ == "cuda" or "cuda" in str((args, options))
            return original(module, *args, **options)

        return move

    def _naming(self, original: Any) -> Any:
        def name(cls: Any, *args: Any, **options: Any) -> Any:
            self._asked_for_gpu |= "cuda" in str((args, options))
            return original(cls, *args, **options)

        return name

    def _asking(self, original: Any) -> Any:
        def ask() -> Any:
            self._asked_for_gpu = True
            return original()

        return ask

    def _loading(self, original: Any) -> Any:
        signature = inspect.signature(original)

        def load(loader: Any, *args: Any, **options: Any) -> None:
            given = signature.bind(loader, *args, **options).arguments
            self_name = next(iter(given))
            kept = {name: value for name, value in given.items() if name not in (*_WORKERS, self_name)}
            kept.update(kept.pop("kwargs", {}))
            if getattr(given.get("dataset"), "train", True):
                self._batch_sizes.append(given.get("batch_size", 1))
            original(loader, **kept)

        return load

    def _iterating(self, original: Any) -> Any:
        def iterate(loader: Any) -> Iterator[Any]:
            testing = not getattr(loader.dataset, "train", True)
            count = _BATCHES_EACH if self._batches < _BATCHES_IN_ALL else 1
            for batch in itertools.islice(original(loader), count):
                self._testing = testing
                self._batches += 1
                yield batch

        return iterate

    def _optimizing(self, original: Any) -> Any:
        def optimize(optimizer: Any, *args: Any, **options: Any) -> None:
            original(optimizer, *args, **options)
            self._optimizers.append(optimizer)

        return optimize

    def _going_backward(self, original: Any) -> Any:
        def backward(loss: Tensor, *args: Any, **options: Any) -> Any:
            gradients = [each.grad for each in self._optimized().values() if each.grad is not None]
            self._stale |= any(bool(gradient.any()) for gradient in gradients)
            self._backwards += 1
            return original(loss, *args, **options)

        return backward

    def _optimized(self) -> dict[int, Any]:
        """The parameters that the last optimizer changes, by identity."""
        groups = self._optimizers[-1].param_groups if self._optimizers else []
        return {id(parameter): parameter for group in groups for parameter in group["params"]}

    def _device(self) -> _Found:
        if self._asked_for_gpu:
            return Answer.OK, ""
        if self._network is None:
            return Answer.UNKNOWN, _NOT_REACHED
        return Answer.WRONG, "The script never asks for a GPU, so it trains on the processor everywhere."

    def _batch_size(self) -> _Found:
        if not self._batch_sizes:
            return Answer.UNKNOWN, "No loader of training images was made."
        size = self._batch_sizes[0]
        if isinstance(size, int) and 1 < size <= _LARGEST_BATCH:
            return Answer.OK, ""
        return Answer.WRONG, f"The training loader's batch size is {size}; it should be a number from 2 on."

    def _on_device(self) -> _Found:
        if self._apart:
            return Answer.WRONG, "Images and parameters are on different devices."
        if self._moved:
            return Answer.OK, ""
        if self._network is None:
            return Answer.UNKNOWN, _NOT_REACHED
        return Answer.WRONG, "The network is never moved to the device."

    def _optimizer(self, rates: tuple[float, float]) -> _Found:
        if not self._optimizers:
            return Answer.UNKNOWN, "No optimizer was made."
        optimizer = self._optimizers[-1]
        if not isinstance(optimizer, SGD):
            return Answer.WRONG, f"The optimizer is {type(optimizer).__name__}, not SGD."
        asked = optimizer.defaults  # a scheduler changes the groups'
        if asked["momentum"] != MOMENTUM:
            return Answer.WRONG, f"The momentum is {asked['momentum']}, not {MOMENTUM}."
        rate = float(asked["lr"])
        if not rates[0] <= rate <= rates[1]:
            return Answer.WRONG, f"The learning rate {rate:g} is not between {rates[0]:g} and {rates[1]:g}."
        if self._network is None:
            return Answer.UNKNOWN, _NOT_REACHED
        if not {id(each) for each in self._network.parameters() if each.requires_grad} <= self._optimized().keys():
            return Answer.WRONG, "The optimizer does not have all parameters of the network that is trained."
        return Answer.OK, ""

    def _gradients(self) -> _Found:
        if self._stale:
            return Answer.WRONG, "Gradients of the batch before were still there when backward ran."
        if self._backwards < 2:
            return Answer.UNKNOWN, "Backward ran fewer than two times."
        return Answer.OK, ""

    def _forward_pass(self) -> _Found:
        if self._used:
            return Answer.OK, ""
        if self._backwards:
            return Answer.WRONG, "The loss does not come from a forward of the network on the training images."
        return Answer.UNKNOWN, "Backward did not run, so it is not known where the loss comes from."

    def _backward(self) -> _Found:
        if self._used:
            return Answer.OK, ""
        if self._network is None:
            return Answer.UNKNOWN, "No training forward ran."
        if self.failed:
            return Answer.UNKNOWN, "While it was watched, the script failed before it computed a gradient."
        return Answer.WRONG, "Forwards ran, but no gradient was computed from the loss."

    def _step(self) -> _Found:
        if self._changed:
            return Answer.OK, ""
        if not self._used:
            return Answer.UNKNOWN, "There were no gradients to step with."
        return Answer.WRONG, "The parameters are the same after a training step as before."

    def _test(self) -> _Found:
        if not self._tests:
            return Answer.UNKNOWN, "The network was not run on test images."
        if any(self._tests):
            return Answer.WRONG, "The network runs on test images with gradients switched on."
        return Answer.OK, ""
