"""Train and eval mode of a script's network, whatever the script itself calls `train` and `eval`."""

import inspect
from typing import Any

from torch import nn


def switch(network: nn.Module, *, training: bool) -> None:
    """Switch a network to train or eval mode, as `nn.Module.train` does.

    A method of that name that trains takes something else first, such as a loader: it is not called. Nor is a method
    `eval`, which may test, or an attribute that hides either.
    """
    own: Any = type(network).train
    if callable(own) and [*inspect.signature(own).parameters][1:2] == ["mode"]:
        own(network, training)
        return
    for module in network.modules():
        module.training = training
