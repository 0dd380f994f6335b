"""RESULTS.md: one section for each part of the benchmark, which replaces its own and leaves the others as they are."""

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from grader.run.machine import usable_cores

RESULTS = Path(__file__).with_name("RESULTS.md")
Out = Annotated[Path, typer.Option(help="Where the results are written.")]
_NEXT = "\n## "


def write_section(path: Path, title: str, lines: Iterable[str]) -> None:
    """Write a part's section: in the place of the one before, or at the end. When and where is said first."""
    text = path.read_text(encoding="utf-8") if path.exists() else "# What `make bench` measured\n"
    head, *parts = text.split(_NEXT)
    sections = {part.partition("\n")[0]: part for part in parts}
    sections[title] = "\n".join([title, "", _when_and_where(), "", *lines]) + "\n"
    path.write_text(_NEXT.join([head, *sections.values()]), encoding="utf-8")


def _when_and_where() -> str:
    torch = importlib.metadata.version("torch")
    load = f"load {os.getloadavg()[0]:.1f} at the end"
    return f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {usable_cores()} cores, {load}, torch {torch}."


def _processor() -> str:
    described = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    names = [line.split(":", 1)[1].strip() for line in described.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()
