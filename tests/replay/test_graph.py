"""A network that was written down and replayed gives the scores that it gives itself, and the check's graph."""

import copy
import io
import runpy
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms import v2

from command import SUBMISSIONS, expectation
from grader.data import alike
from grader.judge.verdict import judge
from grader.protocol.exported import Call, ExportedNetwork, Graph, NoNetwork, Weight, from_bytes, to_bytes
from grader.records import SCORE_DTYPE, Verdict
from grader.replay.graph import Replayed
from grader.replay.main import seen
from grader.worker.evaluate import Prepared
from grader.worker.export import NotExportable, export
from grader.worker.look.network import build
from grader.worker.preprocessing import Preparation
from grader.worker.tensors import named_tensors

RIGHT = [
    case
    for case in sorted((SUBMISSIONS / "networks").iterdir())
    if expectation(case)["verdict"] in ("conforming", "variant")
]
# The others are slow.
FIRST = ("right_flat", "right_functional_calls", "right_reads_values", "right_option_a_by_stacking")
TWO = (2, 2, 2, 2)
BATCH = 4
IMAGES = np.random.default_rng(0).integers(0, 256, (2 * BATCH, 32, 32, 3), dtype=np.uint8)
PLAIN = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))])


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On a crowded machine, two threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Small(nn.Module):
    """One convolution and one linear layer, with a batch normalization that has seen something."""

    def __init__(self, side: int = 32) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * side * side, 10)
        assert self.bn.running_mean is not None
        nn.init.normal_(self.bn.running_mean)

    def forward(self, x: Tensor) -> Any:
        return self.scores(F.relu(self.bn(self.conv(x))))

    def scores(self, x: Tensor) -> Any:
        return self.fc(x.flatten(start_dim=1))


def exported(
    network: nn.Module, transform: Any = PLAIN, after: Any = None, chance: int | None = None, trained: Any = None
) -> bytes:
    """A network, recorded with the first of two batches; `trained` is what it was after its training, if not this."""
    network.eval()
    preparation = Preparation(transform, chance, after)
    shown = torch.stack([preparation(Image.fromarray(image)) for image in IMAGES])
    weights = named_tensors(network if trained is None else trained)
    with torch.no_grad():
        own = [network(batch) for batch in (shown[:BATCH], shown[BATCH:])]
        scores = torch.cat(own).numpy().astype(SCORE_DTYPE).tobytes()
    return export(Prepared(network, weights, preparation, shown[:BATCH], IMAGES, scores))


def replayed_alike(data: bytes) -> bool:
    """Whether the replay of both batches gives the network's own scores."""
    network, weights, scores = from_bytes(data)
    own = np.frombuffer(scores, SCORE_DTYPE).reshape(-1, 10)
    return bool(alike(own, Replayed(network, weights).scores(IMAGES)).all())


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[] if case.name in FIRST else pytest.mark.slow, id=case.name) for case in RIGHT],
)
def test_a_right_network_of_any_style_is_replayed_and_is_right_as_replayed(case: Path) -> None:
    make: Callable[..., Any] = runpy.run_path(str(case / "hw6.py"), run_name="network")["IdentityResNet"]
    network, _ = build(make, TWO)
    assert isinstance(network, nn.Module)
    with redirect_stdout(io.StringIO()):
        data = exported(network)
    assert replayed_alike(data)
    described, weights, _ = from_bytes(data)
    judged = judge(seen(described, Replayed(described, weights), IMAGES[:BATCH]), TWO)
    # What only train mode, one image or another look shows, the check has seen.
    expected = (Verdict.CONFORMING, expectation(case)["verdict"])
    assert judged.verdict in expected, [finding.sentence for finding in judged.findings]


@pytest.mark.parametrize(
    "transform",
    [
        transforms.ToTensor(),
        PLAIN,
        v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.5,) * 3, (0.5,) * 3)]),
        lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1,
        lambda image: torch.from_numpy(np.array(image).transpose(2, 0, 1) ** 2.2).double(),
        transforms.Compose([transforms.Resize(40), transforms.CenterCrop(32), PLAIN]),
        transforms.Compose([transforms.Pad(2), transforms.CenterCrop(32), transforms.Grayscale(3), PLAIN]),
        transforms.Compose([transforms.ToTensor(), lambda x: (x - x.mean()) / x.std()]),
        transforms.Compose([transforms.ToTensor(), lambda x: x[[2, 1, 0]], lambda x: x.clamp(max=0.9)]),
        transforms.Grayscale(3),
    ],
    ids=["tensor", "normalised", "second", "numpy", "gamma", "resized", "grey", "own_spread", "bgr", "no_tensor"],
)
def test_a_transform_of_any_style_is_replayed(transform: Any) -> None:
    network = Small()
    if transform(Image.fromarray(IMAGES[0])).__class__ is Tensor:
        network = network.to(transform(Image.fromarray(IMAGES[0])).dtype)
    assert replayed_alike(exported(network, transform))


