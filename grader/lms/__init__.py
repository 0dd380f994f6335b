"""Learning systems: a module reads each one's archive; upload.py and gradescope.py write what goes back.

Below them stands what they share.
"""

from enum import StrEnum


class System(StrEnum):
    """A learning system: from all but Gradescope an archive is read, and each takes grades back."""

    BLACKBOARD = "blackboard"
    CANVAS = "canvas"
    MOODLE = "moodle"
    GRADESCOPE = "gradescope"
