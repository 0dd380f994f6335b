"""Which files a process may touch where there are no mount namespaces: Landlock, by the landlockpy package."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

# From this version of Landlock on, signals and abstract sockets end at the sandbox's edge (Linux 6.12).
_NEEDED_ABI = 6


@cache
def missing() -> str:
    """Why there is no Landlock here that is strong enough; empty if there is."""
    try:
        import landlockpy
    except ImportError:
        return "landlockpy is not installed"
    abi = landlockpy.abi_version()
    return "" if abi >= _NEEDED_ABI else f"Landlock's version here is {abi}, and {_NEEDED_ABI} is needed (Linux 6.12)"


def restrict(readable: Iterable[str], listable: Iterable[str], writable: Iterable[str], devices: Iterable[str]) -> None:
    """Confine this thread, and whatever it starts, to these files, for good.

    Args:
        readable: Files, or folders with all in them, to be read and executed.
        listable: Folders whose names may be listed.
        writable: Folders in which anything but devices may be made.
        devices: Files to be read, written and controlled.
    """
    from landlockpy import AccessFS, Ruleset, Scope

    file_read = AccessFS.READ_FILE | AccessFS.EXECUTE
    write = AccessFS.READ_FILE | AccessFS.WRITE_FILE | AccessFS.TRUNCATE
    make = AccessFS.MAKE_REG | AccessFS.MAKE_DIR | AccessFS.MAKE_SYM | AccessFS.MAKE_FIFO | AccessFS.MAKE_SOCK
    remove = AccessFS.REMOVE_FILE | AccessFS.REMOVE_DIR | AccessFS.REFER | AccessFS.RESOLVE_UNIX
    with Ruleset(scoped=Scope.SIGNAL | Scope.ABSTRACT_UNIX_SOCKET) as rules:
        for path in readable:
            rules.allow_path(path, file_read | AccessFS.READ_DIR if Path(path).is_dir() else file_read)
        for path in listable:
            rules.allow_path(path, AccessFS.READ_DIR)
        for path in writable:
            rules.allow_path(path, write | make | remove | AccessFS.READ_DIR)
        for path in devices:
            rules.allow_path(path, write | AccessFS.IOCTL_DEV)
        rules.restrict()


def without(folder: Path, hidden: Iterable[Path]) -> Iterator[Path]:
    """Everything in a folder as few paths, none of which leads to one of the hidden folders: rules cannot exclude."""
    inside = [path for path in hidden if path == folder or folder in path.parents]
    if not inside:
        yield folder
    elif folder not in inside:
        for entry in sorted(folder.iterdir()):
            yield from without(entry, inside)
