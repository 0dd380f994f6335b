"""Stop or end the process that started this one, and that one's parent."""

import signal

for pid in (os.getppid(), 1, target["pid"]):
    if pid == os.getpid():
        continue
    try:
        os.kill(pid, signal.SIGCONT)
    except OSError:
        continue
    # The first process of a pid namespace gets no signal from inside that it has no handler for.
    if pid != 1:
        print("SUCCEEDED")
