"""torch's compiler costs a start nothing until a script asks for it; what it then gets runs the forward that counts."""

import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from forks import Forks, forks
from grader.worker.standins import compiler

# Torch advises against TorchScript.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")

IMAGES = torch.ones(2, 3)
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


class IdentityResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu(self.fc(x))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The forwards of the class, which is wrapped as the budget wraps it."""
    seen: list[Any] = []
    forward = IdentityResNet.forward

    @functools.wraps(forward)
    def counted(network: IdentityResNet, *args: Any) -> torch.Tensor:
        seen.append(network)
        return forward(network, *args)

    monkeypatch.setattr(IdentityResNet, "forward", counted)
    return seen


def test_a_compiled_network_is_torchs_own_wrapper(calls: list[Any]) -> None:
    network = IdentityResNet()
    compiled: Any = compiler.not_compiled(network, mode="max-autotune", fullgraph=True)
    assert compiled._orig_mod is network
    assert list(compiled.state_dict()) == ["_orig_mod.fc.weight", "_orig_mod.fc.bias"]
    assert type(compiled) is torch._dynamo.OptimizedModule
    assert torch.equal(compiled(IMAGES), network(IMAGES))
    assert calls == [network, network]
    assert compiled.eval().training is False


def test_a_function_and_a_decorator_compile_to_the_function() -> None:
    def step(x: int) -> int:
        return x + 1

    assert compiler.not_compiled(step) is step
    assert compiler.not_compiled(mode="default")(step) is step
    assert compiler.not_scripted(step) is step


def test_a_scripted_network_is_counted_and_can_be_saved(
    calls: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.jit, "script", compiler.not_scripted)
    scripted: Any = compiler.not_scripted(IdentityResNet())
    expected = scripted(IMAGES)
    assert calls == [scripted]
    assert IdentityResNet in type(scripted).__mro__
    assert list(scripted.state_dict()) == ["fc.weight", "fc.bias"]
    scripted.save(str(tmp_path / "net.pt"))
    buffer = io.BytesIO()
    compiler.of_torchscript()[torch.jit, "save"](scripted, buffer)
    buffer.seek(0)
    load: Any = torch.jit.load
    for file in (str(tmp_path / "net.pt"), buffer):
        assert torch.equal(load(file)(IMAGES), expected)
    assert (scripted.original_name, type(scripted).__name__) == ("IdentityResNet", "RecursiveScriptModule")
    assert "relu" in scripted.code
    assert "relu" in str(scripted.graph)
    assert len(calls) == 1
    scripted(IMAGES)
    assert len(calls) == 2


def test_a_traced_network_is_counted_and_saved_as_it_is_then(calls: list[Any], tmp_path: Path) -> None:
    network = IdentityResNet()
    traced: Any = compiler.traced(network, IMAGES)
    calls.clear()
    traced(IMAGES)
    assert calls == [network]
    assert (traced.original_name, type(traced).__name__) == ("IdentityResNet", "TopLevelTracedModule")
    assert "relu" in traced.code
    with torch.no_grad():
        network.fc.weight.zero_()
    traced.save(str(tmp_path / "net.pt"))
    load: Any = torch.jit.load
    assert torch.equal(load(str(tmp_path / "net.pt"))(IMAGES), network(IMAGES))


def test_a_function_is_traced_as_torch_does() -> None:
    assert isinstance(compiler.traced(torch.relu, IMAGES), torch.jit.ScriptFunction)


def test_torch_may_script_its_own_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.jit, "script", compiler.not_scripted)
    dual: Any = forward_ad
    with dual.dual_level():
        scores = dual.make_dual(torch.randn(4, 10), torch.ones(4, 10))
        loss = torch.nn.functional.cross_entropy(scores, torch.arange(4))
        assert dual.unpack_dual(loss).tangent is not None


def test_a_network_that_torchscript_does_not_understand_is_saved_by_its_weights(tmp_path: Path) -> None:
    class Own(IdentityResNet):
        def forward(self, *x: Any, **_: Any) -> Any:
            return x

    scripted: Any = compiler.not_scripted(Own())
    scripted.save(tmp_path / "net.pt")
    assert "fc.weight" in torch.load(tmp_path / "net.pt")
