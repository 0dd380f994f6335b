"""Data loaders without worker processes: where these would only cost time, and where a system cannot fork them.

That is a student's Windows or macOS; the grader runs on Linux.
"""

import functools
import inspect
import multiprocessing
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import default_collate
from torch.utils.data._utils.fetch import _MapDatasetFetcher
from torch.utils.data.dataloader import _DatasetKind, _SingleProcessDataLoaderIter

from grader.worker import dataset
from grader.worker.channel import note
from grader.worker.dataset import GraderCIFAR10, below, steps_of
from grader.worker.speed.transforms import draw_nothing, transformed

_FORKED = "The grader started worker processes by fork, whatever your script asked for."
_METHODS = (None, "fork", "spawn", "forkserver")
_CONTEXT = multiprocessing.get_context("fork") if sys.platform == "linux" else None
_OF_WORKERS = ("num_workers", "prefetch_factor", "persistent_workers", "multiprocessing_context", "timeout")


def in_own_process(init: Callable[..., None]) -> Callable[..., None]:
    """`DataLoader.__init__` for a loader in the script's own process: the same batches, more slowly."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def here(loader: Any, *args: Any, **options: Any) -> None:
        given = signature.bind(loader, *args, **options)
        if given.arguments.get("num_workers"):
            note("Your script loaded data without worker processes because this system cannot fork them.")
        for name in _OF_WORKERS:
            given.arguments.pop(name, None)
        init(*given.args, **given.kwargs)

    return here


def still_fork(*_: Any, **__: Any) -> None:
    """`set_start_method`, which would raise now that fork is chosen, or spawn workers without the grader's CIFAR10."""
    note(_FORKED)


def forking(method: Any = None) -> Any:
    """`get_context`, whose processes fork whatever was asked for; loaders ask it, too."""
    if method not in _METHODS:
        raise ValueError(f"cannot find context for {method!r}")
    if method not in (None, "fork"):
        note(_FORKED)
    return _CONTEXT


def fetcher_of(create: Callable[..., Any]) -> Callable[..., Any]:
    """`_DatasetKind.create_fetcher`, for loaders and their workers: whole batches where the data set itself is ours.

    Not by a method of the data set: a script's wrapper that hands on every name that it lacks would hand on that one,
    too, and what the wrapper does to an image would be left out.
    """

    def made(kind: int, source: Any, auto_collation: bool, collate_fn: Any, drop_last: bool) -> Any:
        if kind == _DatasetKind.Map and auto_collation and _takes_batches(source):
            return _Fetcher(source, auto_collation, collate_fn, drop_last)
        return create(kind, source, auto_collation, collate_fn, drop_last)

    return made


class _Fetcher(_MapDatasetFetcher):
    """Asks our own data set for whole batches."""

    def fetch(self, possibly_batched_index: Sequence[int]) -> Any:
        return self.collate_fn(dataset.items(*below(self.dataset, list(possibly_batched_index))))


class OwnLoading:
    """Loads batches in the script's own process instead of in worker processes.

    Making a whole batch takes less time than handing it over. Without random transforms the batches are the same, since
    no worker's random number goes into them. Random transforms are drawn for a whole batch at once.

    Args:
        enabled: For data without random transforms.
        random: Asked at the beginning of each pass: also with random transforms, by other random numbers of the same
            distribution?
    """

    def __init__(self, *, enabled: bool, random: Callable[[], bool]) -> None:
        self.enabled, self._random = enabled, random
        self._iterators = self._own = self._drawn = 0
        self._pass: weakref.ref[_WholeBatches] | None = None

    @property
    def share(self) -> float:
        """Of the passes over a data set that would have started workers."""
        return self._own / max(1, self._iterators)

    @property
    def random_share(self) -> float:
        """Of the same, those whose random numbers were drawn for a whole batch at once."""
        return self._drawn / max(1, self._iterators)

    def iterator_of(self, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """`DataLoader._get_iterator`, whose passes are made by `make` or in the script's own process."""
        return lambda loader: self._iterator(loader, make)

    def _iterator(self, loader: Any, make: Callable[[Any], Any]) -> Any:
        if not loader.num_workers:
            return make(loader)
        self._iterators += 1
        if not _makes_whole_batches(loader):
            return make(loader)
        draws = not draw_nothing(steps_of(below(loader.dataset)[0]) or ())
        if draws and not self._random():
            return make(loader)
        self._own += 1
        self._drawn += draws
        workers, timeout = loader.num_workers, loader.timeout
        loader.num_workers = loader.timeout = 0
        try:
            made = _WholeBatches(loader)
        finally:
            loader.num_workers, loader.timeout = workers, timeout
        self._pass = weakref.ref(made)
        return made

    def prepare(self, *_: Any) -> None:
        """Make the next batch after a step, while the GPU still computes that."""
        current = self._pass() if self._pass else None
        if current is not None:
            current.prepare()


class _WholeBatches(_SingleProcessDataLoaderIter):
    """One pass over the grader's own images; a batch is made at once, not collected from images."""

    def __init__(self, loader: Any) -> None:
        super().__init__(loader)
        # As with workers, random numbers follow from this seed and not from the script's own generator.
        chance = torch.Generator().manual_seed(int(self._base_seed))
        self._dataset_fetcher = _Batches(loader.dataset, chance)
        self._ready: Any = None

    def prepare(self) -> None:
        """Make the next batch now, unless it is there or none was asked for yet."""
        if self._sampler_iter is not None and self._ready is None:
            try:
                self._ready = super()._next_data()  # type: ignore[no-untyped-call]
            except StopIteration:
                self._ready = _END

    def _next_data(self) -> Any:
        ready, self._ready = self._ready, None
        if ready is _END:
            raise StopIteration
        return super()._next_data() if ready is None else ready  # type: ignore[no-untyped-call]


class _Batches:
    """Gives a pass its batches, by the indices of their images; like a worker, it keeps its first transform."""

    def __init__(self, source: Any, chance: torch.Generator) -> None:
        self._images, self._rows = below(source, range(len(source)))
        self._steps, self._chance = steps_of(self._images) or (), chance

    def fetch(self, indices: Sequence[int]) -> list[torch.Tensor]:
        rows = [self._rows[index] for index in indices]
        dataset.served.count(len(rows), batched=True)
        dataset.given.use(self._images, len(rows))
        images = transformed(self._images.data[rows], self._steps, self._chance)
        labels = torch.tensor([self._images.targets[row] for row in rows])
        return [images.as_subclass(torch.Tensor).contiguous(), labels]


_END = object()


def _takes_batches(source: Any) -> bool:
    images, _ = below(source)
    return isinstance(images, GraderCIFAR10) and not hasattr(images, "__getitems__")


def _makes_whole_batches(loader: Any) -> bool:
    images, _ = below(loader.dataset)
    plain = loader.worker_init_fn is None and loader.collate_fn is default_collate and not loader.persistent_workers
    ours = plain and type(images) is GraderCIFAR10
    return ours and steps_of(images) is not None and images.target_transform is None
