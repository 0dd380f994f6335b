"""Judge a traced network against the handout's section 3.1, and its behaviour against sections 1 and 3.2."""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import sub

from grader.judge.alignment import align, as_asked, computed_once, main_path
from grader.judge.causes import findings
from grader.judge.differences import Difference, differences
from grader.judge.specification import HEIGHTS, LINEAR, POOLING, Place, expected_layers, listed
from grader.judge.weights import Places, layer_of, some, weight_differences
from grader.protocol import NetworkSeen, Node
from grader.records import Deviation, Finding, Reason, Verdict

_SCORES = 10
_MISSING = (Deviation.MISSING_BATCH_NORM, Deviation.MISSING_RELU, Deviation.MISSING_LAYER)
_HIDES = {
    # What stands on the left explains what stands on the right.
    Deviation.UNREGISTERED_MODULE: (Deviation.BATCH_DEPENDENT, Deviation.NONDETERMINISTIC),
    Deviation.NONDETERMINISTIC: (Deviation.BATCH_DEPENDENT,),
}
_FORWARD, _CONSTRUCTOR, _NETWORK = (Place(0, part=part) for part in ("forward", "constructor", "network"))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be said about one network.

    Attributes:
        notes: What is optional.
        flags: Why a person should look besides the findings.
    """

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    flags: tuple[Reason, ...] = ()


def judge(network: NetworkSeen, blocks: tuple[int, ...]) -> Judgement:
    """Compare a network with what the handout asks for.

    Args:
        blocks: Blocks for each of the four stages.
    """
    network, again = computed_once(network)
    found = list(_constructor(network, blocks))
    structure: list[Difference] = []
    identity_expected = False
    if not network.is_module:
        sentence = "IdentityResNet is not an nn.Module; see section 3.2."
        found.append(Difference(Deviation.NOT_A_MODULE, _NETWORK, sentence))
    elif _never_made(network):
        pass  # why not is found already
    elif network.forward_error:
        sentence = (
            f"The network fails on four images of 3 x 32 x 32 ({_quoted(network.forward_error)}); see section 3.2.1."
        )
        found.append(Difference(Deviation.OUTPUT_SHAPE, _FORWARD, sentence))
    else:
        structure = _structure(network, blocks)
        shape = list(_output_shape(network, structure))
        behind = _behind_linear(structure) if shape else None
        found += [each for each in structure if behind is None or not _explained(each, behind)]
        found += shape
        found += _behaviour(network)
        identity_expected = not structure
    found = _once(_without_consequences(found))
    verdict = _verdict(network, found)
    every_block = tuple(dict.fromkeys(each.place for each in expected_layers(blocks) if each.place.block))
    ran = verdict is not Verdict.UNREADABLE and not network.constructor_error
    return Judgement(
        verdict,
        findings(found, network, every_block),
        tuple(_notes(network, blocks, again, verdict)) if ran else (),
        tuple(_disagreements(network, identity_expected, {each.code for each in found})),
    )


def _verdict(network: NetworkSeen, found: list[Difference]) -> Verdict:
    if network.forward_error or (network.is_module and _never_made(network)):
        return Verdict.UNREADABLE
    if any(not each.small for each in found):
        return Verdict.DEVIATES
    return Verdict.VARIANT if found else Verdict.CONFORMING


def _quoted(error: str) -> str:
    """An error inside a sentence, which has its own full stop."""
    return error.rstrip(". ")


def _never_made(network: NetworkSeen) -> bool:
    return bool(network.constructor_error) and not network.nodes and not network.forward_error


def _constructor(network: NetworkSeen, blocks: tuple[int, ...]) -> Iterator[Difference]:
    if network.constructor_error:
        arguments = ", ".join(map(str, blocks))
        sentence = f"IdentityResNet({arguments}) failed ({_quoted(network.constructor_error)}); see section 3.2."
        yield Difference(Deviation.CONSTRUCTOR, _CONSTRUCTOR, sentence)


def _structure(network: NetworkSeen, blocks: tuple[int, ...]) -> list[Difference]:
    if network.output is None:
        if network.output_shape is None:
            return []
        if network.behaviour.images_matter and not network.behaviour.nondeterministic:
            sentence = "The images leave torch on their way to the scores: no gradient comes back (section 3.2.1)."
            return [Difference(Deviation.NOT_DIFFERENTIABLE, _FORWARD, sentence)]
        sentence = "The output does not depend on the images; see section 3.2.1."
        return [Difference(Deviation.DEAD_LAYER, _FORWARD, sentence)]
    path = main_path(network)
    steps = align(path, blocks)
    weights = weight_differences(network, Places(path, steps))
    dead = {each.place for each in weights if each.code is Deviation.DEAD_LAYER}
    found = differences(path, as_asked(steps, blocks))
    without_skip = {each.place for each in found if each.code is Deviation.SKIP_MISSING}
    return [
        *(each for each in weights if each.code is not Deviation.DEAD_LAYER or each.place not in without_skip),
        *(each for each in found if each.code not in _MISSING or each.place not in dead),
    ]


def _output_shape(network: NetworkSeen, structure: list[Difference]) -> Iterator[Difference]:
    shape = network.output_shape
    if shape is not None and len(shape) == 2 and shape == (_batch(network), _SCORES):
        return
    if any(each.place.part == POOLING for each in structure):
        return  # the finding about the pooling says why
    asked = (_batch(network), _SCORES)
    said = (
        "is no tensor (is a return missing?); it should have the shape"
        if shape is None
        else f"has the shape {shape}, not"
    )
    behind = _behind_linear(structure)
    why = f": after the linear layer there is {behind.name}" if behind else ""
    sentence = f"For {asked[0]} images the output {said} {asked}{why} (section 3.2.1)."
    if asked[0] == 1:  # four were tried first
        sentence = "The forward pass takes a single image only; it should take any number (section 3.2.1)."
    yield Difference(Deviation.OUTPUT_SHAPE, _FORWARD, sentence)


def _behind_linear(structure: list[Difference]) -> Difference | None:
    return next((each for each in structure if each.code is Deviation.EXTRA_LAYER and each.place.part == LINEAR), None)


def _explained(difference: Difference, behind: Difference) -> bool:
    """Whether the sentence about the output's shape says it, too: what stands last, and that it has no gradient."""
    return difference is behind or (behind.op == "argmax" and difference.code is Deviation.NOT_DIFFERENTIABLE)


