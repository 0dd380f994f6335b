"""What torch.compile and torch.jit.script return has what torch's own has, and runs the forward that is counted."""

import functools
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from grader.worker.standins import uncompiled

# Torch advises against TorchScript.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")

IMAGES = torch.ones(2, 3)


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
    compiled: Any = uncompiled.not_compiled(network, mode="max-autotune", fullgraph=True)
    assert compiled._orig_mod is network
    assert list(compiled.state_dict()) == ["_orig_mod.fc.weight", "_orig_mod.fc.bias"]
    assert type(compiled) is torch._dynamo.OptimizedModule
    assert torch.equal(compiled(IMAGES), network(IMAGES))
    assert calls == [network, network]
    assert compiled.eval().training is False


def test_a_function_and_a_decorator_compile_to_the_function() -> None:
    def step(x: int) -> int:
        return x + 1

    assert uncompiled.not_compiled(step) is step
    assert uncompiled.not_compiled(mode="default")(step) is step
    assert uncompiled.not_scripted(step) is step


def test_a_scripted_network_is_counted_and_can_be_saved(
    calls: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.jit, "script", uncompiled.not_scripted)
    scripted: Any = uncompiled.not_scripted(IdentityResNet())
    expected = scripted(IMAGES)
    assert calls == [scripted]
    assert IdentityResNet in type(scripted).__mro__
    assert list(scripted.state_dict()) == ["fc.weight", "fc.bias"]
    scripted.save(str(tmp_path / "net.pt"))
    buffer = io.BytesIO()
    uncompiled.of_torchscript()[torch.jit, "save"](scripted, buffer)
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
    traced: Any = uncompiled.traced(network, IMAGES)
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
    assert isinstance(uncompiled.traced(torch.relu, IMAGES), torch.jit.ScriptFunction)


def test_torch_may_script_its_own_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.jit, "script", uncompiled.not_scripted)
    dual: Any = forward_ad
    with dual.dual_level():
        scores = dual.make_dual(torch.randn(4, 10), torch.ones(4, 10))
        loss = torch.nn.functional.cross_entropy(scores, torch.arange(4))
        assert dual.unpack_dual(loss).tangent is not None


def test_a_network_that_torchscript_does_not_understand_is_saved_by_its_weights(tmp_path: Path) -> None:
    class Own(IdentityResNet):
        def forward(self, *x: Any, **_: Any) -> Any:
            return x

    scripted: Any = uncompiled.not_scripted(Own())
    scripted.save(tmp_path / "net.pt")
    assert "fc.weight" in torch.load(tmp_path / "net.pt")
