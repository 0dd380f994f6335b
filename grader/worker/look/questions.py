"""Say of each of a script's nine questions whether it is answered, from what the script did while it was watched.

Of the script's text only the blanks that are left are known.
"""

from torch import nn
from torch.optim import SGD

from grader.records import Answer, Question
from grader.worker.look.watch import Seen

QUESTIONS = tuple(f"Q{number}" for number in range(1, 10))
MOMENTUM = 0.9
_LARGEST_BATCH = 4096

_NAMED = 'The script takes a GPU for granted; the template asks for "cuda:0" if there is a GPU, else "cpu".'
_NO_GPU = "The script never uses a GPU, so it trains on the processor everywhere."
_NOT_REACHED = "In the watched run, the script does not reach its training."

_FAILED = "In the watched run, the script fails before it computes a gradient."
_NO_GRADIENT = "Without a gradient of the loss (Q7), this cannot be seen."

_Found = tuple[Answer, str]
_BLANK: _Found = Answer.BLANK, "The dots are still there."  # beside an answer they do nothing


def answers(seen: Seen, blanks: tuple[str, ...], rates: tuple[float, float]) -> tuple[Question, ...]:
    """One answer for each of Q1 to Q9.

    Args:
        blanks: The questions whose `...` still stands.
        rates: The smallest and the largest learning rate that make sense.
    """
    found = (
        *(_device(seen), _batch_size(seen), _on_device(seen), _optimizer(seen, rates)),
        *(_gradients(seen), _forward_pass(seen), _backward(seen), _step(seen), _test(seen)),
    )
    return tuple(
        Question(name, *(_BLANK if name in blanks and each[0] is not Answer.OK else _in_view(each, seen)))
        for name, each in zip(QUESTIONS, found, strict=True)
    )


def _in_view(found: _Found, seen: Seen) -> _Found:
    """An answer, or the one reason why there is none: a script that does not train, or not to the end, shows little."""
    answer, _ = found
    trains = seen.batch_sizes or seen.optimizers or seen.backwards
    if (answer is Answer.UNKNOWN and seen.network is None) or (answer is not Answer.OK and not trains):
        return Answer.UNKNOWN, _NOT_REACHED
    if answer is Answer.UNKNOWN and not seen.backwards and not seen.tests and seen.failed:
        return Answer.UNKNOWN, _FAILED
    return found


def _device(seen: Seen) -> _Found:
    if seen.asked_for_gpu:
        return Answer.OK, "" if seen.asked_whether else _NAMED
    return Answer.WRONG, _NO_GPU


def _batch_size(seen: Seen) -> _Found:
    if not seen.batch_sizes:
        return Answer.UNKNOWN, "The script makes no loader of training images."
    size = seen.batch_sizes[0]
    if size is None:
        return Answer.UNKNOWN, "The training loader gets its batches ready made."
    if isinstance(size, int) and 1 < size <= _LARGEST_BATCH:
        return Answer.OK, ""
    return Answer.WRONG, f"The training loader's batch size is {size}; it should be from 2 to {_LARGEST_BATCH}."


def _on_device(seen: Seen) -> _Found:
    if seen.apart:
        return Answer.WRONG, "The images and the network are on different devices."
    if seen.moved:
        return Answer.OK, ""
    if seen.network is None:
        return Answer.UNKNOWN, _NOT_REACHED
    return Answer.WRONG, "The network is never moved to the device." if seen.asked_for_gpu else _NO_GPU


def _optimizer(seen: Seen, rates: tuple[float, float]) -> _Found:
    if not seen.optimizers:
        return Answer.UNKNOWN, "The script makes no optimizer."
    optimizer = seen.optimizers[-1]
    if not isinstance(optimizer, SGD):
        return Answer.WRONG, f"The optimizer is {type(optimizer).__name__}, not SGD."
    for momentum, rate in seen.asked:
        if momentum != MOMENTUM:
            return Answer.WRONG, f"The momentum is {momentum:g}, not {MOMENTUM}."
        if not rates[0] <= rate <= rates[1]:
            return Answer.WRONG, f"The learning rate {rate:g} is not between {rates[0]:g} and {rates[1]:g}."
    if seen.network is None:
        return Answer.UNKNOWN, _NOT_REACHED
    if not _has_all(seen, seen.network):
        return Answer.WRONG, "The optimizer does not have all parameters of the network that is trained."
    return Answer.OK, ""


def _has_all(seen: Seen, network: nn.Module) -> bool:
    """Whether the script's optimizers, of which each may have a part, have all that is trained."""
    groups = [group for optimizer in seen.optimizers for group in optimizer.param_groups]
    optimized = {id(each) for group in groups for each in group["params"]}
    return {id(each) for each in network.parameters() if each.requires_grad} <= optimized


def _gradients(seen: Seen) -> _Found:
    if seen.stale or (seen.kept and not seen.changed):
        return Answer.WRONG, "The gradients of the batch before are still there when backward runs."
    if not seen.backwards:
        # torch.autograd.grad adds nothing up: there is nothing of the batch before.
        return (Answer.OK, "") if seen.used else (Answer.UNKNOWN, _NO_GRADIENT)
    if seen.backwards < 2:
        return Answer.UNKNOWN, "Backward runs fewer than two times."
    return Answer.OK, ""


def _forward_pass(seen: Seen) -> _Found:
    if seen.used:
        return Answer.OK, ""
    if seen.backwards:
        return Answer.WRONG, "The loss does not come from a forward pass of the network on training images."
    return Answer.UNKNOWN, _NO_GRADIENT


def _backward(seen: Seen) -> _Found:
    if seen.used:
        return Answer.OK, ""
    if seen.network is None:
        return Answer.UNKNOWN, "The network does not run on training images."
    if seen.failed:
        return Answer.UNKNOWN, _FAILED
    return Answer.WRONG, "The network runs, but no gradient of the loss is computed."


def _step(seen: Seen) -> _Found:
    if seen.changed:
        return Answer.OK, ""
    if not seen.used:
        return Answer.UNKNOWN, "No gradient reaches the network." if seen.backwards else _NO_GRADIENT
    if seen.network is None or not _has_all(seen, seen.network):
        return Answer.UNKNOWN, "The optimizer does not have the network's parameters (Q4)."
    return Answer.WRONG, "The parameters are the same after a training step as before."


def _test(seen: Seen) -> _Found:
    if not seen.tests and seen.untracked and not seen.failed:
        return Answer.OK, ""  # on images of which nobody knows that they are test images
    if not seen.tests:
        return Answer.UNKNOWN, "The network does not run on test images."
    if all(seen.tests):
        return Answer.WRONG, "The network runs on test images with gradients switched on."
    return Answer.OK, ""
