"""What makes training faster leaves what comes out of it where it was, by the means over several seeds."""

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from grader.assignment import Assignment
from grader.data import DataSet, count_correct
from grader.records import BATCHED_TRANSFORMS, BFLOAT16
from grader.sandbox import Isolation
from honest_scripts import NARROW
from one_run import only_slot, train_at
from workloads import Workload, replaced

pytestmark = [pytest.mark.slow, pytest.mark.sandbox, pytest.mark.timeout(900)]

SEEDS = (1, 2, 3, 4)
# The assignment's typical script at batch 4, with networks of a quarter of the width.
SCRIPT = replaced(Workload("typical", 4, 0, 1, typical=True).script_of(0), NARROW)


Accuracies = Callable[..., list[float]]


@pytest.fixture
def accuracies(isolation: Isolation, assignment: Assignment, digits: DataSet, tmp_path: Path) -> Iterator[Accuracies]:
    """Those of the script in percent, one for each seed; `optimization` is in use from the first batch to the last."""
    script = tmp_path / "typical" / "hw6.py"
    script.parent.mkdir()
    script.write_text(SCRIPT, encoding="utf-8")
    with only_slot(digits, isolation, tmp_path) as (slot, replayers):

        def of_all_seeds(optimization: str, **changes: Any) -> list[float]:
            found = []
            for seed in SEEDS:
                rules = assignment.model_copy(update={"seed": seed, **changes})
                trained = train_at(slot, replayers, script, rules, digits)
                assert trained.scores is not None, trained.log.decode(errors="replace")
                assert trained.run.training.samples == 5 * len(digits.x_train)
                assert not optimization or dict(trained.run.training.acceleration)[optimization] == 1
                found.append(100 * count_correct(trained.scores, digits.y_test) / len(digits.y_test))
            return found

        yield of_all_seeds


def test_faster_training_gives_the_accuracies_of_the_script_as_it_is(accuracies: Accuracies) -> None:
    plain = accuracies("", acceleration=())
    faster = accuracies(BATCHED_TRANSFORMS)
    reduced = accuracies(BFLOAT16, precision="bfloat16")
    assert statistics.mean(plain) > 60, "it learned something"
    for others in (faster, reduced):
        error = (statistics.variance(plain) + statistics.variance(others)) / len(SEEDS)
        assert abs(statistics.mean(others) - statistics.mean(plain)) < 3 * error**0.5 + 2, (plain, others)
