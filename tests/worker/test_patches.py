"""All that is replaced around a script stands in the tables of patches.py, as the real worker shows."""

import json
import sys
from collections import Counter
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import torch

from grader.records import OPTIMIZATIONS
from grader.worker import patches
from grader.worker.leaving import Exits
from grader.worker.speed.acceleration import Acceleration
from in_worker import run_in_worker

# What is in the packages' modules and classes before the worker's modules are imported, and what its script finds.
WALK = """
import grader.worker
import json, sys, types
import multiprocessing, numpy.random, torch, torchvision.transforms.v2

PACKAGES = ("torch", "torchvision", "numpy", "multiprocessing", "builtins", "os", "io", "time", "threading")
NEW = object()
made = []


def contents():
    modules = [value for name, value in list(sys.modules.items()) if name.split(".")[0] in PACKAGES]
    classes = [value for module in modules for value in list(vars(module).values()) if isinstance(value, type)]
    return {(id(owner), name): (owner, value) for owner in modules + classes for name, value in vars(owner).items()}


def changed():
    known = {owner for owner, _ in before}
    for (owner, name), (holder, value) in contents().items():
        was = before.get((owner, name), (holder, NEW))[1]
        if owner in known and value is not was and (callable(value) or callable(was)):
            yield owner, name, holder


def seen():
    table = {(id(each.owner), each.name): each for each in made if hasattr(each, "owner")}
    elsewhere = sorted(f"{holder.__name__}.{name}" for owner, name, holder in changed() if (owner, name) not in table)
    gone = sorted(name for (_, name), each in table.items() if vars(each.owner).get(name) is not each.replacement)
    return json.dumps({"changed": len(list(changed())), "elsewhere": elsewhere, "gone": gone})


before = contents()
from grader.worker import patches
install = patches.install
patches.install = lambda changes: made.extend(changes) or install(changes)
sys.modules["walk"] = types.SimpleNamespace(seen=seen)
"""


def test_nothing_is_replaced_that_is_in_no_table(tmp_path: Path) -> None:
    printed = run_in_worker("import walk\nprint(walk.seen())", tmp_path, WALK)
    seen = json.loads(printed)
    assert seen["elsewhere"] == []
    assert seen["gone"] == []
    assert seen["changed"] > 100


@pytest.mark.parametrize("gpu", [True, False], ids=["gpu", "no_gpu"])
@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_no_name_is_replaced_twice_and_each_change_has_its_reason(
    platform: str, gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    faster = Acceleration(OPTIMIZATIONS, "script", [])
    exits = Exits(lambda: pytest.fail("ended"), lambda: False)
    changes = [*patches.surrounding(), *patches.watching(MagicMock(), MagicMock(), faster, exits)]
    names = Counter((id(each.owner), each.name) for each in changes if isinstance(each, patches.Patch))
    assert max(names.values()) == 1
    assert all(each.why.endswith(".") for each in changes)


def test_the_worker_s_own_question_for_a_gpu_is_not_the_script_s(tmp_path: Path) -> None:
    script = "from grader.worker.standins import no_gpu\nprint(no_gpu.gave_up(SystemExit(), made_network=False))"
    assert run_in_worker(script, tmp_path) == "False\n"
