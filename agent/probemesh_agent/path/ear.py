"""ICMP errors with the whole packet that they quote, where CAP_NET_RAW lets us hear them: the addresses that
a NAT put in, and answers that the kernel hands to no socket because they quote a packet that was never sent
by one."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

from probemesh_shared.model import IcmpError
from probemesh_shared.words import Family, Transport

from probemesh_agent import kernel
from probemesh_agent.path.lane import Lane, unwatch, watch
from probemesh_agent.path.quotes import WholeQuote, whole_quote
from probemesh_agent.wire import icmp

#: How long what was heard waits for the error queue of the lane's own socket, which is told first.
_AFTER_S = 0.03
_PROTOCOLS = {
    (Transport.TCP, False): 6,
    (Transport.TCP, True): 6,
    (Transport.UDP, False): 17,
    (Transport.UDP, True): 17,
    (Transport.ICMP, False): 1,
    (Transport.ICMP, True): 58,
}

#: The packet's number, the quotation, the error with its sender, and the arrival by the kernel's stamp.
Hear = Callable[[int, WholeQuote, IcmpError, int | None], None]


class Ear:
    """Listens beside a lane until it is closed."""

    def __init__(self, sock: socket.socket, lane: Lane, transport: Transport, hear: Hear) -> None:
        self._sock, self._lane, self._hear = sock, lane, hear
        self._transport = transport
        self._protocol = _PROTOCOLS[transport, lane.ipv6]
        self._later: dict[asyncio.TimerHandle, Callable[[], None]] = {}
        watch(sock, self._look)

    def close(self) -> None:
        for handle in self._later:
            handle.cancel()
        unwatch(self._sock)
        self._sock.close()

    def flush(self) -> None:
        """What came is told now: nobody waits for the lane's own socket any more."""
        self._look()
        waiting, self._later = self._later, {}
        for handle, tell in waiting.items():
            handle.cancel()
            tell()

    def _look(self) -> None:
        for _ in range(64):
            try:
                packet, ancillary, _, where = self._sock.recvmsg(2048, 512)
            except OSError:
                return
            ttl: int | None = None
            if not self._lane.ipv6:
                stripped = icmp.strip_ipv4_header(packet)
                if stripped is None:
                    continue
                packet, ttl = stripped
            quote = whole_quote(packet, self._lane.ipv6)
            number = None if quote is None else self._number(quote)
            if quote is not None and number is not None:
                self._soon(number, quote, str(where[0]).partition("%")[0], ttl, ancillary)

    def _soon(
        self, number: int, quote: WholeQuote, sender: str, header_ttl: int | None, ancillary: kernel.Ancillary
    ) -> None:
        stamp, ttl = kernel.arrival(ancillary)
        family = Family.IPV6 if self._lane.ipv6 else Family.IPV4
        ttl = header_ttl if ttl is None else ttl
        error = IcmpError(family, quote.type, quote.code, sender, ttl, quote.info or None)

        def tell() -> None:
            self._later.pop(handle, None)
            self._hear(number, quote, error, stamp)

        handle = asyncio.get_running_loop().call_later(_AFTER_S, tell)
        self._later[handle] = tell

    def _number(self, quote: WholeQuote) -> int | None:
        """By our ports, whatever became of the addresses; of pings by the sequence number."""
        if quote.protocol != self._protocol or not self._lane.sent:
            return None
        if self._transport is Transport.ICMP:
            number = int(struct.unpack_from("!H", quote.tail, 6)[0])
            return number if number in self._lane.sent and self._lane.is_target(quote.target) else None
        source, target = struct.unpack_from("!HH", quote.tail)
        if target != self._lane.port or source != self._lane.local_port:
            return None
        return max(self._lane.sent)


def listen(lane: Lane, transport: Transport, hear: Hear) -> Ear | None:
    """None where this process may not."""
    family, protocol = (
        (socket.AF_INET6, socket.IPPROTO_ICMPV6) if lane.ipv6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    )
    try:
        sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        sock.setsockopt(
            socket.SOL_SOCKET, kernel.SO_TIMESTAMPING, kernel.RX_SOFTWARE | kernel.REPORT_SOFTWARE
        )
        if lane.ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, kernel.IPV6_RECVHOPLIMIT, 1)
    return Ear(sock, lane, transport, hear)
