"""Read the command lines and variables of others in /proc."""

own = os.getpid()
for name in os.listdir("/proc"):
    if name.isdigit() and int(name) not in (own, 1):
        for file in ("environ", "maps"):
            try:
                if open(f"/proc/{name}/{file}").read():
                    print("SUCCEEDED")
            except OSError:
                pass
