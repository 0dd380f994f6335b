"""Stand-ins for what a script takes for granted in a notebook on Colab: its modules, its keyboard, its functions."""

import ast
import contextlib
import importlib
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from grader.worker.channel import note

# A script that asks until it hears what it wants must not ask for ever.
_MOST_ANSWERS = 100


def functions() -> dict[str, Any]:
    """The names that IPython puts into a notebook without an import."""
    return {"display": print, "get_ipython": _Shell}


class Keyboard:
    """A keyboard at which nobody sits."""

    def __init__(self) -> None:
        self._answers = 0

    def input(self, prompt: object = "", /) -> str:
        """Print the prompt and give an empty line back."""
        self._answers += 1
        if self._answers > _MOST_ANSWERS:
            raise EOFError(f"input() was called more than {_MOST_ANSWERS} times, but nobody is at the keyboard")
        note("Your script asked for input(), and the grader gave it an empty line.")
        print(prompt)
        return ""


class Internet:
    """The connection that Colab has and the sandbox lacks."""

    def __init__(self) -> None:
        self._asked = False

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Hear of each host that the script looks up; this machine itself is none."""
        if event != "socket.getaddrinfo" or self._asked:
            return
        host = arguments[0].decode("ascii", "replace") if isinstance(arguments[0], bytes) else str(arguments[0] or "")
        if host and not host.startswith(("localhost", "127.", "::1")) and host != socket.gethostname():
            self._asked = True
            note(
                "Your script asked for something on the internet, and there is no connection while it is graded; "
                "torchvision.datasets.CIFAR10 works without one."
            )

    def doubts(self) -> tuple[str, ...]:
        """For a person: a script that fails here for lack of a connection may run on Colab."""
        return (
            "the script asked for the internet, which Colab has and the sandbox lacks, and made no network",
        ) * self._asked


INTERNET = Internet()


class _Shell:
    """`get_ipython()` in a script that was exported from a notebook: its commands and magics do nothing."""

    def __init__(self) -> None:
        note("get_ipython() did nothing because your script does not run in a notebook.")

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _nothing


class _Finder(MetaPathFinder, Loader):
    """Finds the modules of one table: name to what fills it."""

    def __init__(self, modules: Mapping[str, Callable[[ModuleType], None]]) -> None:
        self._modules = modules

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name in self._modules else None

    def exec_module(self, module: ModuleType) -> None:
        self._modules[module.__name__](module)


class _PlotsWithoutWindows(MetaPathFinder):
    """Finds matplotlib as it is, less the choice of a backend: one that opens windows fails here."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == "matplotlib" else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_stay(module: ModuleType) -> None:
                execute(module)
                vars(module).update(use=_use)

            spec.loader.exec_module = execute_and_stay  # type: ignore[method-assign]
        return spec


def _use(backend: str, *_: Any, **__: Any) -> None:
    if backend.lower() != "agg":
        note("matplotlib drew without a window, whatever backend your script chose.")


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _mount(mountpoint: str, *_: Any, **__: Any) -> None:
    """Google Drive as an empty folder, where the script may write."""
    note("Google Drive was not mounted: your script got an empty folder instead.")
    older_name = Path(mountpoint, "My Drive")
    try:
        Path(mountpoint, "MyDrive").mkdir(parents=True, exist_ok=True)
        if not older_name.exists():
            older_name.symlink_to("MyDrive")
    except OSError as error:
        print(f"{mountpoint}: {error.strerror}")
    # A script may have changed its own name or folder; that must not end it here.
    with contextlib.suppress(Exception):
        _make_folders(Path(mountpoint).resolve())
    print(f"Mounted at {mountpoint}")


def _make_folders(drive: Path) -> None:
    """Make the folders that the script names below `drive`, unless it makes its own: in the student's they are there.

    Without them `torch.save` into one would end the script after its first epoch.
    """
    text = Path(str(sys.modules["__main__"].__file__)).read_text(encoding="utf-8", errors="surrogatepass")
    if "mkdir" in text or "makedirs" in text:
        return
    named = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    for value in named:
        if isinstance(value, str) and "drive" in value.lower():
            with contextlib.suppress(OSError, ValueError):
                path = Path(value).resolve()
                folder = path.parent if path.suffix else path
                if folder.is_relative_to(drive):
                    folder.mkdir(parents=True, exist_ok=True)


def _filled_with(**values: Any) -> Callable[[ModuleType], None]:
    def fill(module: ModuleType) -> None:
        package = "google.colab" if module.__name__.startswith("google") else "IPython"
        note(f"The grader replaced {package} with a stand-in that does nothing.")
        vars(module).update(values)

    return fill


def _plain_progress_bar(module: ModuleType) -> None:
    """The bar for notebooks fails without a browser's widgets; the one for terminals takes the same arguments."""
    tqdm = importlib.import_module("tqdm.std")
    vars(module).update(tqdm=tqdm.tqdm, tqdm_notebook=tqdm.tqdm, trange=tqdm.trange, tnrange=tqdm.trange)


_COLAB = {
    # Libraries ask IPython whether they are in a notebook (they are not), and matplotlib asks for a version.
    "IPython": _filled_with(get_ipython=_nothing, version_info=(9, 0, 0)),
    "IPython.display": _filled_with(
        **dict.fromkeys(("HTML", "Image", "Markdown"), str), clear_output=_nothing, display=print
    ),
    "google": _nothing,
    "google.colab": _filled_with(),
    "google.colab.auth": _filled_with(authenticate_user=_nothing),
    "google.colab.drive": _filled_with(mount=_mount, flush_and_unmount=_nothing),
    "google.colab.files": _filled_with(upload=dict, download=_nothing, view=_nothing),
    "google.colab.output": _filled_with(clear=_nothing),
    "google.colab.patches": _filled_with(cv2_imshow=_nothing),
    "google.colab.runtime": _filled_with(unassign=_nothing),
    "google.colab.userdata": _filled_with(get=lambda key: ""),
}

# Finders of modules: the first two come before all others, the third after them, so that a real module comes first.
BARS, PLOTS = _Finder({"tqdm.notebook": _plain_progress_bar}), _PlotsWithoutWindows()
MODULES = _Finder(_COLAB)
