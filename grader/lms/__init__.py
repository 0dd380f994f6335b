"""Learning systems, each on one page: how its archive is read, what goes back to it; below them what they share."""

from enum import StrEnum


class System(StrEnum):
    """A learning system: from all but Gradescope an archive is read, and each takes grades back."""

    BLACKBOARD = "blackboard"
    CANVAS = "canvas"
    MOODLE = "moodle"
    GRADESCOPE = "gradescope"
