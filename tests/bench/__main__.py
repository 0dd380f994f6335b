"""`make bench`: what the grader costs, in parts; each writes its own section of RESULTS.md as soon as it knows it."""

import sys
from pathlib import Path

import typer

# The generators of archives, gradebooks and records are the tests' own.
sys.path.append(str(Path(__file__).parents[1] / "helpers"))

from cluster_overhead import cluster
from false_flags import false_flags
from gpu import gpu
from many_students import many_students
from training import training

app = typer.Typer(add_completion=False)
app.command("many-students")(many_students)
app.command("cluster")(cluster)
app.command("false-flags")(false_flags)
app.command("training")(training)
app.command("gpu")(gpu)


@app.callback(invoke_without_command=True)
def all_parts(context: typer.Context) -> None:
    """Measure one part, or without a part's name all but `gpu`, the longest last."""
    if context.invoked_subcommand is None:
        many_students()
        cluster()
        false_flags()
        training()


if __name__ == "__main__":
    app()
