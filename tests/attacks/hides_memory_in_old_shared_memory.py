"""Take a System V segment of 256 MB, which outlives its process."""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
number = libc.shmget(0, 256 << 20, 0o1600)
if number >= 0:
    libc.shmctl(number, 0, None)
    print("SUCCEEDED")
