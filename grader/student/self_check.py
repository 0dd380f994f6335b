"""A student's own check: `python -m grader.student.self_check hw6.py`, in a child process under a time limit.

Runs the script on a few batches of one image, then looks at its network; every line of the answer on the last
descriptor is one event of telemetry. No data set, no sandbox: it is the student's own code on the student's machine.
"""

import contextlib
import importlib
import os
import sys
import tomllib
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import torchvision
from torchvision.datasets import VisionDataset

from grader.judge.specification import CLASS_NAMES
from grader.protocol import Event, QuestionsSeen, SourceRead, Stopped, to_json
from grader.records import StopReason
from grader.worker.look.network import build, look_at
from grader.worker.look.questions import answers
from grader.worker.look.watch import Watch
from grader.worker.one_image import one_image
from grader.worker.source import read_source

_ASSIGNMENT = Path(__file__).parents[1] / "assignment.toml"
_IMAGES = 50_000


class OneImage(torchvision.datasets.CIFAR10):  # type: ignore[misc]
    """CIFAR-10 with torchvision's signature, and the same noise on all of its images; no file is read."""

    def __init__(
        self,
        root: str | Path = "",
        train: bool = True,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        download: bool = False,
    ) -> None:
        VisionDataset.__init__(self, "", transform=transform, target_transform=target_transform)
        self.train = train
        count = _IMAGES if train else _IMAGES // 5
        self.data = one_image(count)
        self.targets = [index % 10 for index in range(count)]
        self.classes = list(CLASS_NAMES)
        self.class_to_idx = {name: index for index, name in enumerate(CLASS_NAMES)}


def short(error: BaseException) -> str:
    """An exception, with the line of the script that it comes from."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == "hw6.py" else line
        trace = trace.tb_next
    where = f" (line {line})" if line else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"


def run(path: Path, say: Callable[[Event], None]) -> None:
    """Check one file, and say what was found as soon as it is known."""
    source = read_source(path.read_bytes())
    say(SourceRead(source.blanks, source.notes, fault=source.fault))
    if source.fault:
        return
    rules = tomllib.loads(_ASSIGNMENT.read_text(encoding="utf-8"))
    # As for `python hw6.py`: it may import what lies beside it.
    sys.path.insert(0, str(path.resolve().parent))
    watch, error = run_script(source.text, Watch(rules["class_name"]))
    say(Stopped(StopReason.ERROR if error else StopReason.FINISHED, error=error))
    say(QuestionsSeen(answers(watch.seen, source.blanks, tuple(rules["questions"]["learning_rates"]))))
    if watch.made is not None:
        network, failure = build(watch.made, tuple(rules["blocks"]))
        say(look_at(network, failure, watch.made))


def run_script(text: str, watch: Watch, names: Mapping[str, Any] = MappingProxyType({})) -> tuple[Watch, str]:
    """Run a script as `__main__` while it is watched; who saw the most of it, and what ended it, or an empty text.

    A script that sets weights of its own needs them at their size: one that fails with smaller ones is run once more.

    Args:
        names: What the script finds without an import.
    """
    error = _run_once(text, watch, names)
    if error and watch.cut:
        whole = Watch(watch.class_name, whole=True)
        if not _run_once(text, whole, names):
            return whole, ""
    return watch, error


def _run_once(text: str, watch: Watch, names: Mapping[str, Any]) -> str:
    module = types.ModuleType("__main__")
    module.__dict__.update(names, __file__="hw6.py")
    original = torchvision.datasets.CIFAR10
    kept = sys.modules["__main__"], sys.argv
    torchvision.datasets.CIFAR10 = torchvision.datasets.cifar.CIFAR10 = OneImage
    sys.modules["__main__"], sys.argv = module, ["hw6.py"]
    try:
        with (
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
            watch.installed(),
            _without_tables(),
        ):
            exec(compile(text, "hw6.py", "exec", dont_inherit=True), module.__dict__)
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


def main(path: Path, answer: Path) -> None:
    """Write what was found to the file `answer`, line by line."""
    with answer.open("w", encoding="utf-8") as lines:

        def say(event: Event) -> None:
            lines.write(to_json(event) + "\n")
            lines.flush()

        run(path, say)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
