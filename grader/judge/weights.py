"""Which weights a network uses: twice, for nothing, never, or without owning them."""

from collections.abc import Iterator

from grader.judge.alignment import Path, Step
from grader.judge.differences import Difference, words
from grader.judge.specification import FIRST, Place
from grader.protocol import NetworkSeen
from grader.records import Deviation

_NAMED = 3


class Places:
    """Where each node of a graph stands, by the aligned main path; whether it has a part in the output."""

    def __init__(self, network: NetworkSeen, path: Path, steps: list[Step]) -> None:
        self.alive = _alive(network)
        self._by_node: dict[int, Place] = {}
        place = Place(0, part=FIRST)
        for step in steps:
            place = step.expected.place if step.expected else place
            if step.at is not None:
                self._by_node[path.nodes[step.at]] = place
        for at, skip in path.skips.items():
            for node in skip.nodes:
                self._by_node.setdefault(node, self._by_node.get(path.nodes[at], place))
        self._order = sorted(self._by_node.items())
        # A forward that returns its images has no layer on the way.
        self._last = self._order[-1][1] if self._order else Place(0, part=FIRST)

    def of(self, node: int) -> Place:
        """The node's place; for one that leads nowhere, that of the next node in order that does."""
        if node in self._by_node:
            return self._by_node[node]
        return next((place for each, place in self._order if each > node), self._last)


def _alive(network: NetworkSeen) -> set[int]:
    alive: set[int] = set()
    ahead = [network.output] if network.output is not None else []
    while ahead:
        node = ahead.pop()
        if node not in alive:
            alive.add(node)
            ahead.extend(network.nodes[node].inputs)
    return alive


def weight_differences(network: NetworkSeen, places: Places) -> list[Difference]:
    """What is wrong with the weights that ran or did not run."""
    shared = list(_shared(network, places))
    return [
        *(difference for difference, _ in shared),
        *_unregistered(network, places),
        *_dead(network, places),
        *_without_gradient(network, places),
        *_unused(network, {_owner(weight) for _, weight in shared}),
    ]


def layer_of(weight: str) -> str:
    """The layer that a parameter belongs to, as the student named it: "stage1.0.conv1" of "stage1.0.conv1.weight"."""
    layer, _, last = weight.rpartition(".")
    return (
        layer if layer and last in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked") else weight
    )


def _owner(weight: str) -> str:
    return layer_of(weight).rpartition(".")[0]


def _shared(network: NetworkSeen, places: Places) -> Iterator[tuple[Difference, str]]:
    seen: set[str] = set()
    for index, node in enumerate(network.nodes):
        if not node.weight or index not in places.alive:
            continue
        if node.weight in seen:
            place = places.of(index)
            sentence = (
                f"In {place} the {words(node)} {layer_of(node.weight)} is used again: "
                f"every layer of the handout has weights of its own."
            )
            yield Difference(Deviation.SHARED_WEIGHTS, place, sentence), node.weight
        seen.add(node.weight)


def _unregistered(network: NetworkSeen, places: Places) -> Iterator[Difference]:
    for index, node in enumerate(network.nodes):
        if not node.registered and index in places.alive:
            place = places.of(index)
            named = f" {layer_of(node.weight)}" if node.weight else ""
            sentence = (
                f"In {place} the {words(node)}{named} is not registered in the network, so it is never trained: "
                f"use nn.ModuleList or an attribute made in __init__."
            )
            yield Difference(Deviation.UNREGISTERED_MODULE, place, sentence)


def _dead(network: NetworkSeen, places: Places) -> Iterator[Difference]:
    living = {network.nodes[index].weight for index in places.alive}
    for index, node in enumerate(network.nodes):
        if node.weight and node.weight not in living:
            place = places.of(index)
            sentence = f"In {place} the {words(node)} {layer_of(node.weight)} is computed, but its result goes nowhere."
            yield Difference(Deviation.DEAD_LAYER, place, sentence)


def _without_gradient(network: NetworkSeen, places: Places) -> Iterator[Difference]:
    """One finding for all: it is one cut that all of them suffer from."""
    cut = set(network.without_gradient)
    indices = [
        index
        for index, node in enumerate(network.nodes)
        if node.weight in cut and node.registered and index in places.alive
    ]
    if indices:
        layers = list(dict.fromkeys(layer_of(network.nodes[index].weight) for index in indices))
        place = places.of(indices[-1])
        sentence = f"No gradient reaches {_some(layers)}: the scores use what is computed there, but cannot train it."
        yield Difference(Deviation.NOT_DIFFERENTIABLE, place, sentence)


def _unused(network: NetworkSeen, owners_of_shared: set[str]) -> Iterator[Difference]:
    """Modules that never ran, less those in whose place another one ran twice."""
    for name in network.unused:
        if name.rpartition(".")[0] in owners_of_shared:
            continue
        sentence = f"The layer {name} is made in __init__ and never used in forward."
        yield Difference(Deviation.UNUSED_MODULE, Place(0, part=name), sentence, small=True)


def _some(layers: list[str]) -> str:
    more = len(layers) - _NAMED
    return ", ".join(layers[:_NAMED]) + (f" and {more} more layers" if more > 0 else "")
