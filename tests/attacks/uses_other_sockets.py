"""Open a raw, a packet, a vsock and a Bluetooth socket."""

import socket

for family, kind in ((2, socket.SOCK_RAW), (17, socket.SOCK_RAW), (40, socket.SOCK_STREAM), (31, socket.SOCK_RAW)):
    try:
        socket.socket(family, kind, 1 if family == 2 else 0)
        print("SUCCEEDED", family)
    except OSError:
        pass
