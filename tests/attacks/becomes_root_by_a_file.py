"""Make a program that runs as root, and become root by every call there is."""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
for call in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgroups([0])):
    try:
        if os.getuid() != 0:
            call()
            print("SUCCEEDED")
    except OSError:
        pass
with open("/proc/self/status") as status:
    if "NoNewPrivs:\t1" not in status.read():
        print("SUCCEEDED")
