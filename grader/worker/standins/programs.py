"""Programs that Colab has and this machine lacks: a script that starts one gets an answer, and not an error.

`nvidia-smi` describes what torch finds; any other program does nothing. Without a shell, a whole command does nothing.
What installs packages says that they are there: nothing can be fetched here, and what Colab has, the grader has.
"""

import functools
import inspect
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from grader.worker.channel import note

_SHELL = "/bin/sh"
# In a sandbox only PYTHONPATH leads to the libraries, and sysconfig does not know them: they lie where torch does.
_INSTALLED = (*map(sysconfig.get_path, ("stdlib", "purelib", "platlib")), str(Path(torch.__file__).parents[1]))
_INSTALLERS = {"pip", "pip3", "conda", "mamba", "uv", "apt", "apt-get"}
# Printed for `nvidia-smi`, for its list of cards, and for each field that a script may ask for; for an installation.
_ANSWER = """#!{python} -SE
import sys
command = " ".join(sys.argv[1:])
fields = {fields!r}
if "nvidia-smi" in command:
    asked = [word.split("=", 1)[1] for word in command.split() if word.startswith("--query-")]
    if asked:
        names = asked[0].strip("'\\"").split(",")
        values = [fields.get(name.strip(), "0") for name in names]
        if "nounits" in command:
            values = [value.removesuffix(" MiB").removesuffix(" %") for value in values]
        if "noheader" not in command:
            print(", ".join(names))
        print(", ".join(values))
    elif " -L" in command:
        print("GPU 0: " + fields["name"])
    else:
        print("NVIDIA-SMI is not on this machine. " + fields["name"] + ", " + fields["memory.total"])
else:
    _, install, packages = command.partition(" install ")
    for name in packages.split():
        if install and not name.startswith("-"):
            print("Requirement already satisfied: " + name)
"""


def start_of(init: Callable[..., None]) -> Callable[..., None]:
    """`subprocess.Popen.__init__`, which starts a stand-in for a program that is missing."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def start(process: Any, *args: Any, **options: Any) -> None:
        if _started_by_a_library():
            init(process, *args, **options)
            return
        given = signature.bind(process, *args, **options)
        words = given.arguments["args"]
        words = [words] if isinstance(words, str | bytes | os.PathLike) else list(words)
        shell, executable = bool(given.arguments.get("shell")), given.arguments.get("executable")
        installation, missing = _installation(words), _missing(words, shell, executable)
        if installation:
            what = "Your script finds the packages that the grader has. Nothing is installed by"
            note(what, Path(installation[0]).name)
        elif missing:
            note("Your script started programs that are missing here, and that did nothing:", missing)
        if installation or missing:
            said = installation or [*map(os.fsdecode, words)]
            given.arguments |= {"args": [_stand_in(), *said], "shell": False, "executable": None}
        init(*given.args, **given.kwargs)

    return start


def _started_by_a_library() -> bool:
    """Whether the code that starts a program is installed: a library knows what to do where its program is missing."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename == subprocess.__file__:
        frame = frame.f_back
    return frame.f_code.co_filename.startswith(_INSTALLED)


def _installation(words: list[Any]) -> list[str]:
    """The words of a command from the program on that installs packages, which may be a module of Python; or none."""
    text = " ".join(map(os.fsdecode, words)).split()
    names = [Path(word).name for word in text]
    before = names[: names.index("install")] if "install" in names else []
    return next((text[index:] for index, name in enumerate(before) if name in _INSTALLERS), [])


def _missing(words: list[Any], shell: bool, executable: Any) -> str:
    """The program that a command starts, if it is missing; a Python that is missing stays an error."""
    text = os.fsdecode(words[0]).split() if words else []
    if executable or not text or text[0].startswith("python"):
        return ""
    found = os.path.exists(_SHELL) if shell else shutil.which(os.fsdecode(words[0]))
    needs_it = shell and "nvidia-smi" in text and not shutil.which("nvidia-smi")
    return text[0] if needs_it or not found else ""


@functools.cache
def _stand_in() -> str:
    file = Path(tempfile.mkdtemp(), "program")
    file.write_text(_ANSWER.format(python=sys.executable, fields=dict(_fields())), encoding="utf-8")
    file.chmod(0o755)
    return str(file)


def _fields() -> Iterator[tuple[str, str]]:
    card = torch.cuda.is_available()
    total = torch.cuda.mem_get_info()[1] >> 20
    yield from (("name", torch.cuda.get_device_name(0)), ("gpu_name", torch.cuda.get_device_name(0)))
    yield from (("memory.total", f"{total} MiB"), ("memory.free", f"{total} MiB"), ("memory.used", "0 MiB"))
    yield from (("utilization.gpu", "0 %"), ("count", str(int(card))), ("index", "0"), ("driver_version", "0"))
