"""Which weights a network uses: twice, for nothing, never, or without owning them."""

from collections.abc import Iterator

from grader.judge.alignment import Path, Step
from grader.judge.differences import Difference
from grader.judge.specification import FIRST, Place, listed, words
from grader.protocol import NetworkSeen, nodes_before
from grader.records import Deviation

_NAMED = 3
_LAYERS_OF_A_BLOCK = 4
_OF_A_LAYER = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_PARAMETRIZED = ".parametrizations."  # as torch.nn.utils.parametrize names what a weight is computed from


class Places:
    """Where each node of a graph stands, by the aligned main path.

    Attributes:
        alive: The nodes that have a part in the output.
    """

    def __init__(self, path: Path, steps: list[Step]) -> None:
        self.alive = nodes_before(path.graph, path.nodes[-1])
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


def weight_differences(network: NetworkSeen, places: Places) -> list[Difference]:
    """What is wrong with the weights that ran or did not run."""
    again = _used_again(network, places)
    return [
        *_shared(again),
        *_unregistered(network, places),
        *_dead(network, places),
        *_without_gradient(network, places),
        *_unused(network, {_owner(weight) for weights in again.values() for weight in weights}),
    ]


def layer_of(weight: str) -> str:
    """The layer that a parameter belongs to, as the student named it: "stage1.0.conv1" of "stage1.0.conv1.weight"."""
    if _PARAMETRIZED in weight:
        return weight.partition(_PARAMETRIZED)[0]
    layer, _, last = weight.rpartition(".")
    return layer if layer and last in _OF_A_LAYER else weight


def _owner(weight: str) -> str:
    return layer_of(weight).rpartition(".")[0]


def _used_again(network: NetworkSeen, places: Places) -> dict[tuple[Place, Place], list[str]]:
    """The weights that are used a second time, by the place where that is and the one where they were first used."""
    first: dict[str, Place] = {}
    again: dict[tuple[Place, Place], list[str]] = {}
    for index, node in enumerate(network.nodes):
        if node.weight and index in places.alive:
            place = places.of(index)
            if node.weight in first:
                again.setdefault((place, first[node.weight]), []).append(node.weight)
            first.setdefault(node.weight, place)
    return again


def _shared(again: dict[tuple[Place, Place], list[str]]) -> Iterator[Difference]:
    same: set[Place] = set()
    alone: dict[Place, list[str]] = {}
    for (place, before), weights in again.items():
        layers = list(dict.fromkeys(map(layer_of, weights)))
        if len(layers) >= _LAYERS_OF_A_BLOCK and place.block and before.block and place != before:
            of_stage = "" if place.stage == before.stage else f" of stage {before.stage}"
            sentence = (
                f"{{places}} {{is}} the same module as block {before.block}{of_stage}: "
                "all their layers are shared, and every layer of the handout has weights of its own (section 3.1)."
            )
            yield Difference(Deviation.SHARED_WEIGHTS, place, sentence)
            same.add(place)
        elif place not in same:
            alone.setdefault(place, []).extend(layers)
    named = some(list(dict.fromkeys(layer for layers in alone.values() for layer in layers)))
    sentence = (
        f"the network uses {named} more than once; every layer of the handout has weights of its own (section 3.1)."
    )
    for place in alone:
        yield Difference(Deviation.SHARED_WEIGHTS, place, sentence)


def _unregistered(network: NetworkSeen, places: Places) -> Iterator[Difference]:
    """What no optimizer gets: all layers of a block, or those that are named."""
    lost: dict[Place, list[tuple[str, str]]] = {}
    registered: set[Place] = set()
    for index, node in enumerate(network.nodes):
        if index in places.alive and not node.registered:
            lost.setdefault(places.of(index), []).append((layer_of(node.weight), words(node)))
        elif index in places.alive and node.weight:
            registered.add(places.of(index))
    alone = [name for place, layers in lost.items() if not _whole(place, registered) for name, _ in layers if name]
    for place, layers in lost.items():
        name, word = layers[0]
        if _whole(place, registered):
            said, many = "the layers of {places}", True
        elif name:
            said, many = (f"the layers {some(alone)}", True) if len(alone) > 1 else (f"the layer {name}", False)
        else:
            said, many = f"the {word}" if word == place.part else f"in {{places}}, a {word}", False
        is_not, it = ("are not", "them") if many else ("is not", "it")
        sentence = (
            f"{said} {is_not} registered in the network, so no optimizer trains {it}: "
            "keep layers in an nn.ModuleList or in attributes that __init__ makes (section 3.2)."
        )
        yield Difference(Deviation.UNREGISTERED_MODULE, place, sentence)


def _whole(place: Place, registered: set[Place]) -> bool:
    return place.block > 0 and place not in registered


def _dead(network: NetworkSeen, places: Places) -> Iterator[Difference]:
    living = {network.nodes[index].weight for index in places.alive}
    dead = [
        (places.of(index), node)
        for index, node in enumerate(network.nodes)
        if node.weight and node.weight not in living
    ]
    layers = list(dict.fromkeys(layer_of(node.weight) for _, node in dead))
    one_place = len({place for place, _ in dead}) == 1 and len(layers) <= _NAMED
    for place, node in dead:
        sentence = (
            "in {places}, {name} {name is} computed, but never used for the scores (section 3.1)."
            if one_place
            else f"the network runs {some(layers)}, but never uses what they compute for the scores (section 3.1)."
        )
        yield Difference(Deviation.DEAD_LAYER, place, sentence, name=f"the {words(node)} {layer_of(node.weight)}")


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
        sentence = (
            f"No gradient reaches {some(layers)}: the scores use what is computed there, "
            "but training changes nothing (section 3.2)."
        )
        yield Difference(Deviation.NOT_DIFFERENTIABLE, place, sentence)
        return
    for index in sorted(places.alive):
        if not network.nodes[index].gradient:
            sentence = (
                "in {places}, a part of the computation is detached: the scores use it, but no gradient comes back "
                "through it (section 3.2)."
            )
            yield Difference(Deviation.NOT_DIFFERENTIABLE, places.of(index), sentence)


def _unused(network: NetworkSeen, owners_of_shared: set[str]) -> Iterator[Difference]:
    """Modules that never ran, less those in whose place another one ran twice."""
    names = [name for name in network.unused if name.rpartition(".")[0] not in owners_of_shared]
    for name in names:
        sentence = (
            f"__init__ makes the layers {some(names)}, but forward never uses them (section 3.2)."
            if len(names) > 1
            else f"__init__ makes the layer {name}, but forward never uses it (section 3.2)."
        )
        yield Difference(Deviation.UNUSED_MODULE, Place(0, part=name), sentence, small=True)


def some(layers: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = len(layers) - _NAMED
    rest = [f"{more} more layer{'s' if more > 1 else ''}"] if more > 0 else []
    return listed([*layers[:_NAMED], *rest])
