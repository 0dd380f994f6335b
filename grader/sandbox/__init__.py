"""Run one worker, cut off from everything that it was not given.

Covers: files, network, other processes, other submissions, memory (sampled), processes, open files, output and wall
time. Does not cover: memory in a shared mapping that nothing has mapped (an unmapped memfd), processor affinity, and,
on a GPU, the card's own memory. grader/docs/isolation.md says what each level holds.
"""

from grader.sandbox.execute import BegunJob, StartedJob, execute, started
from grader.sandbox.job import Ending, Execution, Isolation, Job, Listener
from grader.sandbox.ladder import PROBES, Rung, find_isolation, rungs

__all__ = [
    "PROBES",
    "BegunJob",
    "Ending",
    "Execution",
    "Isolation",
    "Job",
    "Listener",
    "Rung",
    "StartedJob",
    "execute",
    "find_isolation",
    "rungs",
    "started",
]
