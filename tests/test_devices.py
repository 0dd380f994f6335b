"""On a machine without a GPU, whatever a script calls cuda means the processor, for every thread."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

# It runs once, in a process of its own, since what it tests changes torch for good; it says how each part went.
SCRIPT = """
import copy, io, pickle, threading, traceback, warnings

import torch
from torch import nn

from grader.worker import devices

devices.install()
CPU = torch.device("cpu")
PARTS = {}


def part(function):
    PARTS[function.__name__] = function
    return function


def on_cpu(value):
    assert value.device == CPU and value.device.type == "cpu", value.device
    return value


class WithDevice(nn.Module):
    def __init__(self):
        super().__init__()
        self.device = torch.device("cuda:0")
        self.fc = nn.Linear(3, 10, device=self.device)
        self.scale = nn.Parameter(torch.ones(10, device="cuda"))

    def forward(self, x):
        return self.fc(x.to(self.device)) * self.scale


def save_and_load(value, **options):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, **options)


@part
def a_named_device_is_the_processor():
    for device in (
        torch.device("cuda"), torch.device("cuda:0"), torch.device("cuda", 0), torch.device(0),
        torch.device(type="cuda", index=0), torch.device(torch.device("cuda")),
    ):
        assert device == CPU
        assert device.type == "cpu"
        assert isinstance(device, torch.device)
    assert torch.device("cpu") == CPU
    assert torch.device("meta").type == "meta"
    assert isinstance(torch.zeros(1).device, torch.device)
    assert not isinstance("cpu", torch.device)
    assert isinstance(CPU, torch.device | None)
    try:
        torch.device("no such device")
    except RuntimeError:
        return
    raise AssertionError("a misspelled device was taken")


@part
def a_device_is_a_context():
    with torch.device("cuda"):
        on_cpu(torch.zeros(2))


@part
def tensors_move():
    x = torch.arange(3.0)
    for moved in (
        x.to("cuda:0"), x.to("cuda"), x.to(torch.device("cuda")), x.to(0), x.to(device="cuda"), x.to(device=0),
        x.to("cuda", torch.float32), x.to("cuda", non_blocking=True), x.cuda(), x.cuda(0), x.cuda(non_blocking=True),
        x.to(torch.ones(1)), x.cpu(), x.to("cpu"),
    ):
        assert torch.equal(on_cpu(moved), x)
    assert x.to(torch.float64).dtype is torch.float64
    assert x.to("cuda", torch.float16).dtype is torch.float16


@part
def factories_take_a_device():
    like = torch.ones(2)
    for made in (
        torch.zeros(2, device="cuda"), torch.ones((2,), device="cuda:0"), torch.empty(2, device=0),
        torch.full((2,), 3.0, device="cuda"), torch.rand(2, device="cuda"), torch.randn(2, device=torch.device("cuda")),
        torch.randint(0, 3, (2,), device="cuda"), torch.randperm(2, device="cuda"), torch.arange(2, device="cuda"),
        torch.eye(2, device="cuda"), torch.linspace(0, 1, 2, device="cuda"), torch.tensor([1, 2], device=0),
        torch.as_tensor([1, 2], device="cuda"), torch.asarray([1, 2], device="cuda"),
        torch.normal(0.0, 1.0, (2,), device="cuda"), torch.zeros_like(like, device="cuda"),
        torch.randn_like(like, device="cuda"), torch.randint_like(like, 3, device="cuda"),
        like.new_zeros(2, device="cuda"), like.new_ones(2, device=0), like.new_full((2,), 1.0, device="cuda"),
        like.new_tensor([1.0, 2.0], device="cuda"), like.new_empty(2, device="cuda"),
    ):
        assert len(on_cpu(made)) == 2


@part
def a_plain_number_is_a_size_or_a_value():
    assert torch.tensor(0).item() == 0
    assert torch.zeros(3).shape == (3,)
    assert torch.zeros(0).shape == (0,)
    assert torch.ones(2, 0).shape == (2, 0)
    assert torch.full((2,), 0).tolist() == [0, 0]
    assert torch.arange(0, 2).tolist() == [0, 1]
    assert torch.zeros(2).new_full((2,), 0).tolist() == [0, 0]
    assert torch.randint(0, 1, (2,)).tolist() == [0, 0]


