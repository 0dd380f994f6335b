"""Watch a script train and test on a few batches.

While it is watched, a stand-in that costs nothing takes the network's forward, and CIFAR-10 is one image: the questions
are about the script around them.
"""

import contextlib
import functools
import importlib
import inspect
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
import torchvision
from torch import Tensor, nn
from torch.fx import Proxy
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import VisionDataset

from grader.records import CLASS_NAMES
from grader.worker.leaving import Exits, Restarted
from grader.worker.source import SCRIPT, line_of
from grader.worker.tensors import is_symbolic

_BATCHES_EACH, _BATCHES_IN_ALL = 2, 12
_BATCHES_TO_A_STEP = 32  # a script may add up the gradients of so many before its first step
_SIDE = 2  # to which each dimension of a parameter is cut
_WORKERS = ("num_workers", "persistent_workers", "prefetch_factor", "multiprocessing_context", "timeout", "pin_memory")
_IMAGES = 50_000
_PARTS = 8  # of a list that a data set keeps, in which others are looked for


@dataclass
class Seen:
    """What a script did while it was watched.

    Attributes:
        failed: Whether an error ended the script.
        asked_for_gpu: Whether it named a GPU or asked for one.
        asked_whether: Whether it asked if there is a GPU.
        moved: Whether a network or a part of it was moved to a device or made on one.
        apart: Whether images and parameters were on different devices.
        batch_sizes: Those of the loaders of training images, as they were given; None where a sampler may have its own.
        optimizers: All that it made.
        asked: The momentum and learning rate of each group of the last one, if it is an SGD: a scheduler changes them.
        network: The one whose training forward ran last, or None.
        backwards: How often gradients were computed and added to those of the parameters.
        stale: Whether a batch found gradients with which a step had been made.
        kept: Whether a batch found gradients at all.
        used: Whether a gradient reached the network's output.
        changed: Whether a training forward found other parameters than the one before.
        tests: Of each forward on test images, whether gradients were on.
        untracked: Whether a forward ran with gradients off, on whatever images.
    """

    failed: bool = False
    asked_for_gpu: bool = False
    asked_whether: bool = False
    moved: bool = False
    apart: bool = False
    batch_sizes: list[Any] = field(default_factory=list)
    optimizers: list[Optimizer] = field(default_factory=list)
    asked: list[tuple[float, float]] = field(default_factory=list)
    network: nn.Module | None = None
    backwards: int = 0
    stale: bool = False
    kept: bool = False
    used: bool = False
    changed: bool = False
    tests: list[bool] = field(default_factory=list)
    untracked: bool = False

    @property
    def optimized(self) -> dict[int, Any]:
        """The parameters that the last optimizer changes, by identity."""
        groups = self.optimizers[-1].param_groups if self.optimizers else []
        return {id(parameter): parameter for group in groups for parameter in group["params"]}


