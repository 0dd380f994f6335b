"""Write 160 MB in files of 4 MB, where 32 MB are allowed."""

import time

written = 0
for number in range(40):
    with open(f"part{number}", "wb") as part:
        written += part.write(os.urandom(4 << 20))
    time.sleep(0.05)
time.sleep(1)
print("SUCCEEDED")
