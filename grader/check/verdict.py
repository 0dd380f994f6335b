"""Judge a network's layers against the handout's section 3.1.

The comparison is of shapes: how many convolutions of which width, kernel and stride ran at which size of the image. It
does not see how the layers are wired (a missing batch normalization, ReLU or skip).
"""

from collections.abc import Iterator

from grader.records import Deviation, Finding, Verdict
from grader.telemetry import Layer, NetworkSeen

# Stage -> height of its output and its channels; the first convolution counts with stage 1.
_STAGES = {1: (32, 64), 2: (16, 128), 3: (8, 256), 4: (4, 512)}
_OUTPUT_SHAPE = (4, 10)


def judge(network: NetworkSeen, blocks: tuple[int, ...]) -> tuple[Verdict, tuple[Finding, ...]]:
    """Compare what ran with what the handout asks for.

    Args:
        blocks: Blocks for each of the four stages.
    """
    findings = tuple(_findings(network, blocks))
    if network.forward_error:
        return Verdict.UNREADABLE, findings
    return (Verdict.DEVIATES if findings else Verdict.CONFORMING), findings


def _findings(network: NetworkSeen, blocks: tuple[int, ...]) -> Iterator[Finding]:
    if network.constructor_error:
        arguments = ", ".join(map(str, blocks))
        yield Finding(
            Deviation.CONSTRUCTOR,
            "constructor",
            f"IdentityResNet({arguments}) failed ({network.constructor_error}); see section 3.2.",
        )
    if not network.is_module:
        yield Finding(Deviation.NOT_A_MODULE, "network", "IdentityResNet is not an nn.Module; see section 3.2.")
        return
    if network.forward_error:
        yield Finding(
            Deviation.OUTPUT_SHAPE,
            "forward",
            f"The network failed on four images of 3 x 32 x 32 ({network.forward_error}).",
        )
        return
    if network.output_shape != _OUTPUT_SHAPE:
        shape = network.output_shape or "no tensor"
        yield Finding(
            Deviation.OUTPUT_SHAPE, "forward", f"For four images the output is {shape}, not (4, 10); see section 3.2.1."
        )
    yield from _stage_findings(network.layers, blocks)
    yield from _linear_findings(network.layers)


def _stage_findings(layers: tuple[Layer, ...], blocks: tuple[int, ...]) -> Iterator[Finding]:
    convolutions = [layer for layer in layers if layer.kind == "conv"]
    sizes = {size for size, _ in _STAGES.values()}
    for stage, (size, width) in _STAGES.items():
        here = [layer for layer in convolutions if layer.size == size]
        where = f"stage {stage}"
        shortcuts = [layer for layer in here if layer.kernel == (1, 1) and layer.stride == (2, 2) and stage > 1]
        others = [layer for layer in here if layer not in shortcuts]
        if any(layer.outputs != width for layer in here):
            widths = sorted({layer.outputs for layer in here} - {width})
            yield Finding(
                Deviation.WRONG_WIDTH, where, f"In {where} a convolution has {widths[0]} channels, not {width}."
            )
        if wrong := [layer for layer in others if layer.kernel != (3, 3)]:
            yield Finding(
                Deviation.WRONG_KERNEL, where, f"In {where} a convolution has a filter of {wrong[0].kernel}, not 3 x 3."
            )
        yield from _count_findings(where, len(others), 2 * blocks[stage - 1] + (stage == 1))
        yield from _count_findings(where + "'s skip connections", len(shortcuts), min(1, len(shortcuts)))
    if strangers := sorted({layer.size for layer in convolutions} - sizes):
        yield Finding(
            Deviation.EXTRA_LAYER,
            "network",
            f"A convolution works on images of height {strangers[0]}; the stages have 32, 16, 8 and 4.",
        )


def _count_findings(where: str, found: int, expected: int) -> Iterator[Finding]:
    if found != expected:
        code = Deviation.MISSING_LAYER if found < expected else Deviation.EXTRA_LAYER
        yield Finding(code, where, f"In {where} the convolutions that ran are {found}; the handout has {expected}.")


def _linear_findings(layers: tuple[Layer, ...]) -> Iterator[Finding]:
    linear = [layer for layer in layers if layer.kind == "linear"]
    if not linear:
        yield Finding(Deviation.MISSING_LAYER, "linear layer", "No linear layer ran at the end; see section 3.1.6.")
    elif len(linear) > 1:
        yield Finding(
            Deviation.EXTRA_LAYER, "linear layer", f"{len(linear)} linear layers ran; section 3.1.6 asks for one."
        )
    elif linear[0].inputs != 512:
        yield Finding(
            Deviation.WRONG_WIDTH, "linear layer", f"The linear layer takes {linear[0].inputs} values, not 512."
        )
