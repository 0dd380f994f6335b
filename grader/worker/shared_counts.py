"""Numbers on which a script's forked children count too."""

import mmap


def shared_counts(number: int) -> memoryview:
    """So many int64, all 0, in memory that every later fork of this process shares."""
    return memoryview(mmap.mmap(-1, 8 * number)).cast("q")
