"""A link with delay: two TUN devices in two namespaces and a process that carries packets across, late.

For kernels without netem. Started by :meth:`tests.lab.netlab.NetLab.delayed`; says ``ready`` once both
devices are there, and takes them with it when it ends. Packets keep their order, and none is changed::

    python relay.py NAMESPACE DEVICE NAMESPACE DEVICE DELAY_MS
"""

import contextlib
import ctypes
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

CLONE_NEWNET = 0x40000000  # sched.h
TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
LARGEST = 65535
BURST = 64  # packets read from one side before the other has its turn
QUEUE = 10_000  # packets under way in one direction; beyond that they are lost, as on any link


def enter(namespace: str) -> None:
    """This process goes into the network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(handle, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    finally:
        os.close(handle)


def tun(namespace: str, device: str) -> int:
    enter(namespace)
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    return handle


def take(source: int, queue: deque[tuple[float, bytes]], delay: float) -> None:
    """Up to a burst of what waits to be sent."""
    for _ in range(BURST):
        try:
            packet = os.read(source, LARGEST)
        except BlockingIOError:
            return
        if len(queue) < QUEUE:
            queue.append((time.monotonic() + delay, packet))


def give(queue: deque[tuple[float, bytes]], to: int) -> None:
    """What is due."""
    now = time.monotonic()
    while queue and queue[0][0] <= now:
        _, packet = queue.popleft()
        with contextlib.suppress(OSError):  # EIO: the device is down
            os.write(to, packet)


def relay(one: int, other: int, delay: float) -> None:
    there: deque[tuple[float, bytes]] = deque()
    back: deque[tuple[float, bytes]] = deque()
    while True:
        due = min((queue[0][0] for queue in (there, back) if queue), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic())
        ready = select.select((one, other), (), (), wait)[0]
        if one in ready:
            take(one, there, delay)
        if other in ready:
            take(other, back, delay)
        give(there, other)
        give(back, one)


def main(one: str, device: str, other: str, peer: str, delay_ms: str) -> None:
    ends = tun(one, device), tun(other, peer)
    print("ready", flush=True)
    relay(*ends, float(delay_ms) / 1000)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
