"""ICMP shots: echo requests from a ping socket, or a raw one where that is allowed and the other is not."""

import os
import struct
from dataclasses import replace

from probemesh_shared.model import Options, Reply
from probemesh_shared.words import Family

from probemesh_agent import kernel
from probemesh_agent.engine.echo import RAW_SOCKET, open_echo
from probemesh_agent.engine.icmp import DEFAULT_SIZE
from probemesh_agent.engine.schedule import Shortage
from probemesh_agent.engine.sockets import CannotOpen
from probemesh_agent.flow.line import Arrived, Line
from probemesh_agent.flow.opening import NotOpened
from probemesh_agent.flow.record import Record
from probemesh_agent.wire import icmp

_HEADER = struct.Struct("!BBHHH")
_NONCE_SIZE = 16


class EchoLine(Line):
    """See :class:`Line`. The payload begins with the flow's token, or with a nonce of this line's own. Only
    the target's own answer counts; who answers in its place is told. Raises :class:`NotOpened`."""

    def __init__(self, options: Options, family: Family, own: frozenset[str], token: bytes | None) -> None:
        try:
            sock, method = open_echo(family, replace(options, dont_fragment=False, ttl=None))
        except (CannotOpen, Shortage) as error:
            raise NotOpened(error.failure) from None
        is_raw = method == RAW_SOCKET
        self._nonce = token or os.urandom(_NONCE_SIZE)
        self._identifier = int.from_bytes(os.urandom(2), "big") if is_raw else sock.getsockname()[1]
        self._has_header = is_raw and family is not Family.IPV6
        self._by_sequence: dict[int, tuple[Record, bytes]] = {}  # and how its payload begins
        super().__init__(sock, family, own)

    @property
    def identifier(self) -> int:
        return self._identifier

    def packet(self, record: Record, size: int | None) -> bytes:
        body = icmp.payload(self._nonce, DEFAULT_SIZE if size is None else size)
        sequence = record.index & 0xFFFF
        self._by_sequence[sequence] = record, body[: len(self._nonce)]
        return icmp.request(self.family is Family.IPV6, self._identifier, sequence, body)

    def arrived(self, came: Arrived) -> None:
        packet, ttl = came.data, came.ttl
        if self._has_header:
            stripped = icmp.strip_ipv4_header(packet)
            if stripped is None:
                return
            packet, ttl = stripped
        echo = icmp.read_echo(packet, self.family is Family.IPV6)
        if echo is None or echo.identifier != self._identifier:
            return
        record, begins = self._by_sequence.get(echo.sequence, (None, b""))
        if record is None or not echo.payload.startswith(begins):
            return
        came = replace(came, data=echo.payload, port=0, ttl=ttl)
        counts = came.source == record.host.partition("%")[0]
        self.replied(record, came, Reply(valid=True), counts=counts)

    def quoted(self, entry: kernel.QueueEntry) -> Record | None:
        """By identifier and sequence number in what the error quotes: a raw socket hears of others too."""
        if len(entry.payload) < icmp.HEADER_SIZE:
            return None
        _, _, _, identifier, sequence = _HEADER.unpack_from(entry.payload)
        if identifier != self._identifier:
            return None
        return self._by_sequence.get(sequence, (None, b""))[0]
