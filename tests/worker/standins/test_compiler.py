"""torch's compiler costs a start nothing until a script asks for it, and then it is the real one."""

from collections.abc import Iterator

import pytest

from forks import Forks, forks

# Devices are replaced first, as on every machine without a GPU: the compiler makes tables of torch's names.
PRELUDE = """
import grader.worker
import sys, torch, torchvision
from grader.worker.standins import no_gpu
for (owner, name), replacement in no_gpu.replacements().items():
    setattr(owner, name, replacement)
network = torch.nn.Linear(3, 2)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)

def step():
    optimizer.zero_grad()
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    schedule.step()
    torch.optim.Adam(network.parameters()).step()

step()
"""


@pytest.fixture(scope="module")
def stepped() -> Iterator[Forks]:
    with forks(PRELUDE) as server:
        yield server


def test_a_training_step_does_not_import_the_compiler(stepped: Forks) -> None:
    finished = stepped.run("print([name for name in ('sympy', 'torch._inductor') if name in sys.modules])")
    assert finished.stdout.strip() == "[]", finished.stderr


@pytest.mark.parametrize(
    "script",
    [
        "import torch._dynamo\ntorch._dynamo.config.suppress_errors = True",
        "torch._dynamo.reset()",
        "import torch._dynamo.config as config\nassert config is torch._dynamo.config",
        "from torch._dynamo import config\nfrom torch._dynamo.utils import counters",
        "assert torch.compile(network, backend='eager')(torch.ones(1, 3)).shape == (1, 2)",
    ],
    ids=["config", "reset", "a_module_of_it", "from", "compile"],
)
def test_whoever_asks_for_the_compiler_has_the_real_one(script: str, stepped: Forks) -> None:
    finished = stepped.run(f"{script}\nstep()\nassert sys.modules['torch._dynamo.utils'].__file__\nprint('real')")
    assert finished.stdout.strip() == "real", finished.stderr


def test_whether_something_could_be_compiled_is_answered_by_the_real_one(stepped: Forks) -> None:
    finished = stepped.run(
        "from torchvision.ops.roi_align import is_compile_supported as bound\n"
        "print(bound('cpu') == torch._dynamo.utils.is_compile_supported('cpu'), 'sympy' in sys.modules)"
    )
    assert finished.stdout.strip() == "True True", finished.stderr
