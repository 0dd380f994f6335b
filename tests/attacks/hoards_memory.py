"""Take 1 GB where 900 MB are allowed."""

import time

kept = []
for _ in range(128):
    kept.append(bytearray(b"x" * (8 << 20)))
    time.sleep(0.02)
time.sleep(1)
print("SUCCEEDED")
