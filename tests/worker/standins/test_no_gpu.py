"""On a machine without a GPU, whatever a script calls cuda means the processor, for every thread."""

import subprocess

import pytest
import torch

from cuda_scripts import part_names, run_parts

PARTS = """
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
    assert type(CPU) == torch.device and type(CPU) in {torch.device: "a device"}
    assert type(torch.Generator()) == torch.Generator and type(torch.Generator()) in {torch.Generator}
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
        torch.eye(2, device="cuda"), torch.tril_indices(2, 2, device="cuda"), torch.triu_indices(2, 2, device="cuda"),
        torch.hann_window(2, device="cuda"), torch.scalar_tensor(1.0, device="cuda").expand(2),
        torch.linspace(0, 1, 2, device="cuda"), torch.tensor([1, 2], device=0),
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
def a_generator_draws():
    generator = torch.Generator("cuda")
    generator.manual_seed(1)
    first = torch.rand(3, generator=generator, device="cuda")
    again = torch.rand(3, generator=torch.Generator(device="cuda:0").manual_seed(1))
    assert torch.equal(first, again)
    assert isinstance(torch.Generator(), torch.Generator)
    assert isinstance(torch.default_generator, torch.Generator)


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
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What the script says, part by part."""
    return run_parts(PARTS, tmp_path_factory.mktemp("script"))


@pytest.mark.parametrize("part", part_names(PARTS))
def test_cuda_means_the_processor(part: str, said: subprocess.CompletedProcess[str]) -> None:
    assert f"{part} passed" in said.stdout.splitlines(), said.stderr[-3000:]


def test_this_process_keeps_its_own_torch(said: subprocess.CompletedProcess[str]) -> None:
    assert said.returncode == 0, said.stderr[-3000:]
    assert torch.device("cuda").type == "cuda"
