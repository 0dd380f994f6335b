"""Make a device file, and open those of the machine's memory and disks."""

import stat

for reach in (
    lambda: os.mknod("disk", 0o600 | stat.S_IFBLK, os.makedev(254, 0)) or open("disk", "rb"),
    lambda: open("/dev/mem", "rb"),
    lambda: open("/dev/vda", "rb"),
    lambda: open("/dev/kmsg", "rb"),
):
    try:
        reach()
        print("SUCCEEDED")
    except OSError:
        pass
