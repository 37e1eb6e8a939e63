"""Which datagram goes to which port: one's own, a ready-made one, or an empty one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from probemesh_shared.escape import escape
from probemesh_shared.expectations import bytes_expected
from probemesh_shared.model import UdpSpec
from probemesh_shared.words import UdpRequest

from probemesh_agent.porttable import udp_request_of
from probemesh_agent.wire.requests import Asking, Reading, Request, dns, invalid, ntp, stun
from probemesh_agent.wire.sipquic import quic, sip
from probemesh_agent.wire.snmp import snmp, snmp3

MAKERS: Mapping[UdpRequest, Callable[[Asking], Request]] = MappingProxyType(
    {
        UdpRequest.DNS: dns,
        UdpRequest.NTP: ntp,
        UdpRequest.STUN: stun,
        UdpRequest.SNMP: snmp,
        UdpRequest.SNMP3: snmp3,
        UdpRequest.SIP: sip,
        UdpRequest.QUIC: quic,
    }
)


class Questions:
    """What one run sends; see :class:`probemesh_agent.engine.udp.Questions`."""

    def __init__(self, spec: UdpSpec) -> None:
        self._request = spec.request
        self._payload = spec.payload
        if spec.payload is None and spec.options.size is not None:
            self._payload = bytes(spec.options.size)
        self._needles = bytes_expected(spec.options.expect)
        self._own = Request(self._payload or b"", self._any_answer)

    def protocol(self, port: int) -> UdpRequest | None:
        """The ready-made request for ``port``; None where the datagram is one's own or empty."""
        if self._payload is not None:
            return None
        request = self._request if self._request is not None else udp_request_of(port)
        return request if request is not UdpRequest.NONE else None

    def own(self) -> Request:
        return self._own

    def made(self, request: UdpRequest, asking: Asking) -> Request:
        """With an id of its own; what was expected has to be in the answer besides."""
        made = MAKERS[request](asking)
        return Request(made.payload, lambda answer, at: self._expected(made.read(answer, at), answer))

    def _any_answer(self, answer: bytes, at: int) -> Reading | None:
        return self._expected(Reading(""), answer)

    def _expected(self, reading: Reading | None, answer: bytes) -> Reading | None:
        if reading is None or not reading.is_valid:
            return reading
        lacking = [needle.text for needle in self._needles if needle.data not in answer]
        if lacking:
            return invalid(f"an answer of {len(answer)} bytes, expected {escape(lacking[0], 80)} in it")
        return reading
