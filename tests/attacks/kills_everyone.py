"""Kill every process that can be reached: `kill -9 -1`."""

import signal
import time

os.kill(-1, signal.SIGKILL)
time.sleep(1)
