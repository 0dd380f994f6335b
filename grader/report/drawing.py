"""A student's network beside the handout's, as a picture. Its format follows its name: .svg, .png or .pdf."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from grader.errors import Mistake
from grader.findings import Finding, Layer

_RIGHT, _WRONG, _SMALL = "#2e7d32", "#c62828", "#666666"
_ROW_INCHES, _COLUMNS = 0.22, (0.02, 0.2, 0.5)


def draw(layers: Sequence[Layer], findings: tuple[Finding, ...], title: str, path: Path) -> None:
    """Write the picture: one row for each layer, what the handout asks for beside what ran; differences are red.

    Raises:
        Mistake: The picture cannot be written there.
    """
    rows = len(layers) + len(findings) + 5
    figure = Figure(figsize=(12, rows * _ROW_INCHES))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(rows, 0)
    axes.text(_COLUMNS[0], 1, title, fontsize=11, weight="bold", parse_math=False)
    for column, head in zip(_COLUMNS, ("where", "section 3.1", "what ran"), strict=True):
        axes.text(column, 2.3, head, fontsize=9, weight="bold")
    marked = {finding.where for finding in findings}
    for row, layer in enumerate(layers, start=3):
        colours = (_WRONG if layer.place in marked else _SMALL, _SMALL, _WRONG if layer.differs else _RIGHT)
        said = (layer.place, layer.asked, layer.ran)
        for column, text, colour in zip(_COLUMNS, said, colours, strict=True):
            axes.text(column, row + 0.3, text, fontsize=8, color=colour, parse_math=False)
    for row, finding in enumerate(findings, start=len(layers) + 4):
        line = f"{finding.code}: {finding.sentence}"[:200]
        axes.text(_COLUMNS[0], row + 0.3, line, fontsize=8, color=_WRONG, parse_math=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise Mistake(f"cannot write the picture {path}: {error}") from None
