"""Linux socket options and structures that Python 3.11 does not name: every such number lives here.

From ``include/uapi/linux/{in,in6,icmp,icmpv6,errqueue,net_tstamp,tcp}.h``. All structures are in host byte
order; the layouts are those of 64-bit Linux, checked by the tests against a live kernel."""

import socket
import struct
from dataclasses import dataclass
from typing import Final

# setsockopt level IPPROTO_IP
IP_TOS: Final = 1
IP_TTL: Final = 2
IP_MTU_DISCOVER: Final = 10
IP_RECVERR: Final = 11
IP_RECVTTL: Final = 12
IP_MTU: Final = 14
IP_BIND_ADDRESS_NO_PORT: Final = 24  # the port is chosen at connect: source ports last longer
# level IPPROTO_IPV6
IPV6_2292PKTOPTIONS: Final = 6  # of a connection: what came with its latest segment
IPV6_UNICAST_HOPS: Final = 16
IPV6_MTU_DISCOVER: Final = 23
IPV6_MTU: Final = 24  # of this socket's packets; larger ones are fragmented here
IPV6_RECVERR: Final = 25
IPV6_RECVHOPLIMIT: Final = 51
IPV6_HOPLIMIT: Final = 52
IPV6_DONTFRAG: Final = 62
IPV6_TCLASS: Final = 67
IPV6_AUTOFLOWLABEL: Final = 70  # 0: no label of its own for each socket, which routers would spread by
# values of both MTU_DISCOVER options
PMTUDISC_DONT: Final = 0  # DF clear
PMTUDISC_DO: Final = 2  # DF set; what is known of the path limits the size
PMTUDISC_PROBE: Final = 3  # DF set, the remembered path MTU ignored: the path itself is asked
# level SOL_SOCKET
SO_BINDTODEVICE: Final = 25
SO_RCVBUFFORCE: Final = 33
SO_TIMESTAMPING: Final = 37
SCM_TIMESTAMPING: Final = 37
TX_SOFTWARE: Final = 1 << 1
RX_SOFTWARE: Final = 1 << 3
REPORT_SOFTWARE: Final = 1 << 4
TX_SCHED: Final = 1 << 8
OPT_ID: Final = 1 << 7  # each transmit stamp carries the number of its send, from 0
OPT_TSONLY: Final = 1 << 11  # transmit stamps come without the packet
#: Both transmit stamps of each send, numbered, without the packet; and stamps of what arrives.
TX_STAMPS: Final = TX_SCHED | TX_SOFTWARE | RX_SOFTWARE | REPORT_SOFTWARE | OPT_ID | OPT_TSONLY
SIOCETHTOOL: Final = 0x8946
ETHTOOL_GET_TS_INFO: Final = 0x41
# ee_info of a transmit stamp: which one it is
STAMP_SENT: Final = 0  # handed to the driver
STAMP_SCHEDULED: Final = 1  # handed to the queueing discipline
# levels SOL_RAW and IPPROTO_ICMPV6
SOL_RAW: Final = 255
ICMP_FILTER: Final = 1
ICMPV6_FILTER: Final = 1
# the far end of a probe: where a packet came to, what a SYN was like, whose sockets there are
IP_PKTINFO: Final = 8
IP_PKTOPTIONS: Final = 9  # of an accepted connection: what came with the handshake's ACK
IP_RECVTOS: Final = 13
IPV6_RECVPKTINFO: Final = 49
IPV6_PKTINFO: Final = 50
IPV6_RECVTCLASS: Final = 66
TCP_SAVE_SYN: Final = 27
TCP_SAVED_SYN: Final = 28
NETLINK_SOCK_DIAG: Final = 4
SO_ATTACH_FILTER: Final = 26
SOL_PACKET: Final = 263
PACKET_STATISTICS: Final = 6
PACKET_OUTGOING: Final = 4  # sockaddr_ll.sll_pkttype
ETH_P_ALL: Final = 3
# sock_extended_err.ee_origin
ORIGIN_LOCAL: Final = 1
ORIGIN_ICMP: Final = 2
ORIGIN_ICMP6: Final = 3
ORIGIN_TIMESTAMPING: Final = 4
# tcp_info.tcpi_state
TCP_ESTABLISHED: Final = 1
TCP_SYN_SENT: Final = 2
TCP_SYN_RECV: Final = 3
TCP_TIME_WAIT: Final = 6
TCP_CLOSE: Final = 7
TCP_CLOSE_WAIT: Final = 8
TCP_LISTEN: Final = 10

#: A socket in one of these has completed its handshake (the peer may have closed since).
TCP_CONNECTED: Final = frozenset({TCP_ESTABLISHED, TCP_CLOSE_WAIT})