def _batch(network: NetworkSeen) -> int:
    return network.nodes[0].shape[0] if network.nodes else 4


def _behaviour(network: NetworkSeen) -> Iterator[Difference]:
    seen = network.behaviour
    alone, batch = seen.single_image, network.output_shape
    if isinstance(alone, str):
        sentence = (
            f"The forward pass fails for a single image ({_quoted(alone)}); it should take any number (section 3.2.1)."
        )
        yield Difference(Deviation.SINGLE_IMAGE, _FORWARD, sentence)
    elif alone is not None and batch and batch[0] == _batch(network) and alone != (1, *batch[1:]):
        dropped = alone == batch[1:]
        why = ": squeeze() or [0] drops the batch dimension, too, where flatten(1) keeps it" if dropped else ""
        sentence = f"For a single image the output has the shape {alone}, not {(1, *batch[1:])}{why} (section 3.2.1)."
        yield Difference(Deviation.SINGLE_IMAGE, _FORWARD, sentence, small=dropped)
    if seen.batch_dependent:
        sentence = "In eval mode, the scores of an image change with the other images of its batch (section 3.2.1)."
        yield Difference(Deviation.BATCH_DEPENDENT, _FORWARD, sentence)
    if seen.nondeterministic:
        sentence = (
            "In eval mode, two forward passes of the same image give different scores, as with an F.dropout that is "
            "not given training=self.training (section 3.2.1)."
        )
        yield Difference(Deviation.NONDETERMINISTIC, _FORWARD, sentence)


