"""The kernel's signals that diagnosis can read on this host, by name: found at start and told in hello.

Words: ``counter:Ip.OutTransmits`` (this kernel counts that), ``sock-diag`` (sockets by netlink; else by
/proc), ``saved-syn``, ``packets`` (CAP_NET_RAW: the wire itself), ``tx-timestamps`` (when a datagram
left). What is missing is "not checked".

``PROBEMESH_MASK_SIGNALS`` names signals, with commas between, that are to be taken for missing: so the tests
see an older kernel than they run on.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from probemesh_agent import kernel

MASK: Final = "PROBEMESH_MASK_SIGNALS"
SOCK_DIAG: Final = "sock-diag"
SAVED_SYN: Final = "saved-syn"
PACKETS: Final = "packets"
TX_TIMESTAMPS: Final = "tx-timestamps"

#: Files of pairs of lines (names, values), and the one with a name and a value a line.
PAIRED: Final = ("/proc/net/snmp", "/proc/net/netstat")
LISTED: Final = "/proc/net/snmp6"

_OF_IP = """InReceives InHdrErrors InAddrErrors InUnknownProtos InDiscards InDelivers OutRequests OutDiscards
    OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates OutTransmits"""
_WANTED: Final = {
    "Ip": _OF_IP + " ForwDatagrams",
    "IpExt": "InNoRoutes InTruncatedPkts InCsumErrors",
    "Icmp": """InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InRedirects InEchos
        InEchoReps OutMsgs OutDestUnreachs OutTimeExcds OutEchos OutEchoReps OutRateLimitGlobal
        OutRateLimitHost""",
    "Tcp": """ActiveOpens PassiveOpens AttemptFails EstabResets InSegs OutSegs RetransSegs InErrs OutRsts
        InCsumErrors""",
    "Udp": "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors MemErrors",
    "TcpExt": """IPReversePathFilter EmbryonicRsts ListenOverflows ListenDrops TCPSynRetrans TCPTimeouts
        TCPRetransFail TCPReqQFullDrop TCPReqQFullDoCookies SyncookiesSent SyncookiesRecv SyncookiesFailed
        TCPAbortOnData TCPAbortOnClose TCPAbortOnTimeout TCPBacklogDrop TCPRcvQDrop PAWSActive PAWSEstab
        TCPChallengeACK TCPACKSkippedSynRecv TCPLostRetransmit TCPMinTTLDrop""",
    "Ip6": _OF_IP + " InTooBigErrors InNoRoutes InTruncatedPkts OutForwDatagrams",
    "Icmp6": """InMsgs InErrors InCsumErrors InDestUnreachs InPktTooBigs InTimeExcds InParmProblems InEchos
        InEchoReplies OutMsgs OutDestUnreachs OutPktTooBigs OutTimeExcds OutEchos OutEchoReplies
        OutRateLimitHost""",
    "Udp6": "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors MemErrors",
}
#: Group → names, as diagnosis spells them with a dot between.
WANTED: Final = {group: tuple(names.split()) for group, names in _WANTED.items()}


def masked() -> frozenset[str]:
    """Signals that the environment wants taken for missing."""
    return frozenset(os.environ.get(MASK, "").replace(" ", "").split(",")) - {""}


def present() -> Iterator[str]:
    """Every signal of this host that is not masked. Opens and closes a few sockets, sends nothing."""
    hidden = masked()
    found = [f"counter:{name}" for name in counters(_texts())]
    found += [word for word, there in _SOCKETS if there()]
    yield from (word for word in found if word not in hidden)


def counters(texts: Iterable[str]) -> list[str]:
    """Which of :data:`WANTED` the files with these contents hold."""
    held: set[str] = set()
    for text in texts:
        for line in text.splitlines():
            words = line.split()
            if len(words) < 2:
                continue
            if words[0].endswith(":"):
                held |= {f"{words[0][:-1]}.{word}" for word in words[1:]}
            else:
                group, _, name = words[0].partition("6")
                held.add(f"{group}6.{name}")
    return [name for group, names in WANTED.items() for one in names if (name := f"{group}.{one}") in held]


def _texts() -> Iterator[str]:
    for name in (*PAIRED, LISTED):
        try:
            yield Path(name).read_text()
        except OSError:
            continue


def _has_sock_diag() -> bool:
    return _can(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, kernel.NETLINK_SOCK_DIAG))


def _has_packets() -> bool:
    return _can(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0))


def _has_saved_syn() -> bool:
    def asked() -> socket.socket:
        sock = socket.socket()
        try:
            sock.setsockopt(socket.IPPROTO_TCP, kernel.TCP_SAVE_SYN, 1)
        except OSError:
            sock.close()
            raise
        return sock

    return _can(asked)


def _has_tx_timestamps() -> bool:
    def asked() -> socket.socket:
        sock = socket.socket(type=socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, kernel.SO_TIMESTAMPING, kernel.TX_STAMPS)
        except OSError:
            sock.close()
            raise
        return sock

    return _can(asked)


def _can(make: Callable[[], socket.socket]) -> bool:
    try:
        make().close()
    except OSError:
        return False
    return True


_SOCKETS: Final = (
    (SOCK_DIAG, _has_sock_diag),
    (SAVED_SYN, _has_saved_syn),
    (PACKETS, _has_packets),
    (TX_TIMESTAMPS, _has_tx_timestamps),
)
