"""The assignment's rules, loaded from a TOML file and validated; and where the reference and the template lie."""

import hashlib
import tomllib
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from grader.errors import UserError
from grader.records import IsolationLevel, in_band

DEFAULT_ASSIGNMENT = Path(__file__).with_name("assignment.toml")


def _folder(name: str) -> Path:
    """A folder that is beside the package in a checkout, and inside it once the package is installed."""
    installed = Path(__file__).with_name(name)
    return installed if installed.is_dir() else Path(__file__).parents[1] / name


REFERENCE = _folder("reference") / "hw6.py"
TEMPLATE = _folder("student_template")

# How several submissions use one GPU: one after another, or at the same time through NVIDIA MPS.
Sharing = Literal["turns", "mps"]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Budget(_Table):
    """What training may use (handout, section 7).

    Attributes:
        time_limit: "wall": `train_seconds` by the clock. "calibrated": longer in proportion on a machine that trains
            the reference slower than `colab_images_per_second`, and never shorter.
    """

    epochs: PositiveInt
    train_seconds: PositiveInt
    time_limit: Literal["wall", "calibrated"]
    colab_images_per_second: PositiveInt

    def calibrated_seconds(self, images_per_second: float) -> float:
        """The training time in seconds, on a machine where the reference trains at this rate."""
        return self.train_seconds * max(1.0, self.colab_images_per_second / images_per_second)


class Limits(_Table):
    """What one submission may use of the machine; units are in the names."""

    setup_seconds: PositiveInt
    evaluation_seconds: PositiveInt
    check_seconds: PositiveInt
    memory_mb: PositiveInt
    scratch_mb: PositiveInt
    shared_memory_mb: PositiveInt
    log_kb: PositiveInt
    output_mb: PositiveInt
    processor_share: PositiveFloat
    processes: PositiveInt
    open_files: PositiveInt
    file_size_kb: PositiveInt
    companions: NonNegativeInt


class Band(_Table):
    """Points for an accuracy strictly above `above`, or of at least `from`, in percent."""

    points: Decimal = Field(ge=0)
    above: Decimal | None = Field(default=None, ge=0, le=100)
    at_least: Decimal | None = Field(default=None, ge=0, le=100, alias="from")

    @model_validator(mode="after")
    def _one_edge(self) -> Self:
        if self.above is not None and self.at_least is not None:
            raise ValueError("a band has `above` or `from`, not both")
        return self

    def takes(self, percent: Fraction) -> bool:
        """Whether an exact accuracy, in percent, is on this band's side of its edge."""
        return in_band(percent, self.above, self.at_least)

    @property
    def edge(self) -> Fraction | None:
        """The band's lower edge in percent; None for the band that takes the rest."""
        edge = self.above if self.above is not None else self.at_least
        return None if edge is None else Fraction(edge)


class Borderline(_Table):
    """What happens if the first run ends just below a band's edge, since the accuracy of a training is random.

    Attributes:
        below_edge: How far below the edge still counts as just below, in percentage points.
        extra_runs: How many runs follow, with other seeds.
        grade_by: Which of the runs counts. The median of an even number is the lower one in the middle.
    """

    below_edge: Decimal = Field(ge=0)
    extra_runs: NonNegativeInt
    grade_by: Literal["best", "median"]


class Policy(_Table):
    """What people decide and nobody measures (handout, section 8)."""

    points_if_not_runnable: Decimal = Field(ge=0)
    points_if_missing: Decimal = Field(ge=0)
    architecture: Literal["flag", "require"]
    isolation: IsolationLevel


class Questions(_Table):
    """What counts as a right answer to the script's questions. It moves no points."""

    learning_rates: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class Colab(_Table):
    """What students may take for granted because Colab has it."""

    modules: tuple[str, ...]


class Assignment(_Table):
    """Everything that a course decides.

    Attributes:
        precision: "script": each script's own. "bfloat16": training forwards run under torch.autocast.
        acceleration: What may make training faster. None of it changes what is trained.
        sharing: How several submissions use one GPU.
    """

    title: str
    file: str
    class_name: str
    blocks: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
    seed: int
    precision: Literal["script", "bfloat16"]
    acceleration: tuple[
        Literal["batched-transforms", "own-loading", "batched-draws", "channels-last", "cuda-graphs", "fused-steps"],
        ...,
    ]
    sharing: Sharing = "turns"
    budget: Budget
    limits: Limits
    bands: tuple[Band, ...] = Field(min_length=1)
    borderline: Borderline
    policy: Policy
    questions: Questions
    colab: Colab

    @model_validator(mode="after")
    def _last_band_takes_the_rest(self) -> Self:
        last = self.bands[-1]
        if last.above is not None or last.at_least is not None:
            raise ValueError("the last band must have no edge, so that every accuracy earns something")
        return self

    @property
    def most_points(self) -> Decimal:
        """The points of the best band."""
        return max(band.points for band in self.bands)

    def for_seconds(self, seconds: int) -> Self:
        """The same assignment with so many seconds of training by the clock."""
        return self.model_copy(update={"budget": self.budget.model_copy(update={"train_seconds": seconds})})

    def run_key(self, data_hash: str) -> str:
        """A hash of all rules that change a run; bands and policy do not."""
        ran = self.model_dump_json(include={"class_name", "blocks", "seed", "precision", "budget", "limits"})
        return hashlib.sha256(f"{ran}\n{data_hash}".encode()).hexdigest()[:16]

    def hash(self) -> str:
        """A hash of the whole assignment, bands and policy included."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def load_assignment(path: Path = DEFAULT_ASSIGNMENT) -> Assignment:
    """Read and validate an assignment.

    Raises:
        UserError: The file is missing, is not TOML, or a value is out of range.
    """
    try:
        return Assignment.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"cannot read the assignment {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: {where or 'assignment'}: {first['msg']}") from None