@part
def networks_move():
    net = WithDevice()
    for moved in (
        net.to("cuda"), net.to("cuda:0"), net.to(torch.device("cuda")), net.to(0), net.to(device="cuda"), net.cuda(),
        net.cuda(0), net.to("cuda", torch.float32), net.to("cuda", memory_format=torch.channels_last),
    ):
        assert moved is net
        assert all(weight.device == CPU for weight in net.parameters())
    assert net.to("cuda", torch.float64).fc.weight.dtype is torch.float64


@part
def an_optimizer_takes_a_step():
    net = WithDevice().cuda()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    nn.CrossEntropyLoss().cuda()(net(torch.ones(2, 3).cuda()), torch.zeros(2, dtype=torch.long).cuda()).backward()
    before = net.scale.detach().clone()
    optimizer.step()
    assert not torch.equal(before, net.scale)


@part
def another_thread_is_no_exception():
    made = []
    thread = threading.Thread(target=lambda: made.append(torch.zeros(2, device="cuda").to("cuda").cuda()))
    thread.start()
    thread.join()
    on_cpu(made[0])


@part
def the_cuda_module_answers():
    torch.cuda.synchronize()
    torch.cuda.synchronize(torch.device("cuda"))
    torch.cuda.set_device(0)
    torch.cuda.set_device("cuda:0")
    torch.cuda.empty_cache()
    torch.cuda.manual_seed(1)
    torch.cuda.manual_seed_all(1)
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.is_available() is False
    assert torch.cuda.get_device_name() == torch.cuda.get_device_name(0) == "CPU"
    assert torch.cuda.current_device() == 0
    assert torch.cuda.memory_allocated() == torch.cuda.max_memory_allocated("cuda") == torch.cuda.memory_reserved() == 0
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    end.record()
    end.synchronize()
    assert end.query() and start.elapsed_time(end) == 0


@part
def a_generator_draws():
    generator = torch.Generator("cuda")
    generator.manual_seed(1)
    first = torch.rand(3, generator=generator, device="cuda")
    again = torch.rand(3, generator=torch.Generator(device="cuda:0").manual_seed(1))
    assert torch.equal(first, again)
    assert isinstance(torch.Generator(), torch.Generator)
    assert isinstance(torch.default_generator, torch.Generator)


@part
def mixed_precision_does_nothing():
    net = WithDevice()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for scaler, context in (
        (torch.amp.GradScaler("cuda"), torch.autocast("cuda")),
        (torch.cuda.amp.GradScaler(), torch.cuda.amp.autocast()),
        (torch.amp.GradScaler(), torch.amp.autocast("cuda", dtype=torch.float16)),
    ):
        with context:
            output = net(torch.ones(2, 3))
        assert output.dtype is torch.float32
        scaler.scale(output.sum()).backward()
        scaler.step(optimizer)
        scaler.update()


@part
def weights_are_saved_and_loaded():
    net = WithDevice()
    for where in ("cuda", "cuda:0", torch.device("cuda"), None):
        state = save_and_load(net.state_dict(), map_location=where)
        assert torch.equal(on_cpu(state["fc.weight"]), net.fc.weight)
        net.load_state_dict(state)


@part
def devices_and_networks_are_copied_and_pickled():
    device = torch.device("cuda")
    assert pickle.loads(pickle.dumps(device)) == copy.deepcopy(device) == CPU
    net = WithDevice()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), save_and_load(net, weights_only=False)):
        assert other.device == CPU
        assert torch.equal(other.fc.weight, net.fc.weight)


@part
def a_default_device_is_the_processor():
    torch.set_default_device("cuda")
    on_cpu(torch.zeros(2))
    torch.set_default_device("cpu")


# That cuda is not there, and that its older names will go, is what torch says here.
warnings.filterwarnings("ignore", message=".*(CUDA is not available|no NVIDIA|deprecated)")
for name, function in PARTS.items():
    try:
        function()
    except BaseException:
        print(name, "FAILED")
        traceback.print_exc()
    else:
        print(name, "passed")
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What the script says, part by part."""
    file = tmp_path_factory.mktemp("devices") / "script.py"
    file.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-W", "error", str(file)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


PARTS = re.findall(r"^@part\ndef (\w+)", SCRIPT, re.MULTILINE)


@pytest.mark.parametrize("part", PARTS)
def test_cuda_means_the_processor(part: str, said: subprocess.CompletedProcess[str]) -> None:
    assert f"{part} passed" in said.stdout.splitlines(), said.stderr[-3000:]


def test_this_process_keeps_its_own_torch(said: subprocess.CompletedProcess[str]) -> None:
    assert said.returncode == 0, said.stderr[-3000:]
    assert torch.device("cuda").type == "cuda"
