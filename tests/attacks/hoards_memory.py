"""Take 1 GB where 900 MB are allowed."""

import time

kept = []
for _ in range(64):
    kept.append(bytearray(b"x" * (16 << 20)))
    time.sleep(0.01)
time.sleep(1)
print("SUCCEEDED")
