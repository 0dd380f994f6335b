"""One finding for one cause, and the main one first: what differs in the same way in many places is said once."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

from grader.judge.alignment import WEIGHTED, Path, main_path
from grader.judge.differences import Difference
from grader.judge.specification import STAGES, WIDTHS, Place, asked_for, listed
from grader.protocol import NetworkSeen
from grader.records import Deviation, Finding

# From the first to the last that a student reads; of the same weight, what is in more places comes first.
_WEIGHTS: tuple[tuple[Deviation, ...], ...] = (
    (Deviation.CONSTRUCTOR, Deviation.NOT_A_MODULE, Deviation.OUTPUT_SHAPE),
    (
        *(Deviation.MISSING_LAYER, Deviation.EXTRA_LAYER, Deviation.SKIP_MISSING, Deviation.WRONG_WIDTH),
        *(Deviation.WRONG_STRIDE, Deviation.WRONG_KERNEL, Deviation.MISSING_BATCH_NORM, Deviation.MISSING_RELU),
        *(Deviation.RELU_AFTER_ADD, Deviation.SKIP_EXTRA_LAYER),
    ),
    (Deviation.UNREGISTERED_MODULE, Deviation.NOT_DIFFERENTIABLE, Deviation.SHARED_WEIGHTS, Deviation.DEAD_LAYER),
    (Deviation.SINGLE_IMAGE, Deviation.BATCH_DEPENDENT, Deviation.NONDETERMINISTIC, Deviation.UNUSED_MODULE),
)
_WEIGHT = {code: weight for weight, codes in enumerate(_WEIGHTS) for code in codes}
_OF_THE_ORDER = {
    *(Deviation.MISSING_BATCH_NORM, Deviation.MISSING_RELU, Deviation.RELU_AFTER_ADD, Deviation.SKIP_EXTRA_LAYER),
    Deviation.EXTRA_LAYER,
}
_MISSING = (Deviation.MISSING_LAYER, Deviation.MISSING_BATCH_NORM)
_IDLE = (Deviation.UNUSED_MODULE, Deviation.DEAD_LAYER)
_MOSTLY = 0.75
_LISTED = 4
_NORMS_OUTSIDE = 2  # behind the first convolution and before the pooling
_LAYERS_OF_A_STAGE = 2  # where more have one wrong width, it is the stage's
_FRACTIONS: dict[float, str] = {2: "half of", 4: "a quarter of", 8: "an eighth of"}
_MULTIPLES: dict[float, str] = {2: "twice", 4: "four times"}


def findings(found: list[Difference], network: NetworkSeen, places: tuple[Place, ...]) -> tuple[Finding, ...]:
    """Group differences by their cause.

    Args:
        found: In the network's order.
        places: All blocks of the handout's network.
    """
    causes: dict[tuple[Deviation, str, bool], list[Place]] = {}
    found = _of_counts(_of_bottlenecks(_of_the_order(found, network), network), places)
    found = _of_widths(found, {stage for stage, count in _blocks(found, places).items() if not count})
    said = list(_of_names(_of_layers(found)))
    large = {(code, sentence) for code, _, sentence, small in said if not small}
    for code, place, sentence, small in said:
        # What is defensible in one place, and said of others where it is not, is one cause.
        where = causes.setdefault((code, sentence, small and (code, sentence) not in large), [])
        if place not in where:
            where.append(place)
    ordered = sorted(causes.items(), key=lambda cause: (cause[0][2], _WEIGHT[cause[0][0]], -len(cause[1])))
    made = tuple(
        Finding(code, str(where[0]), _filled(sentence, where, places), tuple(map(str, where[1:])))
        for (code, sentence, _), where in ordered
    )
    return _of_idle(made, {str(each.place) for each in found if _lacks_weights(each)})


def _lacks_weights(difference: Difference) -> bool:
    """Whether something with weights is missing here: a block, or a layer."""
    return difference.code in _MISSING and (difference.blocks < 0 or difference.op in WEIGHTED)


def _of_idle(made: tuple[Finding, ...], lacking: set[str]) -> tuple[Finding, ...]:
    """Where layers do nothing and something with weights is missing, both are said together: one explains the other."""
    idle = {each.sentence for each in made if each.code in _IDLE}
    missing = {each.sentence for each in made if each.code in _MISSING and each.where in lacking}
    if len(idle) != 1 or len(missing) != 1:
        return made
    (why,), (what,) = idle, missing
    return tuple(replace(each, sentence=f"{what} {why}") if each.sentence in (why, what) else each for each in made)


def _of_layers(found: list[Difference]) -> list[Difference]:
    """All that is wrong with one convolution, in one sentence."""
    of_layer: dict[tuple[Place, str], list[Difference]] = {}
    for each in found:
        if each.has:
            of_layer.setdefault((each.place, each.name), []).append(each)
    together = {
        layer: asked_for(layer[0], listed([each.has for each in wrong]), listed([each.asked for each in wrong]))
        for layer, wrong in of_layer.items()
        if len(wrong) > 1
    }
    return [each.said(together.get((each.place, each.name), each.sentence)) if each.has else each for each in found]


def _of_names(found: list[Difference]) -> Iterator[tuple[Deviation, Place, str, bool]]:
    """Merge equal findings about several layers of one place into one sentence."""
    alike: dict[tuple[Deviation, Place, str, bool], dict[str, Difference]] = {}
    for each in found:
        alike.setdefault((each.code, each.place, each.sentence, each.small), {}).setdefault(each.name, each)
    for (code, place, sentence, small), layers in alike.items():
        many = len(layers) > 1
        both = {each.both for each in layers.values()}
        shared = both.pop() if len(layers) == 2 and len(both) == 1 else ""
        filled = (
            sentence.replace("{name}", shared or listed(list(layers)))
            .replace("{name is}", "are" if many else "is")
            .replace("{name has}", "have" if many else "has")
        )
        yield code, place, filled, small


def _of_the_order(found: list[Difference], network: NetworkSeen) -> list[Difference]:
    """If the blocks are post-activation, replace their findings by one sentence about the order."""
    if network.output is None:
        return found
    path = main_path(network)
    layers = [path.graph[node].op for node in path.nodes]
    before = _before_additions(path, layers)
    convolutions_first = not path.skips and layers[1:4] == ["conv", "conv", "batch_norm"]
    if not convolutions_first and (len(before) < 2 or before.count("batch_norm") < _MOSTLY * len(before)):
        return found
    if layers.count("batch_norm") > layers.count("conv") + _NORMS_OUTSIDE:
        return found  # another one before each addition, behind those of Figure 1
    after = any(each.code is Deviation.RELU_AFTER_ADD for each in found)
    follow = [following for layer, following in pairwise(layers) if layer == "conv"]
    order = "ReLU, BN" if before and follow.count("relu") > _MOSTLY * len(before) else "BN, ReLU"
    sentence = f"The blocks have the order convolution, {order}; Figure 1 has the order BN, ReLU, convolution" + (
        ", and nothing after the addition." if after else "."
    )
    return [each.said(sentence) if _explained(each) else each for each in found]


def _before_additions(path: Path, layers: list[str]) -> list[str]:
    """The last layer of each block's own path before its addition, less a ReLU."""
    ends = [at - (2 if layers[at - 1] == "relu" else 1) for at in path.skips]
    return [layers[end] for end in ends if end >= 0]


