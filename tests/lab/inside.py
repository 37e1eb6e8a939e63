"""Doing things inside a namespace without a program of its own: a thread goes in, and is over afterwards."""

import contextlib
import errno
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.lab.netlab import Host
from tests.lab.relay import enter

T = TypeVar("T")

NETLINK_NETFILTER = 12
NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE = 1, 2
NLM_F_REQUEST, NLM_F_ACK = 1, 4


def inside(host: Host, do: Callable[[], T]) -> T:
    """The result of ``do`` in ``host``; its exception is raised here. Threads that ``do`` starts are inside
    as well, and so are programs."""
    results: list[T] = []
    faults: list[BaseException] = []

    def work() -> None:
        try:
            enter(host.namespace)
            results.append(do())
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if faults:
        raise faults[0]
    return results[0]


def set_sysctl(host: Host, name: str, value: object) -> str:
    """Sets it (dots or slashes) and returns what it was."""
    file = Path("/proc/sys") / name.replace(".", "/")

    def change() -> str:
        was = file.read_text().strip()
        file.write_text(f"{value}\n")
        return was

    return inside(host, change)


def forget_connections(host: Host) -> None:
    """As ``conntrack -F``: one delete without a tuple, for both families. Where nothing is tracked, nothing
    happens."""

    def flush() -> None:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
            netlink.settimeout(5.0)
            kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE
            body = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
            head = struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | NLM_F_ACK, 1, 0)
            netlink.sendto(head + body, (0, 0))
            answer = netlink.recv(4096)
        code = -struct.unpack_from("=i", answer, 16)[0]
        if code not in (0, errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP):
            raise OSError(code, f"conntrack flush in {host.name}")

    with contextlib.suppress(ConnectionError):
        inside(host, flush)
