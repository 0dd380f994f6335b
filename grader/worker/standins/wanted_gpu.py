"""A script that does nothing without a GPU, on a machine that has none: it is told that there is one.

Only where it gave up, and only where the script itself asks: what torch asks of itself it must know as it is.
"""

import dis
import os
import sys
from pathlib import Path

import torch

from grader.worker.notes import note

# What `raise` and `assert` compile to; any other error of the script comes from another instruction.
_RAISE = dis.opmap["RAISE_VARARGS"]
_OURS = str(Path(__file__).parents[2])
_refused: list[bool] = []
_granted: list[bool] = []


def install() -> None:
    """Answer a script's question for a GPU; no, until `grant`."""
    torch.cuda.is_available = lambda: bool(_answer())
    torch.cuda.device_count = _answer


def gave_up(error: BaseException | None, *, made_network: bool) -> bool:
    """Whether a script that ended before it trained had asked for a GPU in vain, and ended by its own will.

    Args:
        error: What ended it, perhaps a SystemExit; None: it came to its end.
    """
    if not _refused or _granted:
        return False
    if error is None or isinstance(error, SystemExit):
        return not made_network
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    return _of_the_script(code.co_filename) and code.co_code[trace.tb_lasti] == _RAISE


def grant() -> None:
    """Say from now on that there is a GPU; no_gpu.py lets it be the processor."""
    _granted.append(True)
    note("The script does nothing without a GPU; the machine had none, and the script was told that there is one.")


def _answer() -> int:
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    if not _of_the_script(frame.f_code.co_filename):
        return 0
    if not _granted:
        _refused.append(True)
    return len(_granted)


def _of_the_script(file: str) -> bool:
    """Whether a file is the script, or lies beside it."""
    return os.path.dirname(file) in ("", os.getcwd())
