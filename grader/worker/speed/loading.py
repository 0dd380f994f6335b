"""Data loaders without worker processes: where they would only cost time, and where a system cannot fork them.

The second is a student's Windows or macOS; the grader runs on Linux.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader, Subset, default_collate

from grader.worker.channel import note
from grader.worker.dataset import GraderCIFAR10

_OF_WORKERS = ("num_workers", "prefetch_factor", "persistent_workers", "multiprocessing_context", "timeout")


def without_workers() -> None:
    """Let every DataLoader load in the script's own process: the same batches, more slowly."""
    init: Any = DataLoader.__init__
    signature = inspect.signature(init)

    @functools.wraps(init)
    def here(loader: Any, *args: Any, **options: Any) -> None:
        given = signature.bind(loader, *args, **options)
        if given.arguments.get("num_workers"):
            note("Data was loaded without worker processes: this system cannot fork them.")
        for name in _OF_WORKERS:
            given.arguments.pop(name, None)
        init(*given.args, **given.kwargs)

    DataLoader.__init__ = here  # type: ignore[method-assign,assignment]


class OwnLoading:
    """Loads in the script's own process, while it is on, what worker processes would only hand over.

    Whole batches of images without random transforms are made faster than two processes exchange them, and they are the
    same: no random number of a worker goes into them.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._iterators = self._own = 0
        if enabled:
            make: Any = DataLoader._get_iterator
            setattr(DataLoader, "_get_iterator", lambda loader: self._iterator(loader, make))  # noqa: B010 (as in patches)

    @property
    def share(self) -> float:
        """Of the passes over a data set that would have started workers."""
        return self._own / max(1, self._iterators)

    def _iterator(self, loader: Any, make: Callable[[Any], Any]) -> Any:
        workers, timeout = loader.num_workers, loader.timeout
        if not workers:
            return make(loader)
        self._iterators += 1
        if not _same_without_workers(loader):
            return make(loader)
        self._own += 1
        loader.num_workers = loader.timeout = 0
        try:
            return make(loader)
        finally:
            loader.num_workers, loader.timeout = workers, timeout


def _same_without_workers(loader: Any) -> bool:
    data = loader.dataset.dataset if type(loader.dataset) is Subset else loader.dataset
    plain = loader.worker_init_fn is None and loader.collate_fn is default_collate and not loader.persistent_workers
    return plain and type(data) is GraderCIFAR10 and data.draws_nothing
