"""What a hostile server says on a connection, by name: what drips, what never ends, what is a bomb.

Each is a generator of bytes over the first bytes that came (``b""`` where the client waited for us). When it
ends, the connection stays open and silent.
"""

import gzip
import itertools
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

CHUNK = 1 << 16
NOISE = os.urandom(CHUNK)
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
#: 64 MiB of zeros, in 64 KiB.
BOMB = gzip.compress(bytes(64 << 20), 9)

Say = Callable[[bytes], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """``pause_s`` lies between two pieces; ``closes``: by FIN when all is said."""

    say: Say = field(repr=False)
    pause_s: float = 0.0
    closes: bool = False


def ever(*parts: bytes, first: bytes = b"") -> Behaviour:
    """``first`` once, then ``parts`` for ever, as fast as they are taken."""
    block = b"".join(parts)
    block *= max(1, CHUNK // len(block))

    def say(_: bytes) -> Iterator[bytes]:
        yield first
        while True:
            yield block

    return Behaviour(say)


def drip(first: bytes, more: bytes, at_once: int = 0) -> Behaviour:
    """``first`` but for its beginning, then ``more`` for ever: a byte every 20 ms."""

    def say(_: bytes) -> Iterator[bytes]:
        yield first[:at_once]
        for number in itertools.chain(first[at_once:], itertools.cycle(more)):
            yield bytes((number,))

    return Behaviour(say, pause_s=0.02)


def once(*parts: bytes, closes: bool = False) -> Behaviour:
    return Behaviour(lambda _: iter(parts), closes=closes)


# --- TLS in the clear ---------------------------------------------------------------------------------------


def record(body: bytes, kind: int = 22) -> bytes:
    return bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body


def message(kind: int, body: bytes, size: int | None = None) -> bytes:
    return bytes((kind,)) + (len(body) if size is None else size).to_bytes(3, "big") + body


HELLO = message(2, b"\x03\x03" + bytes(32) + b"\x00\xc0\x2f\x00")


def long_chain(_: bytes) -> Iterator[bytes]:
    """A chain of 16 MiB, the most that its length can say."""
    one = (60_000).to_bytes(3, "big") + b"\x30" * 60_000
    yield record(HELLO) + record(message(11, (279 * len(one)).to_bytes(3, "big"), 279 * len(one) + 3))
    for _number in range(279):
        for at in range(0, len(one), 16_384):
            yield record(one[at : at + 16_384])


# --- HTTP/2 -------------------------------------------------------------------------------------------------


def frame(kind: int, payload: bytes = b"", stream: int = 1, flags: int = 0) -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


SETTINGS = frame(4, stream=0)
OK_200 = b"\x88"
#: One field of 4,000 bytes put into HPACK's table, and then named again and again by one byte each.
HPACK_BOMB = OK_200 + b"\x40\x01x" + b"\x7f\xa1\x1e" + b"y" * 4000 + b"\xbe" * 12_000


def two(*frames: bytes, first: bytes = b"") -> Behaviour:
    return ever(*frames, first=SETTINGS + first)


# --- DNS over a stream ------------------------------------------------------------------------------------


def dns_reply(query: bytes, records: bytes, count: int, flags: int = 0x8180) -> bytes:
    """An answer to ``query`` (without its length), records as they are given."""
    end = 12
    while end < len(query) and query[end]:
        end += 1 + query[end]
    question = query[12 : end + 5]
    return query[:2] + struct.pack("!HHHHH", flags, 1, count & 0xFFFF, 0, 0) + question + records


def by_length(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def txt(size: int) -> bytes:
    """One TXT record of a single name, of ``size`` bytes of control characters."""
    strings = b"".join(b"\xff" + b"\x1b" * 255 for _ in range(size // 256))
    return b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 0, len(strings)) + strings


def pointers(count: int) -> bytes:
    """CNAMEs each of whose names points into the one before: a chain as long as the message allows."""
    out, at = b"", 12
    for number in range(count):
        rdata = b"\x3f" + b"a" * 63 + struct.pack("!H", 0xC000 | (at & 0x3FFF))
        out += b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 0, len(rdata)) + rdata
        at = 12 + 17 + 12 + number * (12 + len(rdata))
    return out


def dns_bomb(records: bytes, count: int) -> Behaviour:
    def say(heard: bytes) -> Iterator[bytes]:
        yield by_length(dns_reply(heard[2:514], records[:60_000], count))

    return Behaviour(say)


def looping_name(heard: bytes) -> Iterator[bytes]:
    yield by_length(dns_reply(heard[2:514], (b"\xc0\x2d" + bytes(10)) * 2000, 2000))


def body(text: bytes) -> Behaviour:
    return once(HEAD + f"Content-Length: {len(text)}\r\n\r\n".encode(), text, closes=True)


def redirecting(padding: int) -> Behaviour:
    def say(heard: bytes) -> Iterator[bytes]:
        place = b"/" + os.urandom(4).hex().encode() + b"?" + b"p" * padding
        yield b"HTTP/1.1 302 x\r\nLocation: " + place + b"\r\nContent-Length: 0\r\n\r\n"

    return Behaviour(say, closes=True)


#: All of them do nothing for most of the time, and may be met together.
QUIET: dict[str, Behaviour] = {
    "silent": once(),
    "closes": once(closes=True),
    "drips nothing known": drip(b"", b"\0"),
    "drips a head": drip(HEAD + b"X-Slow: ", b"s"),
    "drips headers": drip(HEAD, b"X-Slow: s\r\n"),
    "drips a body": drip(HEAD + b"Content-Length: 1000000\r\n\r\n", b"b", at_once=60),
    "drips chunks": drip(CHUNKED, b"1\r\nc\r\n", at_once=len(CHUNKED)),
    "drips a greeting": drip(b"220-slow\r\n", b"220-slow\r\n"),
    "drips TLS": drip(record(HELLO), b"\x16\x03\x03\x00\x01\x0b", at_once=7),
    "drips HTTP 2": drip(SETTINGS, frame(6, bytes(8), stream=0), at_once=9),
    "drips a DNS answer": drip(b"\xff\xff", b"d", at_once=2),
    "drips LDAP": drip(b"\x30\x84\x7f\xff\xff\xff", b"l", at_once=6),
}

FLOODS: dict[str, Behaviour] = {
    "zeros": ever(b"\0"),
    "letters": ever(b"a"),
    "lines": ever(b"a line\r\n"),
    "empty lines": ever(b"\r\n"),
    "noise": ever(NOISE),
    "headers": ever(b"X-More: " + b"h" * 1000 + b"\r\n", first=HEAD),
    "short headers": ever(b"a:\r\n", first=HEAD),
    "one header": ever(b"h", first=HEAD + b"X-Long: "),
    "folded header": ever(b" f\r\n", first=HEAD + b"X-Fold: f\r\n"),
    "informational": ever(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": ever(NOISE, first=HEAD + b"\r\n"),
    "10 GB": ever(b"b", first=HEAD + b"Content-Length: 10737418240\r\n\r\n"),
    "tiny chunks": ever(b"1\r\nc\r\n", first=CHUNKED),
    "chunk extensions": ever(b"1;" + b"e" * 4000 + b"\r\nc\r\n", first=CHUNKED),
    "one chunk size": ever(b"0", first=CHUNKED),
    "huge chunk": ever(b"c", first=CHUNKED + b"fffffffffffff\r\n"),
    "trailers": ever(b"X-T: t\r\n", first=CHUNKED + b"0\r\n"),
    "gzip bomb": ever(BOMB, first=HEAD + b"Content-Encoding: gzip\r\n\r\n"),
    "gzip transfer": ever(BOMB, first=HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "JSON lists": body(b"[" + b"[]," * 349_000 + b"[]]"),
    "JSON objects": body(b"[" + b'{"":1},' * 149_000 + b"{}]"),
    "JSON strings": body(b"[" + '"\u0100a",'.encode() * 174_000 + b"0]"),
    "JSON numbers": body(b"[" + b"1e9," * 262_000 + b"0]"),
    "JSON depth": body(b"[" * 1_000_000),
    "redirects": redirecting(10),
    "long redirects": redirecting(1_900),
    "too long redirects": redirecting(15_000),
    "SMTP greeting": ever(b"220-more\r\n"),
    "SMTP lines": ever(b"250-MORE\r\n", first=b"220 me\r\n"),
    "IMAP lines": ever(b"* CAPABILITY " + b"X" * 100 + b"\r\n", first=b"* OK me\r\n"),
    "POP3 lines": ever(b"MORE\r\n", first=b"+OK me\r\n+OK\r\n"),
    "LDAP message": ever(b"\x04\x00", first=b"\x30\x84\x7f\xff\xff\xff"),
    "nested BER": ever(b"\x30\x80", first=b"\x30\x82\x3f\xf0"),
    "MySQL greeting": ever(b"\0", first=b"\xff\xff\xff\0\x0a"),
    "PostgreSQL error": ever(b"E", first=b"E\x7f\xff\xff\xff"),
    "hellos": ever(record(HELLO)),
    "warnings": ever(record(b"\x01\x5a", 21)),
    "one message": ever(record(b"x" * 16_384), first=record(HELLO) + record(message(11, b"", 0xFFFFFF))),
    "byte a record": ever(record(b"\x0b"), first=b"".join(record(bytes((one,))) for one in HELLO)),
    "empty records": ever(b"\x16\x03\x03\x00\x00"),
    "long chain": Behaviour(long_chain),
    "SETTINGS": two(SETTINGS),
    "PING": two(frame(6, bytes(8), stream=0)),
    "WINDOW_UPDATE": two(frame(8, struct.pack("!I", 1), stream=0)),
    "empty DATA": two(frame(0), first=frame(1, OK_200, flags=4)),
    "DATA": two(frame(0, NOISE[:16_384]), first=frame(1, OK_200, flags=4)),
    "CONTINUATION": two(frame(9, b""), first=frame(1, OK_200)),
    "HPACK bomb": once(SETTINGS, frame(1, HPACK_BOMB, flags=4), frame(0, b"x", flags=1)),
    "informational 2": two(frame(1, b"\x08\x03103", flags=4)),
    "unknown frames": two(frame(99, b"u" * 1000, stream=0)),
    "DNS of 64 KiB": ever(b"d", first=b"\xff\xff"),
    "empty DNS messages": ever(b"\0\0"),
    "DNS text": dns_bomb(txt(60_000), 1),
    "DNS texts": dns_bomb(txt(512) * 110, 110),
    "DNS pointers": dns_bomb(pointers(700), 700),
    "DNS loop": Behaviour(looping_name),
    "DNS lies": dns_bomb(txt(256), 65_535),
}
#: Of a greeting in the clear, or of a handshake: nobody waits for these within TLS.
PLAIN_ONLY = frozenset(
    {
        "SMTP greeting",
        "SMTP lines",
        "IMAP lines",
        "POP3 lines",
        "LDAP message",
        "nested BER",
        "MySQL greeting",
        "PostgreSQL error",
        "hellos",
        "warnings",
        "one message",
        "byte a record",
        "empty records",
        "long chain",
    }
)
