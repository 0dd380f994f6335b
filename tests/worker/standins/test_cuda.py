"""On a machine without a GPU, no name of torch.cuda fails, and a script is told what was set aside."""

import subprocess

import pytest

from cuda_scripts import part_names, run_parts

PARTS = """
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
def the_cuda_module_describes_the_machine():
    properties = torch.cuda.get_device_properties(0)
    assert properties.name == "CPU" and properties.total_memory > 0 and properties.multi_processor_count > 0
    free, total = torch.cuda.mem_get_info()
    assert 0 < free <= total
    assert isinstance(torch.cuda.memory_summary(device=None, abbreviated=False), str)
    assert torch.cuda.max_memory_reserved() == 0
    assert torch.cuda.is_bf16_supported() is False
    assert torch.cuda.get_rng_state().dtype is torch.uint8


@part
def the_accelerator_is_the_processor():
    if not hasattr(torch, "accelerator"):
        return
    assert torch.accelerator.is_available() is False
    assert torch.accelerator.current_accelerator(check_available=True) is None
    device = torch.accelerator.current_accelerator()
    assert device.type == "cpu" and on_cpu(torch.ones(2).to(device)).sum() == 2
    torch.accelerator.synchronize()
    torch.accelerator.set_device_index(0)
    assert torch.accelerator.current_device_index() == 0


@part
def streams_and_device_contexts_change_nothing():
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.cuda.device(0), torch.cuda.device("cuda:0"):
        moved = torch.ones(2).to("cuda", non_blocking=True)
    torch.cuda.current_stream().wait_stream(stream)
    stream.synchronize()
    assert stream.query() and stream.record_event().query()
    assert on_cpu(moved).sum() == 2


@part
def tensors_meet_streams_and_events():
    loading, computing = torch.cuda.Stream(), torch.cuda.current_stream()
    x = torch.ones(2, pin_memory=True)
    with torch.cuda.stream(loading):
        moved = x.to("cuda", non_blocking=True)
    moved.record_stream(computing)
    event = torch.cuda.Event(enable_timing=True, blocking=True)
    event.record(computing)
    computing.wait_event(event)
    with computing as entered:
        assert entered is computing and computing.cuda_stream == 0 and computing.device == event.device == CPU
    assert isinstance(computing, torch.cuda.Stream) and isinstance(computing, torch.Stream)
    assert torch.Stream(device="cuda").query() and torch.Event(device="cuda").query()
    on_cpu(x.untyped_storage().cuda())
    assert torch.equal(save_and_load(x, map_location=lambda storage, place: storage.cuda(0)), x)
    with torch.cuda.nvtx.range("step"):
        torch.cuda.nvtx.range_push("forward")
        torch.cuda.nvtx.range_pop()
    assert torch.rand(1, generator=torch.cuda.default_generators[0], device="cuda").shape == (1,)
    assert torch.zeros(2, device=x.get_device()).to(x.get_device()).device == CPU
    assert torch.cuda.make_graphed_callables(WithDevice(), (torch.ones(1, 3),)).fc is not None


@part
def cuda_s_tensor_types_are_the_processor_s():
    x = torch.arange(3)
    for made in (
        x.type(torch.cuda.FloatTensor), x.type("torch.cuda.FloatTensor"), x.type(dtype="torch.cuda.FloatTensor"),
        torch.cuda.FloatTensor([0, 1, 2]), x.float().pin_memory(),
    ):
        assert on_cpu(made).dtype is torch.float32 and made.tolist() == [0, 1, 2]
    assert torch.cuda.LongTensor([1]).dtype is torch.int64
    assert x.type() == "torch.LongTensor"
    net = WithDevice().type(torch.cuda.DoubleTensor)
    assert net.fc.weight.dtype is torch.float64
    torch.set_default_tensor_type("torch.cuda.FloatTensor")
    on_cpu(torch.zeros(1))


@part
def pinned_batches_come_without_a_gpu():
    batches = torch.utils.data.DataLoader([0, 1, 2, 3], batch_size=2, pin_memory=True)
    assert [batch.tolist() for batch in batches] == [[0, 1], [2, 3]]


@part
def data_parallel_runs_the_network_itself():
    for options in ({}, {"device_ids": [0]}, {"device_ids": [0, 1], "output_device": 0}):
        wrapped = nn.DataParallel(WithDevice(), **options).cuda()
        assert wrapped(torch.ones(2, 3).cuda()).shape == (2, 10)
        assert isinstance(wrapped.module, WithDevice)


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
def what_was_set_aside_is_noted():
    said = all_notes()
    assert [note for note in said if note.startswith("Your script names cuda")]
    assert [note for note in said if note.startswith("Mixed precision")]
    assert len(said) == len(set(said)) == 2
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What the script says, part by part."""
    return run_parts(PARTS, tmp_path_factory.mktemp("script"))


@pytest.mark.parametrize("part", part_names(PARTS))
def test_cuda_means_the_processor(part: str, said: subprocess.CompletedProcess[str]) -> None:
    assert f"{part} passed" in said.stdout.splitlines(), said.stderr[-3000:]