class Watch:
    """What watches a script's network, data and optimizer while it is `installed`.

    Attributes:
        class_name: Of the network.
        made: The class as the script defined it, or None.
        cut: Whether the script got parameters smaller than its own.
        seen: What the script did so far.
    """

    def __init__(self, class_name: str, whole: bool = False) -> None:
        """Watch for a class of this name; `whole` leaves its parameters at their size, which takes longer."""
        self.class_name = class_name
        self.made: Any = None
        self.cut = False
        self.seen = Seen()
        self._whole = whole
        # As in a training: where nothing was learned, the process ends, and that is the error.
        self._exits = Exits(sys.exit, lambda: self.seen.backwards > 0)
        self._active = self._testing = self._stepped = False
        self._batches = 0
        self._moved: set[int] = set()  # by identity: a script's module may have no hash
        self._before = torch.zeros(0)

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
                self._exits.close()

    def _wrappers(self) -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
        yield nn.Module, "__init_subclass__", self._subclassing
        yield nn.Module, "to", self._moving
        yield nn.Module, "cuda", self._moving
        yield nn.Linear, "__init__", self._making
        yield DataLoader, "__init__", self._loading
        yield DataLoader, "__iter__", self._iterating
        yield Optimizer, "__init__", self._optimizing
        yield torch.autograd, "backward", self._going_backward  # which Tensor.backward calls
        for (owner, name), replacement in self._exits.replacements().items():
            yield owner, name, functools.partial(lambda replacement, _: replacement, replacement)
        yield torch.cuda, "is_available", self._asking
        yield torch.cuda, "device_count", self._asking
        if hasattr(torch, "accelerator"):  # since PyTorch 2.6
            yield torch.accelerator, "is_available", self._asking
            yield torch.accelerator, "current_accelerator", self._asking
        if hasattr(torch, "set_default_device"):  # since PyTorch 2.0
            yield torch, "set_default_device", self._choosing
            yield importlib.import_module("torch.utils._device").DeviceContext, "__init__", self._inside
        if _cuda_is_the_processor():
            yield torch.device, "__new__", self._naming

    def _subclassing(self, original: Any) -> Any:
        watch = self

        def subclassed(cls: Any, /, **options: Any) -> None:
            original.__func__(cls, **options) if inspect.ismethod(original) else original(**options)
            if cls.__name__ == watch.class_name:
                watch._wrap(cls)

        return classmethod(subclassed)

    def _wrap(self, cls: Any) -> None:
        self.made = cls
        init, forward = cls.__init__, cls.forward

        @functools.wraps(init)
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
            if not self._whole:  # eleven million scalars take seconds to train
                for parameter in network.parameters():
                    parameter.data = _corner(parameter.data).clone()
                self.cut = True

        @functools.wraps(forward)
        def watched_forward(network: nn.Module, *args: Any, **options: Any) -> Any:
            # What torch.fx traces is no batch.
            active = self._active and not isinstance(next(iter((*args, *options.values())), None), Proxy)
            return (self._stand_in if active else forward)(network, *args, **options)

        cls.__init__, cls.forward = watched_init, watched_forward

    def _stand_in(self, network: nn.Module, images: Tensor, *_: Any, **__: Any) -> Tensor:
        """Ten scores that depend on a corner of every parameter."""
        parameters = list(network.parameters())
        self.seen.apart |= any(parameter.device.type != images.device.type for parameter in parameters)
        some = torch.cat([_corner(parameter).reshape(-1).float().to(images.device) for parameter in parameters])
        weights = torch.arange(10, device=images.device) / 1000
        scores = torch.tanh(some).sum() * weights + torch.zeros(len(images), 1, device=images.device)
        if is_symbolic(images):
            return scores
        if self._testing:
            self.seen.tests.append(torch.is_grad_enabled())
        elif torch.is_grad_enabled():
            self._note_change(network, some)
            scores.register_hook(self._note_use)  # type: ignore[no-untyped-call]
        else:
            self.seen.untracked = True
        return scores

    def _note_change(self, network: nn.Module, some: Tensor) -> None:
        self._stepped = self.seen.network is network and not torch.equal(self._before, some.detach())
        self.seen.changed |= self._stepped
        self.seen.moved |= any(id(each) in self._moved for each in network.modules())
        self.seen.network, self._before = network, some.detach().clone()

    def _note_use(self, _: Tensor) -> None:
        self.seen.used = True

    def _moving(self, original: Any) -> Any:
        def move(module: nn.Module, *args: Any, **options: Any) -> Any:
            if any(kind.__name__ == self.class_name for each in module.modules() for kind in type(each).__mro__):
                self.seen.moved = True
            self._moved.add(id(module))
            self.seen.asked_for_gpu |= original.__name__ == "cuda" or _names_a_gpu(args, options)
            return original(module, *args, **options)

        return move

    def _making(self, original: Any) -> Any:
        def make(layer: nn.Linear, *args: Any, **options: Any) -> None:
            self.seen.moved |= options.get("device") is not None
            original(layer, *args, **options)

        return make

    def _inside(self, original: Any) -> Any:
        def enter(context: Any, device: Any) -> None:
            self.seen.moved = True
            original(context, device)

        return enter

    def _naming(self, original: Any) -> Any:
        def name(cls: Any, *args: Any, **options: Any) -> Any:
            self.seen.asked_for_gpu |= _names_a_gpu(args, options)
            return original(cls, *args, **options)

        return name

    def _asking(self, original: Any) -> Any:
        def ask(*args: Any, **options: Any) -> Any:
            answer = original(*args, **options)
            # Torch and what the grader supplies ask, too.
            if str(sys._getframe(1).f_globals.get("__name__")).split(".")[0] in ("torch", "grader"):
                return answer
            self.seen.asked_whether = True
            # "Yes", and one GPU: what the script does with it is to be seen on a machine without one, too.
            if _cuda_is_the_processor() and isinstance(answer, int):
                return max(answer, type(answer)(True))
            self.seen.asked_for_gpu = True
            return answer

        return ask

    def _choosing(self, original: Any) -> Any:
        def choose(device: Any) -> Any:
            self.seen.moved = True
            self.seen.asked_for_gpu |= _names_a_gpu((device,), {})
            return original(device)

        return choose

    def _loading(self, original: Any) -> Any:
        signature = inspect.signature(original)

        def load(loader: Any, *args: Any, **options: Any) -> None:
            given = signature.bind(loader, *args, **options).arguments
            self_name = next(iter(given))
            kept = {name: value for name, value in given.items() if name not in (*_WORKERS, self_name)}
            kept.update(kept.pop("kwargs", {}))
            if _of_training(given.get("dataset")):
                alone = 1 if given.get("batch_sampler") is None else None
                asked = getattr(given.get("batch_sampler"), "batch_size", given.get("batch_size", alone))
                self.seen.batch_sizes.append(asked)
            original(loader, **kept)

        return load

    def _iterating(self, original: Any) -> Any:
        def few(loader: Any) -> Iterator[Any]:
            testing = not _of_training(loader.dataset)
            for served, batch in enumerate(original(loader)):
                stepped = testing or self.seen.changed
                enough, in_all = (_BATCHES_EACH, _BATCHES_IN_ALL) if stepped else (_BATCHES_TO_A_STEP,) * 2
                if served >= (enough if self._batches < in_all else 1):
                    return
                self._testing = testing
                self._batches += 1
                yield batch

        return lambda loader: _Batches(few(loader))

    def _optimizing(self, original: Any) -> Any:
        def optimize(optimizer: Any, *args: Any, **options: Any) -> None:
            original(optimizer, *args, **options)
            self.seen.optimizers.append(optimizer)
            groups = optimizer.param_groups if isinstance(optimizer, SGD) else []
            self.seen.asked = [(float(group.get("momentum", 0)), float(group["lr"])) for group in groups]

        return optimize

    def _going_backward(self, original: Any) -> Any:
        def backward(*args: Any, **options: Any) -> Any:
            gradients = [each.grad for each in self.seen.optimized.values() if each.grad is not None]
            found = any(bool(gradient.any()) for gradient in gradients)
            self.seen.kept |= found
            self.seen.stale |= found and self._stepped
            self._stepped = False  # a second backward adds to what this batch has
            self.seen.backwards += 1
            return original(*args, **options)

        return backward


