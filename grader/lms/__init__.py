"""Learning systems: on each one's page, what it reads, what it writes, and where that is known from.

Below them stands what they share: archives, which file of an attempt counts, gradebooks. upload.py fills the scores in.
"""

from enum import StrEnum


class System(StrEnum):
    """A learning system: the archive of each is read, and each takes grades back."""

    BLACKBOARD = "blackboard"
    CANVAS = "canvas"
    MOODLE = "moodle"
    GRADESCOPE = "gradescope"
