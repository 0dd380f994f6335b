"""Run a command and say on the last line what it took: `python cost.py COMMAND...`.

A process of its own, because the kernel counts a parent's memory as its child's until the child's program begins.
"""

import json
import resource
import subprocess
import sys
import time

began = time.monotonic()
code = subprocess.run(sys.argv[1:], stderr=subprocess.STDOUT, check=False).returncode
seconds = time.monotonic() - began
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
# Linux gives kilobytes, of the largest process that was waited for.
cost = {"seconds": seconds, "processor_seconds": usage.ru_utime + usage.ru_stime, "megabytes": usage.ru_maxrss / 1024}
print(json.dumps(cost))
sys.exit(code)