def _of_training(data: Any, depth: int = 4) -> bool:
    """Whether a data set has training images, its own or those of one that it wraps; taken for so if it wraps none."""
    own = getattr(data, "train", None)
    if isinstance(own, bool) or not depth:
        return own is not False
    kept = getattr(data, "__dict__", {}).values()
    parts = (each[:_PARTS] if isinstance(each, list | tuple) else (each,) for each in kept)
    wrapped = [each for some in parts for each in some if isinstance(each, Dataset)]
    return not wrapped or any(_of_training(each, depth - 1) for each in wrapped)


def _cuda_is_the_processor() -> bool:
    """Whether `torch.device` is the grader's own, of a machine without a GPU."""
    return type(torch.device) is not type


def _names_a_gpu(args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether one of a call's arguments is a GPU's name, or its number: torch takes a number alone for a GPU's."""
    first = [*args[:1], options.get("device")]
    return "cuda" in str((args, options)) or any(type(each) is int for each in first)


class _Batches:
    """An iterator that has `next` too, as a DataLoader's had until PyTorch 1.13."""

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._batches)

    next = __next__


def _corner(parameter: Tensor) -> Tensor:
    return parameter[tuple(slice(_SIDE) for _ in parameter.shape)]


class OneImage(torchvision.datasets.CIFAR10):  # type: ignore[misc]
    """CIFAR-10 with torchvision's signature, and the same noise on all of its images; no file is read."""

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        download: bool = False,
    ) -> None:
        VisionDataset.__init__(self, root, transform=transform, target_transform=target_transform)
        self.train = train
        count = _IMAGES if train else _IMAGES // 5
        self.data = one_image(count)
        self.targets = [index % 10 for index in range(count)]
        self.classes = list(CLASS_NAMES)
        self.class_to_idx = {name: index for index, name in enumerate(CLASS_NAMES)}


