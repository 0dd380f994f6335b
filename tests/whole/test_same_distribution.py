"""What makes training faster leaves what comes out of it where it was, by the means over several seeds."""

import statistics
from pathlib import Path
from typing import Any

import pytest

from grader.assignment import Assignment
from grader.data import count_correct, load_data
from grader.records import BATCHED_TRANSFORMS, BFLOAT16
from grader.sandbox import Isolation
from honest_scripts import NARROW
from one_run import train_once
from workloads import Workload, replaced

pytestmark = [pytest.mark.slow, pytest.mark.sandbox, pytest.mark.timeout(900)]

SEEDS = (1, 2, 3, 4)
# The assignment's typical script at batch 4, with networks of a quarter of the width.
SCRIPT = replaced(Workload("typical", 4, 0, 1, typical=True).script_of(0), NARROW)


def accuracies(
    isolation: Isolation, folder: Path, assignment: Assignment, optimization: str, **changes: Any
) -> list[float]:
    """In percent, one for each seed; `optimization` was in use from the first batch to the last."""
    script = folder / "typical" / "hw6.py"
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT, encoding="utf-8")
    data = load_data("digits")
    found = []
    for seed in SEEDS:
        rules = assignment.model_copy(update={"seed": seed, **changes})
        trained = train_once(script, rules, data, isolation, folder / str(seed))
        assert trained.scores is not None, trained.log.decode(errors="replace")
        assert trained.run.training.samples == 5 * len(data.x_train)
        assert not optimization or dict(trained.run.training.acceleration)[optimization] == 1
        found.append(100 * count_correct(trained.scores, data.y_test) / len(data.y_test))
    return found


def test_faster_training_gives_the_accuracies_of_the_script_as_it_is(
    isolation: Isolation, assignment: Assignment, tmp_path: Path
) -> None:
    plain = accuracies(isolation, tmp_path / "plain", assignment, "", acceleration=())
    faster = accuracies(isolation, tmp_path / "faster", assignment, BATCHED_TRANSFORMS)
    reduced = accuracies(isolation, tmp_path / "reduced", assignment, BFLOAT16, precision="bfloat16")
    assert statistics.mean(plain) > 60, "it learned something"
    for others in (faster, reduced):
        error = (statistics.variance(plain) + statistics.variance(others)) / len(SEEDS)
        assert abs(statistics.mean(others) - statistics.mean(plain)) < 3 * error**0.5 + 2, (plain, others)