def _explained(difference: Difference) -> bool:
    """Whether the order of the layers is the cause: of no convolution, and of nothing outside of the blocks."""
    inside = difference.place.block > 0 or difference.op in ("batch_norm", "relu")
    return difference.code in _OF_THE_ORDER and inside and difference.op not in ("conv", "max_pool", "add")


def _of_bottlenecks(found: list[Difference], network: NetworkSeen) -> list[Difference]:
    """If the blocks are bottlenecks, replace what is said of their convolutions by one sentence."""
    if network.output is None:
        return found
    path = main_path(network)
    kernels = [
        [path.graph[node].kernel for node in path.nodes[skip.source + 1 : at] if path.graph[node].op == "conv"]
        for at, skip in path.skips.items()
        if skip.source is not None
    ]
    if len(kernels) < 2 or kernels.count([(1, 1), (3, 3), (1, 1)]) < _MOSTLY * len(kernels):
        return found
    sentence = (
        "The blocks are bottlenecks, of a 1 x 1, a 3 x 3 and another 1 x 1 convolution; in Figure 1 a block has two "
        "3 x 3 convolutions."
    )
    return [each.said(sentence) if each.place.block and each.op == "conv" else each for each in found]


def _of_counts(found: list[Difference], places: tuple[Place, ...]) -> list[Difference]:
    """Blocks too many or too few, said once for all stages."""
    asked, had = _blocks([], places), _blocks(found, places)
    other = [stage for stage in STAGES if had[stage] != asked[stage]]
    if not other:
        return found
    stage, is_one = other[0], len(other) == 1
    sentence = ""  # of one block
    if not any(had.values()):
        sentence = "Every block is missing (section 3.1)."
    elif is_one and not had[stage]:
        sentence = f"stage {stage} is missing ({{section}})."
    elif is_one and abs(had[stage] - asked[stage]) > 1:
        sentence = f"stage {stage} has {had[stage]} blocks; the handout asks for {asked[stage]} ({{section}})."
    elif not is_one:
        same = len({had[each] for each in STAGES}) == len({asked[each] for each in STAGES}) == 1
        numbers = listed([str(had[each]) for each in STAGES])
        wanted = listed([str(asked[each]) for each in STAGES])
        blocks = f"{had[stage]} block{'s' if had[stage] > 1 else ''}"
        sentence = (
            f"Every stage has {blocks}; the handout asks for {asked[stage]} (section 3.1)."
            if same
            else f"The stages have {numbers} blocks; the handout asks for {wanted} (section 3.1)."
        )
    return [each.said(sentence) if each.blocks and sentence else each for each in found]


