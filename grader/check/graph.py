"""Look at a network in a real forward: which layers computed something, in which order, with which shapes."""

import copy
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from grader.telemetry import Layer, NetworkSeen

_BATCH, _CHANNELS, _SIZE = 4, 3, 32
# A hostile network may run thousands of layers; the description that leaves the sandbox stays small.
_MAX_LAYERS, _MAX_DIMENSIONS = 400, 8


class _LayerRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every convolution and every matrix product, below autograd."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers: list[Layer] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if len(self.layers) < _MAX_LAYERS:
            if func is torch.ops.aten.convolution.default:
                weight, stride = args[1], args[3]
                self.layers.append(
                    Layer(
                        "conv",
                        inputs=args[0].shape[1],
                        outputs=weight.shape[0],
                        kernel=tuple(weight.shape[2:]),
                        stride=tuple(stride),
                        size=output.shape[2],
                    )
                )
            elif func in (torch.ops.aten.addmm.default, torch.ops.aten.mm.default):
                weight = args[-1]
                self.layers.append(Layer("linear", inputs=weight.shape[0], outputs=weight.shape[1]))
        return output


def look_at(network: object, constructor_error: str) -> NetworkSeen:
    """Run a copy of a network once on (4, 3, 32, 32) in eval mode and describe what ran.

    Args:
        constructor_error: What `IdentityResNet(2, 2, 2, 2)` raised; empty if it worked.
    """
    if not isinstance(network, nn.Module):
        return NetworkSeen(is_module=False, constructor_error=constructor_error)
    parameters = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    recorder = _LayerRecorder()
    error, shape = "", None
    try:
        probe = copy.deepcopy(network).float().eval()
        device = next((weight.device for weight in probe.parameters()), torch.device("cpu"))
        with torch.no_grad(), recorder:
            output = probe(torch.zeros(_BATCH, _CHANNELS, _SIZE, _SIZE, device=device))
        shape = tuple(output.shape[:_MAX_DIMENSIONS]) if isinstance(output, torch.Tensor) else None
    except Exception as raised:  # whatever a student's forward raises is a finding
        error = f"{type(raised).__name__}: {' '.join(str(raised).split())[:500]}"
    return NetworkSeen(
        is_module=True,
        layers=tuple(recorder.layers),
        parameters=parameters,
        output_shape=shape,
        constructor_error=constructor_error,
        forward_error=error,
    )
