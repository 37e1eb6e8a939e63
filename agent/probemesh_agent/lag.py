"""How long this thread stood ready to run and got no processor, as the kernel counts it.

``/proc/thread-self/schedstat`` (Documentation/scheduler/sched-stats.rst): time on a processor, time waited
for one, both in nanoseconds. A ticking timer would tell the same only of the instants at which it ticks."""

from pathlib import Path

_SCHEDSTAT = Path("/proc/thread-self/schedstat")


def waited_ns() -> int:
    """Since the thread began; always 0 where the kernel does not count it."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
