"""Keys and tokens in memory stay there: no core file, and nobody else of its user looks into a process."""

import os

#: Set to ``1`` by whoever attaches a debugger or wants a core file.
DUMPABLE = "PROBEMESH_DUMPABLE"
_PR_SET_DUMPABLE = 4  # linux/prctl.h


def undumped() -> None:
    """Called first of all by every program, and by every child that has secrets: ``execve`` undoes the half
    of it that counts (core files that go to a program, such as systemd-coredump's, know no size limit).

    Where the kernel refuses, or is none of Linux, that half is done without.
    """
    if os.environ.get(DUMPABLE) == "1":
        return
    import ctypes
    import resource

    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
