"""How fast the reference trains: a slow or busy machine is timed for longer, and nothing is graded without a timing."""

from pathlib import Path

import pytest

from grader.assignment import Assignment
from grader.calibrate import calibrate
from grader.data import load_data
from grader.sandbox import Isolation
from one_run import only_slot


@pytest.mark.sandbox
def test_a_machine_on_which_one_step_takes_the_whole_time_is_timed_for_longer(
    isolation: Isolation, assignment: Assignment, tmp_path: Path
) -> None:
    """On one thread the reference's first step, of 64 images, takes more than the two seconds that it is given."""
    slot = only_slot(load_data("digits"), isolation, tmp_path / "work")
    assert calibrate(assignment, slot, 2).images_per_second > 0
