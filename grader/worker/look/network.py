"""Look at a network: trace a forward of a copy, then try it out. Runs beside student code, in the sandbox."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from grader.protocol import NetworkSeen, to_json
from grader.worker.look.behaviour import short, try_out
from grader.worker.look.layer_names import LayerNames, without_gradient
from grader.worker.look.trace import Recorder, TooLarge

# Four as in the handout's examples; some forwards know no other batch size than their script's.
_BATCHES = (4, 32, 64, 128, 16, 8, 100, 1)
_MAX_DIMENSIONS = 8
_MAX_BYTES = 60_000  # the grader drops a line of 65,536 bytes


def build(make: Callable[..., Any], blocks: tuple[int, ...]) -> tuple[object, str]:
    """Make a network: it or None, and why that failed or an empty text."""
    try:
        return make(*blocks), ""
    except (Exception, SystemExit) as error:  # whatever a student's constructor raises is a finding
        return None, short(error)


def look_at(network: object, constructor_error: str, make: Callable[..., Any] | None = None) -> NetworkSeen:
    """Describe what a network computes and how it behaves; the network itself stays as it is.

    Args:
        constructor_error: What `IdentityResNet(2, 2, 2, 2)` raised; empty if it worked.
        make: Makes a network from four block counts; None: other counts are not tried.
    """
    if not isinstance(network, nn.Module):
        failed = network is None and isinstance(make, type) and issubclass(make, nn.Module)
        return NetworkSeen(is_module=failed, constructor_error=constructor_error)
    parameters = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    error = ""
    with _one_thread():
        for batch in _BATCHES:
            try:
                seen = _described(network, batch, parameters, constructor_error, make)
                if len(to_json(seen)) > _MAX_BYTES:
                    raise TooLarge("a graph of more nodes and longer names than can be judged")
                return seen
            except TooLarge as raised:
                error = short(raised)
                break
            except (Exception, SystemExit) as raised:  # whatever a student's forward raises is a finding
                error = error or short(raised)
    return NetworkSeen(is_module=True, parameters=parameters, constructor_error=constructor_error, forward_error=error)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One processor thread: where others work as well, two wait for each other (9 s instead of 1.6 s were measured)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _described(
    network: nn.Module, batch: int, parameters: int, constructor_error: str, make: Callable[..., Any] | None
) -> NetworkSeen:
    """Trace a copy; where the copy still uses the original, through a closure, the network itself."""
    probe = _prepared(_copied(network))
    names, recorder, images, output = _traced(probe, network, batch)
    if not names.copy_is_whole:
        probe = _prepared(network)
        names, recorder, images, output = _traced(probe, network, batch)
    node = recorder.node_of(output)
    return NetworkSeen(
        is_module=True,
        nodes=tuple(recorder.nodes),
        output=node,
        unused=names.unused(recorder.used),
        without_gradient=without_gradient(probe, output),
        parameters=parameters,
        output_shape=tuple(output.shape[:_MAX_DIMENSIONS]) if isinstance(output, Tensor) else None,
        constructor_error=constructor_error,
        behaviour=try_out(probe, make, images, recorder.nodes, node),
    )


def _traced(probe: nn.Module, network: nn.Module, batch: int) -> tuple[LayerNames, Recorder, Tensor, object]:
    device = next((weight.device for weight in probe.parameters()), torch.device("cpu"))
    images = torch.randn(batch, 3, 32, 32, device=device)
    names = LayerNames(probe, network)
    recorder = Recorder(images, names)
    with torch.enable_grad(), recorder:
        output = probe(images)
    return names, recorder, images, output


def _copied(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except RuntimeError:  # it keeps a tensor of an earlier forward
        return network


def _prepared(probe: nn.Module) -> nn.Module:
    """The network in train mode, with weights that tell layers apart: none is all zeros or all ones."""
    probe = probe.float().train()
    with torch.no_grad():
        for weight in probe.parameters():
            if weight.requires_grad and weight.numel() and bool((weight == weight.reshape(-1)[0]).all()):
                weight.uniform_(0.5, 1.5) if weight.ndim < 2 else weight.normal_(0, 0.05)
    return probe
