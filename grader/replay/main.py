"""Score test images with exported networks: `python -m grader.replay.main QUESTIONS SCORES REPORT JOB DATA`.

The first three are descriptors that were handed down, by number, or paths of files, as the worker has them; it has no
use for the last two. For each byte to begin it says that it is ready, reads a network and images, says what it saw of
the network, and sends the scores. A network that cannot be replayed ends the process.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grader.protocol import BEGIN, LENGTH_BYTES, READY, NetworkSeen
from grader.protocol.exported import ExportedNetwork, from_bytes
from grader.replay.graph import Replayed, RunnableGraph
from grader.worker.channel import Channel, opened
from grader.worker.look.operations import BATCH_NORMS
from grader.worker.look.trace import LayerNames, Recorder


class _Names:
    """The parameters of an exported network, as a module would name them."""

    def __init__(self, network: ExportedNetwork, weights: Sequence[Tensor]) -> None:
        self._named = [(each.name, tensor) for each, tensor in zip(network.weights, weights, strict=True) if each.name]

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._named

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        yield from ()

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        yield from ()


def seen(network: ExportedNetwork, replayed: Replayed, images: np.ndarray[Any, Any]) -> NetworkSeen:
    """The graph of one forward, in the form in which the check judges it.

    What that does not show, since it does nothing to these images, is to do nothing to others: `replayed.idle` is set.
    """
    statistics = _statistics(network)
    weights = [
        _distinct(tensor) if weight.learns or index in statistics else tensor
        for index, (weight, tensor) in enumerate(zip(network.weights, replayed.weights, strict=True))
    ]
    names: Any = _Names(network, weights)
    shown = replayed.batch(images)
    run = RunnableGraph(network.graph, weights, shown.device)
    recorder = Recorder(shown, LayerNames(names, names))
    with torch.no_grad():
        replayed.idle = run.idle(shown.clone())
        with recorder:
            output = run(shown)
    return NetworkSeen(
        is_module=True, nodes=tuple(recorder.nodes), output=recorder.node_of(output), output_shape=tuple(output.shape)
    )


def _statistics(network: ExportedNetwork) -> set[int]:
    """The numbers of all weights that batch normalizations use, their running means among them."""
    norms = [call for call in network.graph.calls if call.operation.partition(".")[0] in BATCH_NORMS]
    arguments = [argument for call in norms for argument in call.args if isinstance(argument, dict)]
    return {argument["weight"] for argument in arguments if "weight" in argument}


def _distinct(weight: Tensor) -> Tensor:
    """A weight that tells its layer apart: of one that was not trained, a copy with other values.

    A fresh batch normalization changes next to nothing in eval mode, and a ReLU behind it then nothing.
    """
    if not weight.is_floating_point() or not weight.numel() or bool((weight != weight.flatten()[0]).any()):
        return weight
    return torch.empty_like(weight).uniform_(0.5, 1.5)


def _answer(channel: Channel) -> None:
    lengths = channel.receive(2 * LENGTH_BYTES)
    network_bytes, image_bytes = (int.from_bytes(lengths[at:][:LENGTH_BYTES], "little") for at in (0, LENGTH_BYTES))
    network, weights, _ = from_bytes(bytes(channel.receive(network_bytes)))
    images = np.frombuffer(channel.receive(image_bytes), np.uint8).reshape(-1, 32, 32, 3)
    replayed = Replayed(network, weights)
    channel.say(seen(network, replayed, images[: network.batch]))
    channel.send(replayed.scores(images).tobytes())
    # The next submission trains on the same card.
    torch.cuda.empty_cache()


def main(arguments: list[str]) -> None:
    """Answer until nobody asks."""
    questions, scores, report, *_ = arguments
    channel = Channel(opened(questions, os.O_RDONLY), opened(scores, os.O_WRONLY), opened(report, os.O_WRONLY))
    with contextlib.suppress(EOFError):
        while True:
            channel.receive(len(BEGIN))
            channel.send(READY)
            _answer(channel)


if __name__ == "__main__":
    main(sys.argv[1:])
