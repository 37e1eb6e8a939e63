"""Packets that no kernel would send: the far end as a program, behind a TUN device, with a behaviour for
every address. ``crafted.py`` answers whoever probes ``10.66.N.1`` or ``fd66::N`` as behaviour N does.

Each behaviour gives, for one packet that came, whole packets to send back."""

import fcntl
import os
import secrets
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from probemesh_agent.wire.icmp import fold, word_sum

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
DEVICE = "hostile0"
MANY = 200


@dataclass(frozen=True, slots=True)
class Packet:
    """``data`` is all of it; ``body`` what stands behind the IP header."""

    six: bool
    source: bytes
    target: bytes
    protocol: int
    body: bytes
    data: bytes


def read(data: bytes) -> Packet | None:
    if data[0] >> 4 == 4:
        size = (data[0] & 15) * 4
        return Packet(False, data[12:16], data[16:20], data[9], data[size:], data)
    if data[0] >> 4 == 6:
        return Packet(True, data[8:24], data[24:40], data[6], data[40:], data)
    return None


def ip(
    six: bool, source: bytes, target: bytes, protocol: int, body: bytes, options: bytes = b"", cut: int = 0
) -> bytes:
    """``cut``: the length in the header says so many bytes less."""
    if six:
        return struct.pack("!IHBB", 6 << 28, len(body) - cut, protocol, 64) + source + target + body
    size = 20 + len(options)
    head = struct.pack("!BBHHHBBH", 0x40 | size // 4, 0, size + len(body) - cut, 0, 0, 64, protocol, 0)
    head += source + target + options
    return head[:10] + struct.pack("!H", fold(word_sum(head))) + head[12:] + body


def summed(packet: Packet, protocol: int, body: bytes, at: int, source: bytes | None = None) -> bytes:
    """``body`` with its checksum at ``at``, as it goes back."""
    total = word_sum(body[:at] + b"\0\0" + body[at + 2 :])
    if packet.six or protocol != ICMP:
        total += word_sum((source or packet.target) + packet.source) + len(body) + protocol
    return body[:at] + struct.pack("!H", fold(total)) + body[at + 2 :]


def back(
    packet: Packet, protocol: int, body: bytes, at: int, source: bytes | None = None, **more: object
) -> bytes:
    """From who was asked, or ``source``."""
    made = summed(packet, protocol, body, at, source)
    return ip(packet.six, source or packet.target, packet.source, protocol, made, **more)  # type: ignore[arg-type]


def icmp_back(
    packet: Packet, kind: int, code: int, rest: bytes, source: bytes | None = None, **more: object
) -> bytes:
    """``rest``: all behind the checksum."""
    protocol = ICMP6 if packet.six else ICMP
    return back(packet, protocol, struct.pack("!BBH", kind, code, 0) + rest, 2, source, **more)


def is_echo(packet: Packet) -> bool:
    return packet.protocol == (ICMP6 if packet.six else ICMP) and packet.body[:1] in (b"\x08", b"\x80")


def reply(packet: Packet, rest: bytes | None = None, source: bytes | None = None, **more: object) -> bytes:
    """The echo reply, or with other bytes behind its checksum."""
    kind = 129 if packet.six else 0
    return icmp_back(packet, kind, 0, packet.body[4:] if rest is None else rest, source, **more)


def other(packet: Packet, number: int) -> bytes:
    """An address of nobody."""
    return ip_address(f"fd66:1::{number:x}" if packet.six else f"10.66.200.{number % 250 + 1}").packed


def unreachable(packet: Packet, quote: bytes, code: int | None = None, source: bytes | None = None) -> bytes:
    kind, usual = (1, 4) if packet.six else (3, 3)
    return icmp_back(packet, kind, usual if code is None else code, bytes(4) + quote, source)


def exceeded(packet: Packet, quote: bytes, source: bytes, head: bytes = bytes(4)) -> bytes:
    return icmp_back(packet, 3 if packet.six else 11, 0, head + quote, source)


def too_big(packet: Packet, mtu: int, source: bytes | None = None) -> bytes:
    quote = packet.data[:500]
    if packet.six:
        return icmp_back(packet, 2, 0, struct.pack("!I", mtu) + quote, source)
    return icmp_back(packet, 3, 4, struct.pack("!HH", 0, mtu & 0xFFFF) + quote, source)


def tcp_back(
    packet: Packet, flags: int, ack: int, *, options: bytes = b"", window: int = 0, data: bytes = b""
) -> bytes:
    source, target = struct.unpack_from("!HH", packet.body)
    size = 20 + len(options)
    head = struct.pack("!HHIIBBHHH", target, source, 7, ack & 0xFFFFFFFF, size // 4 << 4, flags, window, 0, 0)
    return back(packet, TCP, head + options + data, 16)


def udp_back(packet: Packet, data: bytes, *, size: int | None = None) -> bytes:
    source, target = struct.unpack_from("!HH", packet.body)
    length = 8 + len(data) if size is None else size
    return back(packet, UDP, struct.pack("!HHHH", target, source, length, 0) + data, 6)


Answers = Iterator[bytes]
Behaviour = Callable[[Packet], Answers]


def replies_often(packet: Packet) -> Answers:
    for _ in range(MANY):
        yield reply(packet)


def strangers_reply(packet: Packet) -> Answers:
    for number in range(MANY):
        yield reply(packet, source=other(packet, number))


def wrong_replies(packet: Packet) -> Answers:
    """Another id, another number, another nonce, cut, empty, far too long; then the good one."""
    rest = packet.body[4:]
    for number in range(8):
        spoiled = bytearray(rest)
        if number < len(spoiled):
            spoiled[number] ^= 0xFF
        yield reply(packet, bytes(spoiled))
    for size in (0, 1, 3, 4, 8, 12, 20):
        yield reply(packet, rest[:size])
    yield reply(packet, rest + secrets.token_bytes(1000))
    yield reply(packet)


def lying_lengths(packet: Packet) -> Answers:
    """IP options to the brim; a header that says less, or more, than came."""
    if not packet.six:
        yield reply(packet, options=b"\x07\x27\x04" + bytes(37))
        yield reply(packet, options=b"\x44\x28" + b"\xff" * 38)
        yield reply(packet, options=b"\x01" * 40)
    for cut in (4, 8, -8):
        yield reply(packet, cut=cut)


def cut_quotes(packet: Packet) -> Answers:
    for size in (*range(0, 61, 3), 100):
        yield unreachable(packet, packet.data[:size])
        yield exceeded(packet, packet.data[:size], other(packet, size))


def false_quotes(packet: Packet) -> Answers:
    """Quotations with another protocol, with options where there were none, of nonsense."""
    data = packet.data
    at = 6 if packet.six else 9
    for protocol in (0, 1, 6, 17, 41, 58, 255):
        yield unreachable(packet, data[:at] + bytes((protocol,)) + data[at + 1 : 600])
    yield unreachable(packet, b"\x4f" + data[1:600])
    yield unreachable(packet, b"\x60" + data[1:600])
    yield unreachable(packet, b"\xff" * 600)
    yield exceeded(packet, b"\x45" + bytes(599), other(packet, 1))


def every_type(packet: Packet) -> Answers:
    for kind in range(256):
        for code in (0, 1, 13, 255):
            yield icmp_back(packet, kind, code, bytes(4) + packet.data[:60], other(packet, 1))


def extensions(packet: Packet) -> Answers:
    """RFC 4884: lengths that lie, objects without end."""
    quote = (packet.data + bytes(128))[:128]
    labels = struct.pack("!HBB", 4 + 4 * 300, 1, 1) + b"\xff" * 1200
    for objects in (b"", b"\xff\xff\1\1", b"\0\0\1\1" * 250, labels, struct.pack("!HBB", 4, 2, 15) * 250):
        body = b"\x20\0\0\0" + objects
        body = body[:2] + struct.pack("!H", fold(word_sum(body))) + body[4:]
        for size in (0, 1, 32, 255):
            head = bytes((size, 0, 0, 0)) if packet.six else bytes((0, size, 0, 0))
            yield exceeded(packet, quote + body, other(packet, 2), head)


def many_routers(packet: Packet) -> Answers:
    for number in range(MANY):
        yield exceeded(packet, packet.data[:500], other(packet, number))


def odd_sizes(packet: Packet) -> Answers:
    for mtu in (0, 1, 27, 28, 47, 48, 67, 68, 575, 576, 1279, 1280, 65_535, 0xFFFF_FFFF):
        yield too_big(packet, mtu, other(packet, 3))
        yield too_big(packet, mtu)


def always_smaller(packet: Packet) -> Answers:
    """Whatever came was one byte too long."""
    yield too_big(packet, len(packet.data) - 1, other(packet, 3))


def every_refusal(packet: Packet) -> Answers:
    for code in range(20):
        yield unreachable(packet, packet.data[:500], code, other(packet, code))
        yield unreachable(packet, packet.data[:500], code)


def redirects(packet: Packet) -> Answers:
    """ICMP redirects: the host is to send what goes there to somebody else."""
    if not packet.six:
        for code in range(4):
            for _ in range(50):
                yield icmp_back(packet, 5, code, other(packet, 9) + packet.data[:60], other(packet, 1))
    yield reply(packet)


def odd_handshakes(packet: Packet) -> Answers:
    """For a SYN: acknowledgements of what was never sent, options that lie; then a handshake, and a closed
    window, urgent data, a flood of what no window is open for. For a reset nothing: each answer would be
    reset again, without end. For anything else: its own bytes."""
    if packet.protocol != TCP:
        yield ip(packet.six, packet.target, packet.source, packet.protocol, packet.body)
        return
    sequence, flags = struct.unpack_from("!I", packet.body, 4)[0], packet.body[13]
    if flags & 4:
        return
    if flags & 2:
        for off in (0, 2, 1000, -1):
            yield tcp_back(packet, 0x12, sequence + off)
        yield tcp_back(packet, 0x04, 0)
        for options in (b"\2\0\0\0", b"\2\xff\0\0", b"\2\4\0\0", b"\3\3\xff\0", b"\x05\x28" + b"\xff" * 38):
            yield tcp_back(packet, 0x12, sequence + 1, options=options, window=0)
    for _ in range(20):
        yield tcp_back(packet, 0x38, sequence + 1, window=0, data=secrets.token_bytes(500))


def resets(packet: Packet) -> Answers:
    if packet.protocol == TCP:
        sequence = struct.unpack_from("!I", packet.body, 4)[0]
        for off in (0, 5, -1, 1):
            yield tcp_back(packet, 0x14, sequence + off)


def odd_datagrams(packet: Packet) -> Answers:
    """Lengths that lie; much; the very packet."""
    if packet.protocol == UDP:
        for size in (0, 7, 8, 9, 65_535):
            yield udp_back(packet, packet.body[8:], size=size)
        for _ in range(MANY):
            yield udp_back(packet, secrets.token_bytes(1000))
    yield ip(packet.six, packet.target, packet.source, packet.protocol, packet.body)


def noise(packet: Packet) -> Answers:
    for size in range(0, 1400, 20):
        yield ip(packet.six, packet.target, packet.source, packet.protocol, secrets.token_bytes(size))


def fragments(packet: Packet) -> Answers:
    """Of an answer that never becomes whole, and that overlap."""
    if packet.six:
        return
    for number in range(MANY):
        body = secrets.token_bytes(800)
        head = struct.pack(
            "!BBHHHBBH", 0x45, 0, 820, number // 50, 0x2000 | number % 50 * 99, 64, packet.protocol, 0
        )
        head += packet.target + packet.source
        yield head[:10] + struct.pack("!H", fold(word_sum(head))) + head[12:] + body


BEHAVIOURS: tuple[Behaviour, ...] = (
    replies_often,
    strangers_reply,
    wrong_replies,
    lying_lengths,
    cut_quotes,
    false_quotes,
    every_type,
    extensions,
    many_routers,
    odd_sizes,
    always_smaller,
    every_refusal,
    redirects,
    odd_handshakes,
    resets,
    odd_datagrams,
    noise,
    fragments,
)
#: Those that answer pings alone, and leave the rest without one.
FOR_ECHOES = frozenset({replies_often, strangers_reply, wrong_replies, lying_lengths})


def behaviour_of(packet: Packet) -> Behaviour | None:
    number = int.from_bytes(packet.target[-2:], "big") if packet.six else packet.target[2]
    if not number < len(BEHAVIOURS):
        return None
    chosen = BEHAVIOURS[number]
    return None if chosen in FOR_ECHOES and not is_echo(packet) else chosen


def main() -> None:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", DEVICE.encode(), 0x1001))  # TUNSETIFF: TUN, no head
    print("ready", flush=True)
    while True:
        packet = read(os.read(tun, 65_536))
        chosen = behaviour_of(packet) if packet is not None else None
        if packet is None or chosen is None:
            continue
        for data in chosen(packet):
            try:
                os.write(tun, data)
            except OSError:  # a header that the kernel does not take from a device either
                continue


if __name__ == "__main__":
    main()
