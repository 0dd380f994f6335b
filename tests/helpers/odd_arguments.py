"""Throw graphs with odd arguments at the replay: `python odd_arguments.py SEED ROUNDS`, in a process of its own.

Every operation that may be replayed is called with arguments of the kinds that its schema names; those that compute by
sizes and indices start from a right call, of which one or two arguments are changed. A crash ends the process, as does
a call that takes longer than `MOST_SECONDS`. What memory is taken at most is limited. The last line is JSON: how many
graphs were answered, how many refused, and which were answered in two ways, by memory that nobody filled.
"""

import json
import math
import random
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from grader.protocol.exported import ALLOWED, Call, ExportedNetwork, Graph, Weight, from_bytes, to_bytes
from grader.replay.graph import Replayed

MOST_BYTES, MOST_SECONDS = 1 << 30, 10
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool")
SHAPES = (
    (2, 4, 6, 6),
    (4,),
    (4, 6),
    (4, 4, 3, 3),
    (4, 1, 1, 1),
    (2, 4, 9),
    (6, 4),
    (4, 4),
    (2, 9, 4),
    (1,),
    (),
    (0, 4),
    (4, 0),
)
INTEGERS = (-1, 0, 1, 2, 3, 4, -2, 7, 64, 1 << 20, 1 << 28, -(1 << 28), (1 << 63) - 1)
REALS = (0.0, -1.0, 0.5, 2.0, 1e-300, 1e300, *({"number": each} for each in ("nan", "inf", "-inf")))
WORDS = ("none", "tanh", "floor", "trunc", "add", "multiply", "cuda")
WEIGHTS = tuple(Weight("", dtype, shape) for dtype in DTYPES for shape in SHAPES)


def weight(*shape: int, dtype: str = "float32") -> dict[str, int]:
    return {"weight": DTYPES.index(dtype) * len(SHAPES) + SHAPES.index(shape)}


X, V, M, LONG = weight(2, 4, 6, 6), weight(4), weight(4, 6), weight(4, 6, dtype="int64")
NORMED = [X, V, V, V, V]
RIGHT: dict[str, list[Any]] = {
    "convolution.default": [X, weight(4, 4, 3, 3), V, [1, 1], [1, 1], [1, 1], False, [0, 0], 1],
    "_convolution.default": [X, weight(4, 4, 3, 3), V, [1], [1], [1], True, [0], 1, False, False, True, True],
    "native_batch_norm.default": [*NORMED, False, 0.1, 1e-5],
    "_native_batch_norm_legit.no_stats": [X, V, V, True, 0.1, 1e-5],
    "_native_batch_norm_legit_no_training.default": [*NORMED, 0.1, 1e-5],
    "_batch_norm_no_update.default": [*NORMED, 0.1, 1e-5],
    "native_layer_norm.default": [M, [6], None, None, 1e-5],
    "native_group_norm.default": [X, V, V, 2, 4, 36, 2, 1e-5],
    "_weight_norm_interface.default": [weight(4, 4, 3, 3), weight(4, 1, 1, 1), 0],
    "linear.default": [M, M, V],
    "addmm.default": [V, weight(6, 4), weight(4, 4)],
    "mm.default": [M, weight(6, 4)],
    "bmm.default": [weight(2, 4, 9), weight(2, 9, 4)],
    "addmv.default": [V, weight(4, 4), V],
    "mv.default": [weight(6, 4), V],
    "dot.default": [V, V],
    "vdot.default": [V, V],
    "_softmax.default": [M, 1, False],
    "_log_softmax.default": [M, 1, False],
    "max_pool2d_with_indices.default": [X, [2, 2], [2, 2], [0, 0], [1, 1], False],
    "avg_pool2d.default": [X, [2, 2], [2, 2], [0, 0], False, True, 3],
    "_adaptive_avg_pool2d.default": [X, [2, 2]],
    "adaptive_max_pool2d.default": [X, [2, 2]],
    "linalg_vector_norm.default": [M, 2, [1], False],
    "cumsum.default": [M, 1],
    "as_strided.default": [X, [2, 2], [3, 1], 5],
    "index.Tensor": [M, [weight(4, dtype="int64")]],
    "_unsafe_index.Tensor": [M, [weight(4, dtype="int64")]],
    "index_select.default": [M, 0, weight(4, dtype="int64")],
    "gather.default": [M, 1, weight(4, 4, dtype="int64")],
    "scatter.src": [M, 1, LONG, M],
    "scatter_add.default": [M, 0, LONG, M],
    "scatter.value": [M, 1, LONG, 2.0],
    "index_put.default": [V, [weight(4, dtype="int64")], V, True],
    "index_add.default": [M, 0, weight(4, dtype="int64"), M],
    "index_copy.default": [M, 0, weight(4, dtype="int64"), M],
    "index_fill.int_Scalar": [M, 0, weight(4, dtype="int64"), 1.0],
    "slice.Tensor": [M, 1, 0, 3, 2],
    "slice_scatter.default": [M, weight(4, 6), 1, 0, 6, 1],
    "select_scatter.default": [M, V, 1, 0],
    "constant_pad_nd.default": [X, [1, 1, 1, 1], 0.0],
    "reflection_pad2d.default": [X, [1, 1, 1, 1]],
    "replication_pad2d.default": [X, [1, 1, 1, 1]],
    "pixel_shuffle.default": [X, 2],
    "pixel_unshuffle.default": [X, 2],
    "channel_shuffle.default": [X, 2],
    "im2col.default": [X, [3, 3], [1, 1], [1, 1], [1, 1]],
    "col2im.default": [weight(2, 4, 9), [3, 3], [1, 1], [1, 1], [0, 0], [1, 1]],
    "unfold.default": [X, 2, 3, 1],
    "upsample_nearest2d.default": [X, [12, 12], 2.0, 2.0],
    "upsample_bilinear2d.default": [X, [12, 12], False, 2.0, 2.0],
    "upsample_bicubic2d.default": [X, [12, 12], True, 2.0, 2.0],
    "_upsample_bilinear2d_aa.default": [X, [3, 3], False, 0.5, 0.5],
    "roll.default": [X, [1, 2], [2, 3]],
    "repeat.default": [M, [2, 2]],
    "expand.default": [V, [3, 4]],
    "split.Tensor": [M, 2, 1],
    "split_with_sizes.default": [M, [2, 4], 1],
    "unbind.int": [M, 0],
    "cat.default": [[M, M], 0],
    "prelu.default": [X, V],
    "where.self": [weight(4, 6, dtype="bool"), M, M],
    "floor_divide.default": [LONG, M],
    "remainder.Tensor": [LONG, M],
    "rrelu_with_noise_functional.default": [M, weight(4, 6), 0.1, 0.3, False],
}