def _without_consequences(found: list[Difference]) -> list[Difference]:
    codes = {each.code for each in found}
    hidden = {hidden for code in codes for hidden in _HIDES.get(code, ())}
    chance = Deviation.NONDETERMINISTIC in codes
    return [each for each in found if each.code not in hidden and not (chance and each.random)]


def _once(found: list[Difference]) -> list[Difference]:
    """Where a large and a small difference of one code and place meet, the large one."""
    large = {(each.code, each.place) for each in found if not each.small}
    return [each for each in found if not each.small or (each.code, each.place) not in large]


def _notes(network: NetworkSeen, blocks: tuple[int, ...], again: tuple[Node, ...], verdict: Verdict) -> Iterator[str]:
    """What is right all the same: other numbers of blocks are optional in the handout, and time is the student's."""
    layers = list(dict.fromkeys(layer_of(node.weight) for node in again if node.weight))
    if layers and verdict is not Verdict.DEVIATES:
        yield f"The network computes the value of {some(layers)} twice. This is right, but once is enough."
    yield from _counts_not_followed(network, blocks, twice=any(node.op == "add" for node in again))


def _counts_not_followed(network: NetworkSeen, blocks: tuple[int, ...], *, twice: bool) -> Iterator[str]:
    """Blocks are counted by their additions, with one image: of a network that fails these, counts say nothing.

    Args:
        twice: Whether the network computes a whole block again.
    """
    heights = [node.shape[2] for node in network.nodes if node.op == "add" and len(node.shape) == 4]
    countable = not twice and tuple(heights.count(height) for height in HEIGHTS) == blocks
    tried = [(asked, found) for asked, found in network.behaviour.counts if asked != blocks]
    surplus = [tuple(map(sub, found, asked)) for asked, found in tried if not isinstance(found, str)]
    if isinstance(network.behaviour.single_image, str) or len(set(surplus)) == 1 < len(surplus):
        return  # what is always there besides the blocks is no block
    said = [
        f"IdentityResNet{asked} " + (f"fails ({_quoted(found)})" if isinstance(found, str) else f"has {found} blocks")
        for asked, found in tried
        if found != asked and (countable or isinstance(found, str))
    ]
    if said:
        yield f"{listed(said)}. Other numbers of blocks than {blocks} are optional."


def _disagreements(network: NetworkSeen, conforming: bool, codes: set[Deviation]) -> Iterator[Reason]:
    """Where the traced graph and the network's behaviour do not fit together."""
    seen = network.behaviour
    # Weights that two layers share lead to one of the two, and to its bias.
    if seen.trace_differs and Deviation.SHARED_WEIGHTS not in codes:
        yield Reason.of("in eval mode the network computes something else than its traced graph")
    # Where no block at all is the identity, the trial cannot set the weights: a product's, or those that a norm has.
    if conforming and any(seen.identities or ()) and not keeps_its_input(network):
        yield Reason.of(
            "its graph is right, but a block is not the identity",
            "with convolutions set to zero, one that keeps its shape returns something else",
        )


def keeps_its_input(network: NetworkSeen) -> bool:
    """Whether every block that keeps its shape returned its input while all 3 x 3 convolutions were zero."""
    identities = network.behaviour.identities or ()
    additions = [node for node in network.nodes if node.op == "add"]
    if len(additions) != len(identities):
        return True  # additions of another kind ran as well: the two lists cannot be compared
    heights = [node.shape[2] if len(node.shape) == 4 else 0 for node in additions]
    keeps = [height == before for height, before in zip(heights, [32, *heights], strict=False)]
    return all(unchanged for unchanged, keep in zip(identities, keeps, strict=True) if keep)
