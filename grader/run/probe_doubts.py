"""When the probes give reason to doubt that a network learned what it knows; each with its figures, for a person."""

import math

from grader.records import Probes

# In points of accuracy, beside four standard errors of the difference. The reference on CIFAR-10 loses one to four.
_FALL = 25
_CHANCE, _ABOVE_CHANCE = 10, 20


def probe_doubts(probes: Probes | None) -> list[str]:
    """Give every doubt in one sentence without a full stop; empty for an honest network."""
    if probes is None:
        return []
    doubts = []
    differing = probes.count - probes.repeated_alike
    if differing:
        doubts.append(
            f"{differing} of {probes.count} test images got other scores when they were asked for again in other "
            "company: the network looks at the whole batch, or at chance"
        )
    if probes.mirrored is not None:
        # Photographs only: a shift breaks the 4 x 4 grid of the digits (an honest network fell from 90 % to 35 %).
        doubts += _fall(probes, probes.shifted, "shifted by one pixel")
        doubts += _fall(probes, probes.mirrored, "mirrored")
    if probes.untrained is not None:
        percent = 100 * probes.untrained / probes.count
        if percent > _CHANCE + _ABOVE_CHANCE + _error(probes.count):
            doubts.append(
                f"an untrained copy of the network classifies {percent:.0f} % of {probes.count} test images, where "
                f"chance is {_CHANCE} %: its answers may have come with the file"
            )
    return doubts


def _fall(probes: Probes, right: int, how: str) -> list[str]:
    plain, other = (100 * count / probes.count for count in (probes.plain, right))
    if plain - other <= _FALL + _error(probes.count):
        return []
    return [f"accuracy falls from {plain:.0f} % to {other:.0f} % where {probes.count} test images are {how}"]


def _error(count: int) -> float:
    """Four standard errors of a difference of two accuracies, in points, at the worst."""
    return 400 * math.sqrt(0.5 / count)
