"""What the benchmark found, as a table."""

import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from statistics import median

import torch
from torch.utils.benchmark import Timer

from workloads import Workload

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
        wall_seconds: From the first command to the end of the last.
        train_seconds: Of all submissions together, each by its own clock.
        levers: The least share of the work that each did.
    """

    workload: Workload
    way: str
    slots: int
    wall_seconds: float
    train_seconds: float
    levers: dict[str, float] = field(default_factory=dict)

    @property
    def images_per_second(self) -> float:
        """Of all that run at the same time."""
        return self.slots * self.workload.images * self.workload.submissions / self.train_seconds

    @property
    def outside_seconds(self) -> float:
        """Of each submission, beside training: start-up, check, prediction and the script's own test, table."""
        return (self.wall_seconds - self.train_seconds / self.slots) / self.workload.submissions

    @property
    def full_seconds(self) -> float:
        """Five epochs of CIFAR-10 at this rate, for each submission of a large class."""
        return self.outside_seconds + FULL_IMAGES / self.images_per_second

    def __str__(self) -> str:
        levers = "".join(f"; {name} {share:.0%}" for name, share in self.levers.items())
        return (
            f"{self.workload.name}, {self.way}: {self.images_per_second:.1f} images/s, "
            f"{self.outside_seconds:.1f} s beside training{levers}"
        )


def write_results(path: Path, measured: list[Measured]) -> None:
    """Write a table of medians and ratios to the bare script of the same round, with their spread."""
    peak = matrix_gflops()
    lines = [
        "# The grader beside the bare script",
        "",
        f"`make bench`, {datetime.now(UTC):%Y-%m-%d}, {_processor()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, {_gpu()}.",
        "",
        "Random images, 100 for testing. *Ratio*: what five epochs of CIFAR-10 (250,000 images) would take for each",
        "submission at the measured rate, with the time beside training, as a part of what the bare scripts take one",
        "after another in the same round; median, and the least and largest of the rounds. *Floor*: the share of the",
        f"measured matrix rate ({peak:.0f} GFLOP/s in float32) that 3.35 GFLOP an image come to.",
        "",
        "| scripts | way | images/s | beside training, s each | ratio | floor | levers in use |",
        "|---|---|---|---|---|---|---|",
    ]
    for (batch_size, way), group in groupby(sorted(measured, key=_kind), key=_kind):
        runs = list(group)
        bare = [each for each in measured if each.workload.batch_size == batch_size and each.way == "bare"]
        ratios = [each.full_seconds / other.full_seconds for each, other in zip(runs, bare, strict=True)]
        rate = median(each.images_per_second for each in runs)
        levers = ", ".join(f"{lever} {share:.0%}" for lever, share in runs[-1].levers.items())
        lines.append(
            f"| {runs[0].workload.name} | {way} | {rate:.1f} | {median(each.outside_seconds for each in runs):.1f} | "
            f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | {rate * _GFLOP_PER_IMAGE / peak:.0%} | "
            f"{levers} |"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _kind(each: Measured) -> tuple[int, str]:
    return each.workload.batch_size, each.way


def matrix_gflops() -> float:
    """The rate of a large matrix product in float32, on the device that trains."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    factors = {name: torch.ones(_MATRIX, _MATRIX, device=device) for name in ("a", "b")}
    seconds = Timer("a @ b", globals=factors, num_threads=torch.get_num_threads()).blocked_autorange(min_run_time=2)
    return 2 * _MATRIX**3 / seconds.median / 1e9


def _processor() -> str:
    described = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    names = [line.split(":", 1)[1].strip() for line in described.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _gpu() -> str:
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