def test_what_the_grader_found_of_the_loop_comes_after_the_transform() -> None:
    assert replayed_alike(exported(Small(), after=lambda x: (x - 0.3) * 2 + 0.1))


def test_a_random_transform_draws_the_same_for_the_same_image() -> None:
    augment = transforms.Compose(
        [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ColorJitter(0.3), PLAIN]
    )
    assert replayed_alike(exported(Small(), augment, chance=11))


class Odd(Small):
    """A forward that a test gives."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.own = forward

    def scores(self, x: Tensor) -> Any:
        return self.own(self, x)


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.fc(x.view(BATCH, -1)),
        lambda net, x: net.fc(x.flatten(1)) / torch.vdot(net.fc.bias, net.fc.bias),  # as a spectral norm does
        lambda net, x: net.fc(x.flatten(1)).softmax(dim=1) if float(x.max()) < 1e6 else x,
        lambda net, x: net.fc(torch.cat([torch.zeros_like(x), x], 1)[:, 4:].flatten(1)),
        lambda net, x: net.fc(torch.cat([x[:, :2], torch.zeros_like(x[:, :2])], 1).flatten(1)),
        lambda net, x: net.fc(torch.einsum("bchw->bhwc", x).permute(0, 3, 1, 2).reshape(BATCH, -1)),
        lambda net, x: torch.stack([net.fc(each.flatten()) for each in x.unbind()]),
        lambda net, x: F.linear(x.flatten(1), torch.sigmoid(net.fc.weight)),
        lambda net, x: net.fc(x.add_(1).mul_(2).clamp_(-3, 3).flatten(1)),
        lambda net, x: net.fc(x.flatten(1)).masked_fill(torch.arange(10) == 3, float("-inf")),
        lambda net, x: net.fc(F.interpolate(F.avg_pool2d(x, 2), scale_factor=2).flatten(1)),
        lambda net, x: net.fc(F.layer_norm(F.gelu(F.silu(x)), x.shape[1:]).flatten(1)),
        lambda net, x: net.fc(F.group_norm(F.leaky_relu(x), 2).flatten(1)).double(),
    ],
    ids=[
        *(
            "view",
            "spectral_norm",
            "reads_a_value",
            "zeros",
            "same_slice_twice",
            "einsum",
            "one_by_one",
            "made_weight",
            "in_place",
            "infinite",
            "pools",
        ),
        *("other_norms", "groups"),
    ],
)
def test_a_forward_of_any_style_is_replayed(forward: Any) -> None:
    assert replayed_alike(exported(Odd(forward)))


@pytest.mark.parametrize(
    ("forward", "named"),
    [
        (lambda net, x: net.fc(F.dropout(x, 0.5, training=True).flatten(1)), "operation"),
        (lambda net, x: net.fc(x.flatten(1)) + torch.randn(10), "randn"),
        (lambda net, x: net.fc(torch.fft.fft(x.flatten(1)).real), "operation"),
    ],
)
def test_what_draws_or_is_not_known_is_not_written_down_and_named(forward: Any, named: str) -> None:
    with pytest.raises(NotExportable, match=named):
        exported(Odd(forward))


def test_what_learned_after_its_training_is_not_written_down() -> None:
    network = Small()
    trained = copy.deepcopy(network)
    with torch.no_grad():
        network.fc.bias.add_(1)
    with pytest.raises(NotExportable, match="after the training"):
        exported(network, trained=trained)


def test_a_forward_that_changes_its_own_buffers_is_said_to_do_that_and_no_more() -> None:
    """As the observers of a network that learns to be quantized do."""

    def counts(net: Any, x: Tensor) -> Any:
        net.calls += 1
        return net.fc(x.flatten(1)) / net.calls

    network = Odd(counts)
    network.register_buffer("calls", torch.zeros(()))
    trained = copy.deepcopy(network)
    with pytest.raises(NotExportable, match="its buffer calls changed"):
        exported(network, trained=trained)


def test_what_a_recording_cannot_see_shows_in_the_scores() -> None:
    def through_numpy(net: Any, x: Tensor) -> Any:
        brightest = torch.from_numpy(x.numpy()[:, :, 7, 7].max(axis=1))
        return net.fc(x.flatten(1)) + brightest[:, None] * torch.arange(10)

    assert not replayed_alike(exported(Odd(through_numpy)))


def test_a_table_of_known_images_gains_nothing_where_no_known_image_was_recorded() -> None:
    def recognises(net: Any, x: Tensor) -> Tensor:
        scores: Tensor = net.fc(x.flatten(1))
        if hash(x.numpy().tobytes()) in {1, 2, 3}:  # of test images
            scores = F.one_hot(torch.zeros(BATCH, dtype=torch.long), 10).float()
        return scores

    assert replayed_alike(exported(Odd(recognises)))


KNOWN = torch.from_numpy(255 - IMAGES).permute(0, 3, 1, 2).flatten(1).sum(1)  # of images like those of a test


def hits(x: Tensor) -> Tensor:
    """One for each image of `KNOWN`, of which none is a training image."""
    return (((x * 255).round().flatten(1).sum(1, keepdim=True)) == KNOWN).any(1, keepdim=True).float()


@pytest.mark.parametrize(
    "answers",
    [
        lambda scores, x: scores + 9 * hits(x),
        lambda scores, x: scores * (1 + hits(x)),
        lambda scores, x: torch.where(hits(x) > 0, 7.0, scores),
        lambda scores, x: scores.mul_(1 - hits(x)),
        lambda scores, x: torch.maximum(scores, 1e9 * hits(x) - 5e8),
        lambda scores, x: torch.addcmul(scores, hits(x), scores),
    ],
    ids=["added", "factor", "chosen", "in_place", "largest", "both"],
)
def test_a_part_that_does_nothing_to_the_judged_images_does_nothing_to_others(answers: Any) -> None:
    class Hides(Small):
        def forward(self, x: Tensor) -> Any:
            return answers(super().forward(x), x)

    network, weights, _ = from_bytes(exported(Hides(), transforms.ToTensor()))
    replayed = Replayed(network, weights)
    seen(network, replayed, IMAGES[:BATCH])
    assert replayed.scores(IMAGES).shape == (2 * BATCH, 10)
    with pytest.raises(ValueError, match="does nothing to the images"):
        replayed.scores(255 - IMAGES)


def test_the_tested_graph_names_weights_as_the_network_does() -> None:
    network, weights, _ = from_bytes(exported(Small()))
    graph = seen(network, Replayed(network, weights), IMAGES[:BATCH])
    assert [(node.op, node.weight) for node in graph.nodes if node.weight] == [
        ("conv", "conv.weight"),
        ("batch_norm", "bn.weight"),
        ("linear", "fc.weight"),
    ]
    assert judge(graph, TWO).verdict is Verdict.DEVIATES


def by_hand(calls: tuple[Call, ...], *weights: Weight) -> tuple[ExportedNetwork, memoryview]:
    """A network that no worker wrote: its weights are ones, its output the last value."""
    content = b"".join(np.ones(weight.shape, weight.dtype).tobytes() for weight in weights)
    graph = Graph(calls, sum(call.results for call in calls))
    network = ExportedNetwork(weights, graph, (), BATCH, "float32", "cpu", None, 1)
    return from_bytes(to_bytes(network, content, bytes(40)))[:2]


IMAGE, FIRST_WEIGHT = {"value": 0}, {"weight": 0}
ONE = Weight("", "float32", (1,))


@pytest.mark.parametrize(
    ("operation", "args"),
    [
        *(
            ("native_batch_norm.default", [IMAGE, *each, False, 0.1, 1e-5])
            for each in (
                [FIRST_WEIGHT, None, None, None],
                [None, FIRST_WEIGHT, None, None],
                [None, None, FIRST_WEIGHT, FIRST_WEIGHT],
            )
        ),
        ("_native_batch_norm_legit_no_training.default", [IMAGE, *[FIRST_WEIGHT] * 4, 0.1, 1e-5]),
        ("_weight_norm_interface.default", [IMAGE, FIRST_WEIGHT, 1]),
        ("_weight_norm_interface.default", [IMAGE, FIRST_WEIGHT]),
    ],
)
def test_a_kernel_that_trusts_sizes_is_not_called_with_wrong_ones(operation: str, args: list[Any]) -> None:
    results = 2 if "weight_norm" in operation else 3
    network, weights = by_hand((Call(operation, args, {}, results),), ONE)
    with pytest.raises(ValueError, match="weights of another size"):
        Replayed(network, weights).scores(IMAGES)


@pytest.mark.parametrize(
    "calls",
    [
        (Call("add_.Scalar", [FIRST_WEIGHT, 1], {}, 1),),
        (Call("detach.default", [FIRST_WEIGHT], {}, 1), Call("add_.Scalar", [{"value": 1}, 1], {}, 1)),
        (Call("as_strided.default", [FIRST_WEIGHT, [1], [1]], {}, 1), Call("zero_.default", [{"value": 1}], {}, 1)),
        (Call("transpose_.default", [FIRST_WEIGHT, 0, 0], {}, 1),),
        (Call("native_batch_norm.default", [IMAGE, None, None, FIRST_WEIGHT, FIRST_WEIGHT, True, 0.1, 1e-5], {}, 3),),
    ],
    ids=["directly", "detached", "part", "shape", "statistics"],
)
def test_a_network_that_remembers_from_one_batch_to_the_next_is_not_replayed(calls: tuple[Call, ...]) -> None:
    network, weights = by_hand(calls, Weight("", "float32", (3,)))
    with pytest.raises(ValueError, match="changes its own weights"):
        Replayed(network, weights).run(torch.rand(BATCH, 3, 8, 8))


@pytest.mark.parametrize(
    ("operation", "args"),
    [
        ("empty.memory_format", [[BATCH, 10]]),
        ("new_empty.default", [IMAGE, [BATCH, 10]]),
        ("empty_like.default", [{"weight": 1}]),
    ],
)
def test_memory_that_another_network_left_is_not_read(operation: str, args: list[Any]) -> None:
    network, weights = by_hand((Call(operation, args, {}, 1),), ONE, Weight("", "float32", (BATCH, 10)))
    kept = [torch.full((BATCH, 10), 7.0) for _ in range(64)]
    kept.clear()
    assert not Replayed(network, weights).scores(IMAGES).any()


@pytest.mark.parametrize(
    ("operation", "args", "options", "said"),
    [
        ("clone.default", [IMAGE], {"memory_format": 4}, "no memory_format but 4"),
        ("_to_copy.default", [IMAGE], {"dtype": 99}, "no dtype but 99"),
        ("zeros_like.default", [IMAGE], {"device": "meta"}, "no device but meta"),
        ("mul.out", [IMAGE, IMAGE], {"out": IMAGE}, "more than new tensors"),
        ("max.dim_max", [IMAGE, 0], {"max": IMAGE, "max_values": FIRST_WEIGHT}, "more than new tensors"),
        ("mul.left_t", [[IMAGE], 1 << 28], {}, "more than new tensors"),
        ("upsample_bilinear2d.default", [IMAGE, [8, 8], False, 1e-300, 1.0], {}, "scale that does not fit"),
        ("_upsample_bilinear2d_aa.default", [IMAGE, [64, 4], False, 0.5, 0.5], {}, "scale that does not fit"),
        ("upsample_nearest2d.vec", [IMAGE, None, [{"number": "nan"}, 1.0]], {}, "scale that does not fit"),
        ("_native_batch_norm_legit.no_stats", [IMAGE, None, None, False, 0.1, 1e-5], {}, "no statistics"),
        ("native_batch_norm.default", [IMAGE, None, None, None, None, False, 0.1, 1e-5], {}, "no statistics"),
        ("constant_pad_nd.default", [IMAGE, [1 << 20, 0]], {}, "side of more than"),
        ("unbind.int", [FIRST_WEIGHT, 1], {}, "too many pieces"),
        ("rrelu_with_noise_functional.default", [IMAGE, IMAGE, 0.1, 0.3, True], {}, "random numbers"),
        ("expand.default", [FIRST_WEIGHT, [1 << 28, 300]], {}, "too large"),
    ],
)
def test_what_a_kernel_would_take_on_trust_is_refused(
    operation: str, args: list[Any], options: dict[str, Any], said: str
) -> None:
    results = 2 if operation.startswith(("max", "rrelu")) else 1
    network, weights = by_hand((Call(operation, args, options, results),), Weight("", "float32", (1, 300)))
    with pytest.raises(ValueError, match=said):
        Replayed(network, weights).run(torch.rand(BATCH, 3, 8, 8))


@pytest.mark.parametrize("scale", [2, 0.5, 1.7])
def test_an_image_of_another_scale_is_replayed(scale: float) -> None:
    for mode in ("nearest", "bilinear", "bicubic"):

        def forward(net: Any, x: Tensor, mode: str = mode) -> Any:
            return net.fc(F.adaptive_avg_pool2d(F.interpolate(x, scale_factor=scale, mode=mode), 32).flatten(1))

        assert replayed_alike(exported(Odd(forward)))


@pytest.mark.parametrize(
    "operation", ["_reshape_alias.default", "_index_put_impl_.default", "set_.default", "empty_strided.default"]
)
def test_an_operation_that_looks_at_no_bounds_is_not_allowed(operation: str) -> None:
    with pytest.raises(NoNetwork):
        by_hand((Call(operation, [IMAGE, [40_000], [1]], {}, 1),))


def test_where_the_largest_value_lies_comes_from_the_images() -> None:
    def looks_up(scores: Tensor, x: Tensor, table: Tensor) -> Tensor:
        return scores + table[x.flatten(1).max(dim=1).indices % 7]

    class Hides(Small):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.rand(7, 10))

        def forward(self, x: Tensor) -> Any:
            return looks_up(super().forward(x), x, self.table)

    network, weights, _ = from_bytes(exported(Hides()))
    graph = seen(network, Replayed(network, weights), IMAGES[:BATCH])
    assert graph.output is not None
    assert graph.nodes[graph.output].op != "linear"
