"""Leave a process behind that has a session of its own, ignores signals and has closed its pipes."""

import signal
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.closerange(0, 200)
        time.sleep(100)
    os._exit(0)
