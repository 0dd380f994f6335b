"""What honest students hand in: the reference in five recipes with either skip, and the habits of the tests' corpus."""

from collections.abc import Iterator
from pathlib import Path

from grader.records import Companion, Submission
from workloads import BATCH, NO_SCHEDULE, REFERENCE, SGD, TYPICAL, replaced

HABITS = Path(__file__).parents[1] / "submissions" / "habits"
# A quarter of the specified width: a sixteenth of the work, so that two cores see networks that learned something.
NARROW = {
    "nn.Conv2d(3, 64": "nn.Conv2d(3, 16",
    "PreActivationBlock(64)": "PreActivationBlock(16)",
    "halving_stage(64": "halving_stage(16",
    "halving_stage(128": "halving_stage(32",
    "halving_stage(256": "halving_stage(64",
    "nn.Linear(512": "nn.Linear(128",
}
_AUGMENT = "transforms.RandomCrop(32, padding=2), transforms.RandomHorizontalFlip(), transform"
_RECIPES: dict[str, dict[str, str]] = {
    "reference": {},
    "tutorial": {**TYPICAL, BATCH: "batch_size = 16"},
    "large_batches": {
        _AUGMENT: "transforms.RandomHorizontalFlip(), transform",
        BATCH: "batch_size = 256",
        "learning_rate = 0.03": "learning_rate = 0.1",
    },
    "adam_and_colours": {
        _AUGMENT: "transforms.ColorJitter(0.4, 0.4, 0.4), transforms.RandomRotation(15), transform",
        SGD: "optim.Adam(net.parameters(), lr=0.001)",
        BATCH: "batch_size = 100",
        **NO_SCHEDULE,
    },
    "not_normalised_with_erasing": {
        _AUGMENT: "transform, transforms.RandomErasing()",
        "transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))": "transforms.ToTensor()",
        "self.fc(out.flatten(start_dim=1))": "self.fc(F.dropout(out.flatten(start_dim=1), 0.3, self.training))",
        BATCH: "batch_size = 32",
    },
}


def honest_scripts() -> Iterator[Submission]:
    """Each with its name as the student's."""
    narrow = replaced(REFERENCE.read_text(encoding="utf-8"), NARROW)
    for name, changes in _RECIPES.items():
        for skip in ("A", "B"):
            text = replaced(narrow, {**changes, 'nblk_stage4, option="A"': f'nblk_stage4, option="{skip}"'})
            yield Submission(f"{name}_option_{skip}", content=text.encode())
    for case in sorted(HABITS.iterdir()):
        beside = [path for path in sorted(case.glob("*.py")) if path.name != "hw6.py"]
        companions = tuple(Companion(path.name, path.read_bytes()) for path in beside)
        yield Submission(case.name, content=(case / "hw6.py").read_bytes(), companions=companions)
