"""Data loaders where a process cannot be forked safely: on a student's Windows or macOS (the grader runs on Linux)."""

import functools
import inspect
from typing import Any

from torch.utils.data import DataLoader

from grader.worker.notes import note

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