TCP_INFO_SIZE: Final = 104
# state at 0, snd_mss at 16, pmtu at 60, rtt (microseconds) at 68, total_retrans at 100
_ADVERTISED_MSS: Final = struct.Struct("=84xI")
_TCP_INFO = struct.Struct("=B15xI40xI4xI28xI")

_EXTENDED_ERR = struct.Struct("=IBBBxII")  # errno, origin, type, code, info, data
_TIMESPEC = struct.Struct("=qq")  # the first of the three of scm_timestamping: software
_INT = struct.Struct("=i")


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """The part of ``tcp_info`` that probes read. ``rtt_us`` reads 0 or 1,000 after a lost SYN."""

    state: int
    mss: int
    pmtu: int
    rtt_us: int
    retransmits: int


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One message of a socket's error queue.

    ``origin`` None: it carried no extended error. ``stamp_ns`` is a transmit time on the wall clock,
    ``number`` the send it belongs to (OPT_ID). ``payload`` is what the kernel kept of the packet that
    caused the error, from its transport header on for raw and ping sockets, ``destination`` and ``port``
    where that packet was going."""

    origin: int | None = None
    errno: int = 0
    type: int = 0
    code: int = 0
    info: int = 0
    number: int = 0
    offender: str | None = None
    ttl: int | None = None
    stamp_ns: int | None = None
    payload: bytes = b""
    destination: str | None = None
    port: int = 0

    @property
    def is_icmp(self) -> bool:
        return self.origin in (ORIGIN_ICMP, ORIGIN_ICMP6)


Ancillary = list[tuple[int, int, bytes]]


def unpack_tcp_info(raw: bytes) -> tuple[int, int, int, int, int]:
    """``(state, mss, pmtu, rtt_us, retransmits)``; raises :class:`struct.error` below 104 bytes."""
    return _TCP_INFO.unpack_from(raw)


def tcp_info(sock: "socket.SocketType") -> TcpInfo:
    """Raises :class:`OSError` as ``getsockopt``."""
    return TcpInfo(*unpack_tcp_info(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)))


def advertised_mss(sock: "socket.SocketType") -> int | None:
    """What our own SYN said, from ``tcpi_advmss``; None where the kernel does not tell."""
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
    return int(_ADVERTISED_MSS.unpack_from(raw)[0]) or None if len(raw) >= _ADVERTISED_MSS.size else None


def address_of(raw: bytes) -> str | None:
    """The literal in a ``sockaddr``; None for AF_UNSPEC and anything else."""
    if len(raw) < 8:
        return None
    family = int.from_bytes(raw[:2], "little" if struct.pack("=H", 1)[0] else "big")
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, raw[4:8])
    if family == socket.AF_INET6 and len(raw) >= 24:
        return socket.inet_ntop(socket.AF_INET6, raw[8:24])
    return None


def arrival(ancillary: Ancillary) -> tuple[int | None, int | None]:
    """``(stamp_ns, ttl)`` from the control messages of a received packet, each None where it is missing."""
    stamp = ttl = None
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SCM_TIMESTAMPING and len(data) >= 16:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            stamp = seconds * 1_000_000_000 + nanoseconds or None
        elif len(data) >= 4 and (level, kind) in (
            (socket.IPPROTO_IP, IP_TTL),
            (socket.IPPROTO_IPV6, IPV6_HOPLIMIT),
        ):
            ttl = _INT.unpack_from(data)[0]
    return stamp, ttl


def queue_entry(payload: bytes, ancillary: Ancillary, destination: str | None, port: int = 0) -> QueueEntry:
    """Reads the control messages of one ``recvmsg(MSG_ERRQUEUE)``; what is malformed is left out."""
    stamp, ttl = arrival(ancillary)
    for level, kind, data in ancillary:
        recverr = (level, kind) in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR))
        if recverr and len(data) >= _EXTENDED_ERR.size:
            number, origin, icmp_type, code, info, value = _EXTENDED_ERR.unpack_from(data)
            offender = address_of(data[_EXTENDED_ERR.size :]) if origin != ORIGIN_TIMESTAMPING else None
            return QueueEntry(
                origin,
                number,
                icmp_type,
                code,
                info,
                value,
                offender,
                ttl,
                stamp,
                payload,
                destination,
                port,
            )
    return QueueEntry(ttl=ttl, stamp_ns=stamp, payload=payload, destination=destination, port=port)


def drain_errors(sock: "socket.SocketType", limit: int = 32) -> list[QueueEntry]:
    """Empties the error queue, at most ``limit`` messages.

    Read ``SO_ERROR`` **before**: draining clears it. Never raises for an empty queue or a dead socket.
    """
    entries: list[QueueEntry] = []
    while len(entries) < limit:
        try:
            payload, ancillary, _, where = sock.recvmsg(256, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError:
            break
        address, port = where[:2] if isinstance(where, tuple) else (None, 0)
        entries.append(queue_entry(payload, ancillary, address, port))
    return entries