def _blocks(found: list[Difference], places: tuple[Place, ...]) -> dict[int, int]:
    """How many blocks each stage has."""
    counts = dict(Counter(place.stage for place in places))
    for each in found:
        if each.blocks:
            counts[each.place.stage] += each.blocks
    return counts


def _of_widths(found: list[Difference], missing: set[int]) -> list[Difference]:
    """Widths that are wrong in the same way in all stages, or in all of one stage, said once.

    Args:
        missing: Stages of which there is no block.
    """
    wrong = [each for each in found if each.width]
    by_stage: dict[int, set[int]] = {}
    for each in wrong:
        by_stage.setdefault(max(each.place.stage, 1), set()).add(each.width)
    whole = [
        stage for stage in by_stage if sum(max(each.place.stage, 1) == stage for each in wrong) > _LAYERS_OF_A_STAGE
    ]
    if len(whole) < max(2, len(by_stage)) or any(len(widths) > 1 for widths in by_stage.values()):
        return [_of_stage(each, by_stage, wrong) for each in _of_one_layer(found, wrong)]
    there = [stage for stage in STAGES if stage not in missing]
    widths = [min(by_stage.get(stage, {WIDTHS[stage - 1]})) for stage in there]
    asked, had = ", ".join(map(str, WIDTHS)), ", ".join(map(str, widths))
    sentence = f"The stages have the widths {had}; the handout asks for {asked} (section 3.1)."
    if missing:
        sentence = (
            f"There are {len(there)} stages, of the widths {had}; the handout asks for 4, of {asked} (section 3.1)."
        )
        return [each.said(sentence) if each.width or each.place.stage in missing else each for each in found]
    ratios = {(asked / width, width / asked) for asked, width in zip(WIDTHS, widths, strict=True) if width}
    if len(ratios) == 1 and all(widths):
        less, more = ratios.pop()
        if share := _FRACTIONS.get(less) or _MULTIPLES.get(more):
            sentence = f"All widths are {share} what the handout asks for: {had}, and not {asked} (section 3.1)."
    return [each.said(sentence) if each.width else each for each in found]


