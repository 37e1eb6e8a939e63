"""What a hostile host answers to one datagram, by name. ``None`` is a pause; what begins with ``elsewhere:``
comes from another port."""

import os
import struct
from collections.abc import Callable, Iterator

from tests.hostile_targets.behaviours import dns_reply, pointers, txt

NOISE = os.urandom(60_000)
#: An A record of the question's name, 192.0.2.66 and 192.0.2.1.
FORGED = b"\xc0\x0c" + struct.pack("!HHIH4s", 1, 1, 60, 4, bytes((192, 0, 2, 66)))
GOOD = b"\xc0\x0c" + struct.pack("!HHIH4s", 1, 1, 60, 4, bytes((192, 0, 2, 1)))

Answers = Callable[[bytes], Iterator[bytes | None]]


def flood(data: bytes) -> Answers:
    def answers(_: bytes) -> Iterator[bytes | None]:
        while True:
            yield data

    return answers


def echo(data: bytes) -> Iterator[bytes | None]:
    """What was sent comes back, again and again."""
    while True:
        yield data


def cut(data: bytes) -> Iterator[bytes | None]:
    """Every beginning of it, and every byte turned round."""
    while True:
        for size in range(len(data)):
            yield data[:size]
            yield data[:size] + bytes((data[size] ^ 0xFF,)) + data[size + 1 :]


def grown(data: bytes) -> Iterator[bytes | None]:
    while True:
        yield data[:12] + NOISE
        yield data + NOISE[:50_000]


def elsewhere(data: bytes) -> Iterator[bytes | None]:
    while True:
        yield b"elsewhere:" + dns_reply(data, GOOD, 1)


def of_other(data: bytes) -> bytes:
    """With an id that is not the question's."""
    return bytes((data[0] ^ 1,)) + data[1:]


def forged_first(data: bytes) -> Iterator[bytes | None]:
    """By another id, to another question, without the answer's bit, cut; then, late, the good one."""
    for _ in range(20):
        yield of_other(dns_reply(data, FORGED, 1))
        yield dns_reply(data[:12] + b"\1x" + data[12:], FORGED, 1)
        yield dns_reply(data, FORGED, 1, flags=0x0180)
        yield dns_reply(data, FORGED, 1)[:20]
        yield b"elsewhere:" + dns_reply(data, FORGED, 1)
    yield None
    yield dns_reply(data, GOOD, 1)


def dns_bomb(records: bytes, count: int) -> Answers:
    def answers(data: bytes) -> Iterator[bytes | None]:
        while True:
            yield dns_reply(data, records[:60_000], count)

    return answers


def truncated(data: bytes) -> Iterator[bytes | None]:
    while True:
        yield dns_reply(data, b"", 0, flags=0x8380)


def stun(data: bytes) -> Iterator[bytes | None]:
    """Success with our transaction, and attributes that lie about their lengths or are very many."""
    for attributes in (
        struct.pack("!HH", 0x20, 0xFFFF),
        struct.pack("!HHBBH", 0x20, 8, 0, 9, 0),
        struct.pack("!HH", 0x8022, 0) * 15_000,
        struct.pack("!HHHBB", 9, 4, 0, 4, 20) + b"\x1b" * 60_000,
        struct.pack("!HHBBH", 0x20, 8, 0, 1, 7) * 5_000,
    ):
        for size in (0, len(attributes) & 0xFFFC, 0xFFFC):
            yield struct.pack("!HH", 0x0101, size) + data[4:20] + attributes[:60_000]


def nested_ber(_: bytes) -> Iterator[bytes | None]:
    while True:
        yield b"\x30\x82\xea\x60" + b"\x30\x80" * 29_000
        yield b"\x30\x84\xff\xff\xff\xff" + b"\x02\x01\x01" * 1000
        yield b"\x30\x82\xea\x60\x02\x01\x01\x04\x06public\xa2\x82\xea\x00" + b"\x06\x01\x2b" * 15_000


def sip(data: bytes) -> Iterator[bytes | None]:
    """Our own headers, so that it is ours, and headers without end."""
    head = data.partition(b"\r\n")[2]
    while True:
        yield b"SIP/2.0 200 " + b"\x1b[2J" * 100 + b"\r\n" + head[:-4] + b"\r\nX: " + b"x" * 50_000
        yield b"SIP/2.0 200 OK\r\n" + head[:-4] + b"\r\nX: x" * 7_000


DATAGRAMS: dict[str, Answers] = {
    "nothing": flood(b""),
    "noise": flood(NOISE[:1200]),
    "large noise": flood(NOISE),
    "echo": echo,
    "cut": cut,
    "grown": grown,
    "elsewhere": elsewhere,
    "forged first": forged_first,
    "DNS text": dns_bomb(txt(59_000), 1),
    "DNS texts": dns_bomb(txt(512) * 110, 110),
    "DNS pointers": dns_bomb(pointers(700), 700),
    "DNS lies": dns_bomb(txt(256), 65_535),
    "DNS truncated": truncated,
    "STUN": stun,
    "BER": nested_ber,
    "SIP": sip,
}
