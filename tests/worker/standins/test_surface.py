"""What stands in for a part of torch or torchvision has that part's surface: compared with it, not remembered.

Whatever has more or less is named here with its reason.
"""

import inspect
import json
import subprocess
from typing import Any

import pytest
import torch
from torchvision.datasets import CIFAR10
from torchvision.datasets.cifar import CIFAR10 as REAL

from cuda_scripts import run_parts
from grader.worker.dataset import GraderCIFAR10
from grader.worker.look.watch import OneImage
from grader.worker.standins import no_gpu

ON_A_CARD_ONLY = {
    "CUDAGraph": "replays what a GPU did",
    "graph": "replays what a GPU did",
    "CUDAPluggableAllocator": "is given a library for the GPU",
    "change_current_allocator": "is given an allocator of such a library",
    "caching_allocator_alloc": "gives an address on the GPU",
    "MemPool": "holds addresses on the GPU",
    "GreenContext": "is a part of a GPU",
    "cudart": "is NVIDIA's library itself",
    "current_blas_handle": "is an address in NVIDIA's library",
    "current_solver_handle": "is an address in NVIDIA's library",
    "get_stream_from_external": "is given an address in NVIDIA's library",
}
# Every public function and class of torch.cuda is called as a script might; what no arguments satisfy is printed.
WALK = """
import contextlib, io, json
ARGUMENTS = ((), (0,), (torch.ones(1),), (0, 0), ("text",), (lambda *_: 0,), (torch.get_rng_state(),))


def answers(value):
    for arguments in ARGUMENTS:
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value(*arguments)
            return True
    return False


def own(module):
    for name, value in vars(module).items():
        imported = getattr(value, "__module__", None) in ("typing", "functools", "os", "enum", "collections.abc")
        raised = isinstance(value, type) and issubclass(value, BaseException)
        if callable(value) and not name.startswith("_") and not imported and not raised:
            yield name, value


modules = [torch.cuda, torch.cuda.memory, torch.cuda.random, torch.cuda.nvtx, torch.accelerator]
found = {module.__name__: [name for name, value in own(module) if not answers(value)] for module in modules}
from torch.utils._device import _device_constructors
found["factories"] = [
    each.__name__ for each in _device_constructors()
    if hasattr(torch, each.__name__) and not hasattr(getattr(torch, each.__name__), "__wrapped__")
]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """By module what fails on a machine without a GPU."""
    said: subprocess.CompletedProcess[str] = run_parts(WALK, tmp_path_factory.mktemp("script"))
    assert said.returncode == 0, said.stderr
    found: dict[str, list[str]] = json.loads(said.stdout.splitlines()[-1])
    return found


def test_no_name_of_torch_cuda_fails_but_those_that_need_a_card(silent: dict[str, list[str]]) -> None:
    failing = {name for module, names in silent.items() if module != "torch.accelerator" for name in names}
    assert failing - ON_A_CARD_ONLY.keys() == set()


def test_no_name_of_the_accelerator_fails_but_its_graph(silent: dict[str, list[str]]) -> None:
    assert set(silent["torch.accelerator"]) <= {"Graph"}


@pytest.mark.parametrize("stand_in", [GraderCIFAR10, OneImage], ids=["grader", "self-check"])
def test_the_data_set_has_torchvisions_names_signatures_and_bases(stand_in: Any) -> None:
    assert CIFAR10 is REAL
    assert (stand_in.__name__, stand_in.__qualname__, stand_in.__module__) == ("CIFAR10", "CIFAR10", REAL.__module__)
    assert stand_in.__mro__[1:] == REAL.__mro__
    # copyreg keeps __slotnames__ on any class of which an object was pickled.
    assert set(dir(stand_in)) - {"__slotnames__"} == set(dir(REAL)) - {"__slotnames__"}
    for name in dir(REAL):
        value = getattr(REAL, name)
        if inspect.isfunction(value):
            assert parameters(getattr(stand_in, name)) == parameters(value), name
        elif not name.startswith("__"):
            assert getattr(stand_in, name) == value, name


def parameters(function: Any) -> list[tuple[str, object, object]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


def test_streams_and_events_have_torchs_public_names() -> None:
    # What other processes and NVIDIA's library would be given.
    for_others = {"from_ipc_handle", "ipc_handle", "priority_range", "native_handle", "is_capturing"}
    for kind, stand_in in ((torch.cuda.Stream, no_gpu._Stream), (torch.cuda.Event, no_gpu._Event)):
        missing = {name for name in dir(kind) if not name.startswith("_")} - set(dir(stand_in))
        assert missing <= for_others