def _of_one_layer(found: list[Difference], wrong: list[Difference]) -> list[Difference]:
    """One layer of blocks of several stages, each time with another wrong width, said once."""
    stages = [each.place.stage for each in wrong]
    alike = len({each.name for each in wrong}) == 1 and all(each.place.block for each in wrong)
    if not alike or len(set(stages)) < max(2, len(stages)):
        return found
    has = listed([str(each.width) for each in wrong])
    asked = listed([str(WIDTHS[stage - 1]) for stage in stages])
    sentence = asked_for(wrong[0].place, f"{has} output channels", asked)
    return [each.said(sentence) if each.width else each for each in found]


def _of_stage(difference: Difference, by_stage: dict[int, set[int]], wrong: list[Difference]) -> Difference:
    stage = difference.place.stage
    several = sum(each.place.stage == stage for each in wrong) > _LAYERS_OF_A_STAGE
    if not difference.width or not several or not difference.place.block or len(by_stage[stage]) > 1:
        return difference
    asked = WIDTHS[stage - 1]
    sentence = (
        f"the convolutions of stage {stage} have {difference.width} output channels; the handout asks for {asked} "
        "({section})."
    )
    return difference.said(sentence)


def _filled(sentence: str, where: list[Place], blocks: tuple[Place, ...]) -> str:
    said, many = named(where, blocks)
    if not where[0].block:
        sentence = sentence.replace("in {places},", "at {places},")
    filled = (
        sentence.replace("{places}", said)
        .replace("{is}", "are" if many else "is")
        .replace("{section}", _section(where))
    )
    return filled[:1].upper() + filled[1:]


def _section(where: list[Place]) -> str:
    sections = sorted({place.section for place in where})
    if len(sections) == 2 and where[0].block:
        return f"sections {listed(sections)}"
    return f"section {sections[0] if len(sections) == 1 else '3.1'}"


def named(where: list[Place], blocks: tuple[Place, ...]) -> tuple[str, bool]:
    """Places in words, as in "the first block of stages 2, 3 and 4"; and whether they are grammatically several."""
    if len(where) == 1:
        return where[0].words, False
    here = set(where)
    if not all(place.block for place in where):
        return listed([place.words if not place.block else f"stage {place.stage}" for place in where]), True
    if here == set(blocks):
        return "every block", False
    if here == {place for place in blocks if place.halves}:
        return f"the first block of stages {_numbers(place.stage for place in where)}", False
    if here == {place for place in blocks if not place.halves}:
        return "every block that keeps its shape", False
    stages, numbers = Counter(place.stage for place in where), Counter(place.block for place in where)
    if all(here >= {each for each in blocks if each.stage == stage} for stage in stages):
        plural = "s" if len(stages) > 1 else ""
        return f"every block of stage{plural} {_numbers(stages)}", False
    if len(numbers) == 1 and len(stages) == len(STAGES):
        return f"block {where[0].block} of every stage", False
    if len(numbers) == 1:
        return f"block {where[0].block} of stages {_numbers(stages)}", False
    if len(where) <= _LISTED:
        return listed([_of_one_stage(stage, where) for stage in stages]), True
    return f"{len(where)} of the {len(blocks)} blocks", True


def _of_one_stage(stage: int, where: list[Place]) -> str:
    own = [place.block for place in where if place.stage == stage]
    return f"block{'s' if len(own) > 1 else ''} {_numbers(own)} of stage {stage}"


def _numbers(values: Iterable[int]) -> str:
    return listed([str(value) for value in dict.fromkeys(values)])