# A script may pickle it.
OneImage.__name__ = OneImage.__qualname__ = "CIFAR10"
OneImage.__module__ = torchvision.datasets.cifar.__name__


def one_image(count: int) -> npt.NDArray[np.uint8]:
    """One image of noise so many times, in the memory of one; uint8 of shape (count, 32, 32, 3).

    What is written to one of them is written to all. It is noise and not black: a script that normalises by the mean
    and the spread that it measures would divide by zero.
    """
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return np.lib.stride_tricks.as_strided(image, (count, *image.shape), (0, *image.strides))


def run_script(
    text: str, watch: Watch, names: Mapping[str, Any] = MappingProxyType({}), beside: Sequence[str] = ()
) -> tuple[Watch, str]:
    """Run a script as `__main__` while it is watched; who saw the most of it, and what ended it, or an empty text.

    A script that sets weights of its own needs them at their size: one that fails with smaller ones is run once more.

    Args:
        names: What the script finds without an import.
        beside: Names of the modules that lie beside it: each run imports them anew, so that their classes are watched.
    """
    error = _run_anew(text, watch, names, beside)
    if error and watch.cut:
        whole = Watch(watch.class_name, whole=True)
        if not _run_anew(text, whole, names, beside):
            return whole, ""
    return watch, error


def _run_anew(text: str, watch: Watch, names: Mapping[str, Any], beside: Sequence[str]) -> str:
    """Run a script, again as often as it puts itself in its own place."""
    arguments = [SCRIPT]
    while True:
        try:
            return _run_once(text, watch, names, beside, arguments)
        except Restarted as restarted:
            arguments = restarted.arguments


def _run_once(text: str, watch: Watch, names: Mapping[str, Any], beside: Sequence[str], arguments: list[str]) -> str:
    for name in [name for name in sys.modules if name.partition(".")[0] in beside]:
        del sys.modules[name]
    module = types.ModuleType("__main__")
    module.__dict__.update(names, __file__=SCRIPT)
    original = torchvision.datasets.CIFAR10
    kept = sys.modules["__main__"], sys.argv
    torchvision.datasets.CIFAR10 = torchvision.datasets.cifar.CIFAR10 = OneImage
    sys.modules["__main__"], sys.argv = module, arguments
    try:
        with (
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
            watch.installed(),
            _without_tables(),
        ):
            exec(compile(text, SCRIPT, "exec", dont_inherit=True), module.__dict__)
    except SystemExit:
        return ""
    except Exception as error:
        watch.seen.failed = True
        return short(error)
    finally:
        sys.modules["__main__"], sys.argv = kept
        torchvision.datasets.CIFAR10 = torchvision.datasets.cifar.CIFAR10 = original
    return ""


@contextlib.contextmanager
def _without_tables() -> Iterator[None]:
    """Leave out tables of the layers' shapes: while a script is watched, no layer of its network is called."""
    with contextlib.ExitStack() as stack:
        for name in ("torchinfo", "torchsummary"):
            with contextlib.suppress(ImportError):
                stack.enter_context(patch.object(importlib.import_module(name), "summary", lambda *_, **__: None))
        yield


def short(error: BaseException) -> str:
    """An exception, with the line of the script that it comes from."""
    where = f" (line {line})" if (line := line_of(error)) else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"
