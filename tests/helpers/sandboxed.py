"""Run a short program in the worker's place."""

import threading

from grader.sandbox import Execution, Isolation, Job, execute

# What such a program may begin with: the numbers of its three pipes, as the worker gets them, and the byte to begin.
PIPES = "import os, sys, time\nimages, scores, report = map(int, sys.argv[1:4])\nbegun = os.read(images, 1)\n"


def run(isolation: Isolation, job: Job, program: str) -> Execution:
    """Run it to its end."""
    return execute(isolation, job, threading.Event(), ("-c", program))
