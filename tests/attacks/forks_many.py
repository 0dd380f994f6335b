"""Start 200 processes that stay, where 64 are allowed."""

import time

started = 0
for _ in range(200):
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
    except OSError:
        break
    started += 1
if started >= 200:
    print("SUCCEEDED")
