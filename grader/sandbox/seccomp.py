"""The filter of system calls, made by libseccomp: it refuses what no homework needs and an attack may want.

Everything else is allowed: torch and the libraries below it change what they use from version to version.
"""

import errno
import os
from contextlib import suppress
from functools import cache
from typing import Any

# Other processes' memory, files and keys; mounts and namespaces; the kernel's own settings and programs.
_REFUSED = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "process_madvise", "userfaultfd"),
    *("add_key", "keyctl", "request_key", "perf_event_open", "bpf", "fanotify_init", "lookup_dcookie"),
    *("mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick"),
    *("mount_setattr", "unshare", "setns", "open_by_handle_at", "name_to_handle_at", "quotactl", "acct", "vhangup"),
    *("swapon", "swapoff", "reboot", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module"),
    *("iopl", "ioperm", "modify_ldt", "syslog", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex"),
    *("sethostname", "setdomainname"),
)
# Memory that no process maps, and the watchdog therefore cannot see.
_HIDDEN_MEMORY = ("memfd_create", "memfd_secret", "shmget", "msgget", "mq_open")
# Where ENOSYS sends callers to an older call that can be filtered.
_ABSENT = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
# CLONE_NEWTIME is not among clone's flags; these are NS, CGROUP, UTS, IPC, USER, PID and NET.
_NAMESPACES = tuple(1 << bit for bit in (17, 25, 26, 27, 28, 29, 30))
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_LAST = 1, 2, 10, 16, 64
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX


@cache
def missing() -> str:
    """Why there is no filter here; empty if there can be one."""
    try:
        import pyseccomp
    except (OSError, RuntimeError, AttributeError):
        return "the library libseccomp.so.2 is missing"
    return "" if pyseccomp.get_api() >= 3 else "the kernel's filters are too old"


def make_filter(*, hidden_memory: bool, own_network: bool) -> Any:
    """A pyseccomp.SyscallFilter, not loaded yet.

    Args:
        hidden_memory: Allow memory that is not mapped: a GPU's driver needs it.
        own_network: The job has a network of its own, with nothing in it; otherwise it gets no internet sockets.
    """
    import pyseccomp as seccomp

    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    refuse = seccomp.ERRNO(errno.EPERM)
    for name in (*_REFUSED, *(() if hidden_memory else _HIDDEN_MEMORY)):
        _add(rules, refuse, name)
    for name in _ABSENT:
        _add(rules, seccomp.ERRNO(errno.ENOSYS), name)
    for flag in _NAMESPACES:
        rules.add_rule(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    for request in _TERMINAL_INPUT:
        rules.add_rule(refuse, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, request))
    kept = {_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK} if own_network else {_AF_UNIX}
    for family in set(range(_AF_LAST)) - kept:
        rules.add_rule(refuse, "socket", seccomp.Arg(0, seccomp.EQ, family))
    rules.add_rule(refuse, "socket", seccomp.Arg(0, seccomp.GE, _AF_LAST))
    return rules


def program(*, hidden_memory: bool) -> bytes:
    """The filter as the kernel's instructions, for `bwrap --seccomp`."""
    descriptor = os.memfd_create("filter")
    with open(descriptor, "w+b") as file:
        make_filter(hidden_memory=hidden_memory, own_network=True).export_bpf(file)
        file.seek(0)
        return file.read()


def _add(rules: Any, action: int, name: str) -> None:
    """Refuse a call, unless this processor or this library has none of that name: the probes say if that matters."""
    with suppress(OSError, ValueError):
        rules.add_rule(action, name)
