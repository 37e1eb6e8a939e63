"""What the kernel knows of a socket: why it failed, and how long its handshake took."""

import socket

from probemesh_shared import failures
from probemesh_shared.model import Failure, IcmpError
from probemesh_shared.words import Family, Stage

from probemesh_agent import kernel

#: tcpi_rtt after a lost SYN: nothing was measured.
_NO_RTT_US = (0, 1000)


def failure(sock: socket.socket, stage: Stage, number: int, peer: str, *, at_once: bool = False) -> Failure:
    """From the ICMP error in the socket's queue, where there is one; else from the errno ``number`` alone.
    SO_ERROR, where the errno came from it, has been read before: draining the queue clears it."""
    for entry in reversed(kernel.drain_errors(sock)):
        if entry.is_icmp:
            family = Family.IPV6 if entry.origin == kernel.ORIGIN_ICMP6 else Family.IPV4
            error = IcmpError(family, entry.type, entry.code, entry.offender, entry.ttl, entry.info or None)
            told = failures.from_icmp(stage, error, target=peer, own=_own(sock), number=number)
            if told is not None:
                return told
    return failures.from_errno(stage, number, at_once=at_once)


def _own(sock: socket.socket) -> tuple[str, ...]:
    try:
        return (str(sock.getsockname()[0]),)
    except OSError:
        return ()


def handshake(sock: socket.socket, took_ms: float) -> tuple[float | None, int | None]:
    """``(rtt_ms, syn_retransmits)`` of a connection just made. With a lost SYN the time is unknown, since
    neither TCP_INFO nor our own clock (which saw the retransmission's back-off) tells it; without TCP_INFO
    it is ``took_ms``."""
    try:
        info = kernel.tcp_info(sock)
    except OSError:
        return took_ms, None
    if info.retransmits:
        return None, info.retransmits
    rtt_ms = info.rtt_us / 1000 if info.rtt_us not in _NO_RTT_US else took_ms
    return rtt_ms, 0
