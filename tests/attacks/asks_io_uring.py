"""Have the kernel's asynchronous calls do what a filter of calls refuses."""

import ctypes

if ctypes.CDLL(None, use_errno=True).syscall(425, 4, ctypes.create_string_buffer(120)) >= 0:
    print("SUCCEEDED")
