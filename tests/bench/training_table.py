"""What the benchmark of training found, as a table."""

from dataclasses import dataclass, field
from itertools import groupby
from statistics import median

from workloads import Workload

TITLE = "The grader beside the bare script"
# Five epochs of CIFAR-10.
FULL_IMAGES = 250_000
# 0.557 GMAC forward, three times for a training step, two operations each.
_GFLOP_PER_IMAGE = 3.35
_MATRIX = 2048


@dataclass(frozen=True, slots=True)
class Measured:
    """One class, graded in one way.

    Attributes:
        slots: Submissions at the same time.
        wall: Seconds from the first submission's beginning to the last one's result.
        training: Seconds of all submissions together, each by its own clock.
        testing: Of all together, from the end of training to the result; 0 where they are not told apart.
        once: Seconds that the class takes once: before the first submission begins, and after the last result.
        optimizations: The least share of the work that each did.
    """

    workload: Workload
    way: str
    slots: int
    wall: float
    training: float
    testing: float = 0.0
    once: float = 0.0
    optimizations: dict[str, float] = field(default_factory=dict)

    @property
    def images_per_second(self) -> float:
        """Of all that run at the same time."""
        return self.slots * self.workload.images * self.workload.submissions / self.training

    @property
    def beside_training(self) -> float:
        """Seconds of each submission: start-up, check, prediction and the script's own test, record."""
        return (self.wall - self.training / self.slots) / self.workload.submissions

    @property
    def own_seconds(self) -> float:
        """Of each submission, what the grader adds to training and prediction."""
        return self.beside_training - self.testing / self.slots / self.workload.submissions

    @property
    def full_seconds(self) -> float:
        """Five epochs of CIFAR-10 at this rate, for each submission of a large class."""
        return self.beside_training + FULL_IMAGES / self.images_per_second

    def __str__(self) -> str:
        optimizations = "".join(f"; {name} {share:.0%}" for name, share in self.optimizations.items())
        return (
            f"{self.workload.name}, {self.way}: {self.images_per_second:.1f} images/s, "
            f"{self.beside_training:.1f} s beside training, {self.own_seconds:.1f} s beside prediction too, "
            f"{self.once:.1f} s once{optimizations}"
        )


def table(measured: list[Measured], matrix: tuple[float, str]) -> list[str]:
    """Medians, and ratios to the bare script of the same round with their spread.

    Args:
        measured: In their order; the bare scripts come first in each round. The last round may not be over.
        matrix: As `peak` gives it.
    """
    gflops, device = matrix
    lines = [
        f"On {device}. Random images, 100 for testing.",
        "*Beside training*: of each submission; *own*: without prediction, too, so what the grader adds; *once*: of a",
        "class, before its first submission and after its last. The grader makes 700 predictions here, most of them",
        "to compare the replay; the bare script's hundred are in both of its columns.",
        "*Ratio*: what five epochs of CIFAR-10 (250,000 images) would take for each submission at the measured rate,",
        "with the time beside training, as a part of what the bare scripts take one after another in the same round;",
        "median, and the least and largest of the rounds. *Floor*: the share of the measured matrix rate",
        f"({gflops:.0f} GFLOP/s in float32) that 3.35 GFLOP an image come to. Each of the grader's runs times both",
        "layouts once, for about ten steps: a twelfth of the 125 steps here, a twentieth of the 200 at batch 4, next",
        "to nothing of a whole run. So the grader's rates and ratios are worse here than in one.",
        "**Sought**: on two cores a ratio of 0.60 at batch 4 and 0.75 at batch 32, and 3 s of its own, or 1.5 s where",
        "another submission trains meanwhile; on an H200 at batch 4 a ratio of 0.25 with JOBS=1, and of 0.08 with 16.",
        "",
        "| scripts | way | images/s | beside training, s | own, s | once, s | ratio | floor | optimizations in use |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (batch_size, way), group in groupby(sorted(measured, key=_kind), key=_kind):
        runs = list(group)
        bare = [each for each in measured if each.workload.batch_size == batch_size and each.way == "bare"]
        ratios = [each.full_seconds / other.full_seconds for each, other in zip(runs, bare, strict=False)]
        rate = median(each.images_per_second for each in runs)
        optimizations = ", ".join(
            f"{optimization} {share:.0%}" for optimization, share in runs[-1].optimizations.items() if share
        )
        lines.append(
            f"| {runs[0].workload.name} | {way} | {rate:.1f} | {median(each.beside_training for each in runs):.1f} | "
            f"{median(each.own_seconds for each in runs):.1f} | {median(each.once for each in runs):.1f} | "
            f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | {rate * _GFLOP_PER_IMAGE / gflops:.0%} | "
            f"{optimizations} |"
        )
    return lines


def _kind(each: Measured) -> tuple[int, str]:
    return each.workload.batch_size, each.way


def peak() -> tuple[float, str]:
    """The rate of a large matrix product in float32, in GFLOP/s, and the device that trains and has it."""
    # Here: the other parts do without torch, and one of them measures its own memory.
    import torch
    from torch.utils.benchmark import Timer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    factors = {name: torch.ones(_MATRIX, _MATRIX, device=device) for name in ("a", "b")}
    seconds = Timer("a @ b", globals=factors, num_threads=torch.get_num_threads()).blocked_autorange(min_run_time=2)
    name = torch.cuda.get_device_name(0) if device == "cuda" else f"{torch.get_num_threads()} threads, no GPU"
    return 2 * _MATRIX**3 / seconds.median / 1e9, name