def contents(chance: random.Random) -> bytes:
    """The weights' bytes: odd numbers of each dtype, indices within bounds and beyond among them."""

    def values(each: Weight) -> list[Any]:
        dtype, count = getattr(torch, each.dtype), math.prod(each.shape)
        if dtype is torch.bool:
            return chance.choices((True, False), k=count)
        if dtype.is_floating_point:
            return chance.choices((0.0, 1.0, -1.0, 0.5, math.nan, math.inf, 6e4), k=count)
        bounds = torch.iinfo(dtype)
        beyond = chance.choice(((), (), (bounds.min, bounds.max, 6)))
        return chance.choices((0, 1, 2, 3, *beyond), k=count)

    tensors = [torch.tensor(values(each), dtype=getattr(torch, each.dtype)) for each in WEIGHTS]
    return b"".join(bytes(each.view(torch.uint8).tolist()) for each in tensors if each.numel())


def odd(kind: str, chance: random.Random) -> Any:
    """A value of a kind that a schema names."""
    if kind.startswith("Optional["):
        return None if chance.random() < 0.4 else odd(kind[9:-1], chance)
    if kind.startswith("List["):
        return [odd(kind[5:-1], chance) for _ in range(chance.choice((0, 1, 2, 2, 4)))]
    match kind:
        case "Tensor":
            return {"weight": chance.randrange(chance.choice((len(SHAPES), len(WEIGHTS))))}
        case "bool":
            return chance.random() < 0.5
        case "float" | "number":
            return chance.choice(REALS)
        case "str":
            return chance.choice(WORDS)
        case "Device":
            return chance.choice(({"device": "cpu"}, "cuda", "meta"))
        case "ScalarType":
            return chance.choice(({"dtype": chance.choice(DTYPES)}, 4))
        case "MemoryFormat":
            return chance.choice(({"memory_format": "channels_last"}, 4))
    return chance.choice(INTEGERS[: chance.choice((6, len(INTEGERS)))])


def calls(chance: random.Random) -> Iterator[tuple[str, list[Any], dict[str, Any], int]]:
    """One of each operation; of those with a right call, one that differs in an argument or two."""
    for name in sorted(ALLOWED):
        for packet in filter(None, (getattr(torch.ops.aten, each, None) for each in (name, f"{name}_"))):
            for overload in packet.overloads():
                schema = getattr(packet, overload)._schema
                operation = f"{schema.name.removeprefix('aten::')}.{overload}"
                made = [(each, odd(str(each.real_type), chance)) for each in schema.arguments]
                args = [value for each, value in made if not each.kwarg_only]
                options = {each.name: value for each, value in made if each.kwarg_only}
                if operation in RIGHT:
                    args, others = list(RIGHT[operation]), args
                    options = {}
                    for place in chance.sample(range(len(args)), chance.choice((0, 1, 1, 2))):
                        args[place] = others[place]
                yield operation, args, options, max(1, len(schema.returns))


def same(first: Tensor, second: Tensor) -> bool:
    return not first.numel() or torch.equal(*(each.contiguous().view(-1).view(torch.uint8) for each in (first, second)))


def tried(graph: Graph, weights: bytes) -> bool:
    """Whether a graph gives the same twice, in memory that held something else in between.

    Raises:
        Exception: It is refused.
    """
    network = ExportedNetwork(WEIGHTS, graph, (), 1, "float32", "cpu", None, 1)
    read, content, _ = from_bytes(to_bytes(network, weights, bytes(40)))
    first = Replayed(read, content).run(torch.zeros(1, 3, 4, 4))
    left = [torch.full((1 << power,), 7.5) for power in range(10) for _ in range(16)]
    left.clear()
    return first.numel() > 1 << 16 or same(first, Replayed(read, content).run(torch.zeros(1, 3, 4, 4)))


def main(seed: int, rounds: int) -> None:
    """Try them all, `rounds` times."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    torch.set_num_threads(1)
    chance = random.Random(seed)
    answered, refused, differing = 0, 0, []
    for _ in range(rounds):
        weights = contents(chance)
        for operation, args, options, results in calls(chance):
            print(operation, args, options, file=sys.stderr, flush=True)
            signal.alarm(MOST_SECONDS)
            try:
                if not tried(Graph((Call(operation, args, options, results),), results), weights):
                    differing.append(operation)
                answered += 1
            except Exception:
                refused += 1
            signal.alarm(0)
    print(json.dumps({"answered": answered, "refused": refused, "differing": differing}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
