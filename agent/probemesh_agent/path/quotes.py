"""What a router quotes of our packet, beside what was sent. Pure; a quotation is a stranger's bytes, of any
length.

To a socket without privilege the kernel hands the quotation from the transport header on: for TCP ports,
checksum and options (an MSS that was clamped before that hop), for echo requests identifier and checksum,
for UDP the payload alone. A box that mends its quotations (Linux NAT does) leaves nothing to be seen.
"""

import struct
from dataclasses import dataclass
from ipaddress import ip_address

_PORTS = struct.Struct("!HHI")
_TCP = struct.Struct("!HHIIHHHH")  # ports, seq, ack, offset and flags, window, checksum, urgent
_ECHO = struct.Struct("!BBHHH")
_PROTOCOL_TCP = 6
#: Options of our own kernel's SYN that middle boxes take out.
_END, _NOP, _MSS, _SACK, _STAMPS = 0, 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class Syn:
    """What we sent. ``mss`` None: not known."""

    source: str
    source_port: int
    target: str
    port: int
    mss: int | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """``port`` is the quoted source port; ``changed`` as in :class:`probemesh_shared.model.HopAnswer`."""

    port: int | None = None
    mss: int | None = None
    changed: tuple[str, ...] = ()


def tcp_quote(data: bytes, sent: Syn) -> Quote:
    """Eight bytes at least (ports and sequence number), a whole header where the router is generous."""
    if len(data) < _PORTS.size:
        return Quote()
    port, target_port, _ = _PORTS.unpack_from(data)
    changed = []
    if port != sent.source_port:
        changed.append("source-port")
    if target_port != sent.port:
        changed.append("port")
    length = (data[12] >> 4) * 4 if len(data) > 12 else 0
    if length < _TCP.size or len(data) < length:
        return Quote(port, None, tuple(changed))
    header = data[:length]
    if not _holds(header, sent):
        changed.append("checksum")
    options = _options(header[_TCP.size :])
    mss = options.get(_MSS)
    if sent.mss is not None and mss != sent.mss:
        changed.append("mss")
    return Quote(port, mss, tuple(changed))


def echo_quote(data: bytes, identifier: int, checksum: int | None) -> Quote:
    """``checksum`` None: not known (it is the kernel's to make)."""
    if len(data) < _ECHO.size:
        return Quote()
    _, _, theirs, quoted, _ = _ECHO.unpack_from(data)
    changed = []
    if quoted != identifier:
        changed.append("identifier")
    if checksum is not None and theirs != checksum:
        changed.append("checksum")
    return Quote(None, None, tuple(changed))


def _holds(header: bytes, sent: Syn) -> bool:
    """The checksum fits the header between the two addresses that we know. A packet that never met real
    hardware carries the sum of the pseudo header only, which the last device would have completed."""
    source, target = ip_address(sent.source.partition("%")[0]), ip_address(sent.target.partition("%")[0])
    pseudo = source.packed + target.packed + struct.pack("!II", len(header), _PROTOCOL_TCP)
    told = struct.unpack_from("!H", header, 16)[0]
    return _sum(pseudo + header) == 0xFFFF or told == _sum(pseudo)


def _sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _options(data: bytes) -> dict[int, int]:
    """Option kind → its value as a number (0 for those without); ends at the first that is broken."""
    found: dict[int, int] = {}
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _NOP:
            at += 1
            continue
        if at + 1 >= len(data) or not 2 <= data[at + 1] <= len(data) - at:
            break
        end = at + data[at + 1]
        found[data[at]] = int.from_bytes(data[at + 2 : end], "big")
        at = end
    return found


# --- whole packets, for whom the kernel shows them (CAP_NET_RAW) -----------------------------------------

_IPV4, _IPV6 = 20, 40
_ERRORS_V4, _ERRORS_V6 = frozenset({3, 11, 12}), frozenset({1, 2, 3, 4})


@dataclass(frozen=True, slots=True)
class WholeQuote:
    """An ICMP error with the packet that it quotes, IP header and all. ``tail`` is what follows that header,
    at least eight bytes."""

    type: int
    code: int
    info: int  # the MTU of "fragmentation needed" and "packet too big", else 0
    source: str
    target: str
    protocol: int
    tail: bytes


def whole_quote(packet: bytes, ipv6: bool) -> WholeQuote | None:
    """``packet`` begins with the ICMP header; None for anything that is no error, or too short."""
    if len(packet) < 8:
        return None
    kind, code, info = packet[0], packet[1], int.from_bytes(packet[4:8], "big")
    inner = packet[8:]
    if ipv6:
        if kind not in _ERRORS_V6 or len(inner) < _IPV6 + 8 or inner[0] >> 4 != 6:
            return None
        source, target, protocol, length = inner[8:24], inner[24:40], inner[6], _IPV6
    else:
        length = (inner[0] & 0x0F) * 4 if inner else 0
        if kind not in _ERRORS_V4 or length < _IPV4 or len(inner) < length + 8 or inner[0] >> 4 != 4:
            return None
        source, target, protocol = inner[12:16], inner[16:20], inner[9]
        info &= 0xFFFF
    names_mtu = kind == 2 if ipv6 else (kind, code) == (3, 4)
    told = info if names_mtu else 0
    return WholeQuote(
        kind, code, told, str(ip_address(source)), str(ip_address(target)), protocol, inner[length:]
    )
