"""Start 200 threads where 64 are allowed."""

import threading

# Daemons: the process ends without them.
stay = threading.Event()
threading.stack_size(1 << 16)
started = 0
try:
    for _ in range(200):
        threading.Thread(target=stay.wait, daemon=True).start()
        started += 1
except RuntimeError:
    pass
if started >= 200:
    print("SUCCEEDED", flush=True)
os._exit(0)
