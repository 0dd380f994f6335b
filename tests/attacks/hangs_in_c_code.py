"""Wait for ever below the interpreter, with every signal blocked."""

import ctypes
import signal

signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True:
    ctypes.CDLL(None).pause()
