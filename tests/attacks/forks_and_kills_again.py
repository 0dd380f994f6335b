"""A small fork bomb: every child forks on, 64 deep, and ignores what ends a session."""

import signal
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
deadline = time.monotonic() + 2
for _ in range(64):
    try:
        if os.fork() == 0:
            os.setsid()
            continue
    except OSError:
        pass
    break
while time.monotonic() < deadline + 60:
    time.sleep(0.1)
