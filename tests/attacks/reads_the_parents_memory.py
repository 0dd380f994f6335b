"""Copy memory out of the process that started this one."""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
for pid in (os.getppid(), target["pid"]):
    # In a pid namespace the first process is the sandbox's own, of the same user: there is nothing to steal in it.
    if pid == 1:
        continue
    try:
        with open(f"/proc/{pid}/mem", "rb"):
            print("SUCCEEDED")
    except OSError:
        pass
    if libc.ptrace(0x4206, pid, None, None) == 0:
        print("SUCCEEDED")
