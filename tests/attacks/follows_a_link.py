"""Reach a file of the grader's through a link in the scratch, a hard link, and a path through /proc."""

for reach in (
    lambda: os.symlink(target["witness"], "soft") or open("soft").read(),
    lambda: os.link(target["witness"], "hard") or open("hard").read(),
    lambda: open("/proc/self/root" + target["witness"]).read(),
    lambda: open("/proc/self/cwd/../../.." + target["witness"]).read(),
):
    try:
        if reach():
            print("SUCCEEDED")
    except OSError:
        pass
