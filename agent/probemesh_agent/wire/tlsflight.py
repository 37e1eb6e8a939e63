"""What a server answers to a ClientHello, as far as it stands in the clear: up to ServerHello with TLS 1.3,
up to ServerHelloDone before it.

Every byte is a stranger's. :class:`FlightReader` raises nothing: what cannot be is told in ``flight.fault``,
and nothing is read beyond it. Records, messages, certificates, alerts and all bytes together are bounded.
RFC 8446 §4, RFC 5246 §7.4, RFC 6066 §8. Pure.
"""

from dataclasses import dataclass, field

from probemesh_shared.identity.der import name_text

from probemesh_agent.wire.tlsciphers import TLS12, TLS13, cipher_name

_ALERT, _HANDSHAKE = 21, 22
_SERVER_HELLO, _CERTIFICATE, _KEY_EXCHANGE, _REQUEST, _DONE, _STATUS = 2, 11, 12, 13, 14, 22
_ALPN, _VERSIONS, _KEY_SHARE, _AUTHORITIES = 16, 43, 51, 47
#: RFC 8446 §4.1.3: the random of a ServerHello that is a HelloRetryRequest.
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

RECORD_MOST = (1 << 14) + 2048
MESSAGE_MOST = 128 << 10
FLIGHT_MOST = 256 << 10
RECORDS_MOST = 8192
CHAIN_MOST = 16
WARNINGS_MOST = 5
NAMES_MOST = 32


class Malformed(ValueError):
    """Bytes that are no TLS, or no more than we are willing to read."""


@dataclass(frozen=True, slots=True)
class ServerHello:
    """``version`` and ``cipher`` are what the server took. ``retry``: it asks for another key share."""

    version: int
    cipher: int
    alpn: str | None = None
    group: int | None = None
    retry: bool = False


@dataclass(slots=True)
class Flight:
    """All that has been read. ``requested`` is None until it is known whether a client certificate is asked
    for."""

    hello: ServerHello | None = None
    alert: int | None = None  # fatal ones, and close_notify; warnings are passed over
    chain: tuple[bytes, ...] = ()
    staple: bytes | None = None
    group: int | None = None
    requested: bool | None = None
    authorities: tuple[str, ...] = ()
    done: bool = False  # ServerHelloDone, or the end of what is in the clear
    fault: str | None = None

    @property
    def over(self) -> bool:
        """Nothing further is to be read."""
        return self.done or self.alert is not None or self.fault is not None


@dataclass(slots=True)
class FlightReader:
    """Bytes in, :class:`Flight` out; feeding it beyond the flight's end changes nothing."""

    flight: Flight = field(default_factory=Flight)
    _pending: bytearray = field(default_factory=bytearray)
    _message: bytearray = field(default_factory=bytearray)
    _taken: int = 0
    _records: int = 0
    _warnings: int = 0

    def feed(self, data: bytes) -> Flight:
        if not self.flight.over:
            try:
                self._feed(data)
            except Malformed as fault:
                self.flight.fault = str(fault)
            except (ValueError, IndexError):
                self.flight.fault = "its handshake cannot be read"
        return self.flight

    def _feed(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > FLIGHT_MOST:
            raise Malformed(f"its handshake goes on beyond {FLIGHT_MOST >> 10} KiB")
        self._pending += data
        at = 0
        while not self.flight.over and len(self._pending) - at >= 5:
            kind, size = self._pending[at], int.from_bytes(self._pending[at + 3 : at + 5], "big")
            self._check_record(kind, self._pending[at + 1], size)
            if len(self._pending) - at - 5 < size:
                break
            self._record(kind, bytes(self._pending[at + 5 : at + 5 + size]))
            at += 5 + size
        del self._pending[:at]

    def _check_record(self, kind: int, major: int, size: int) -> None:
        if kind not in (_ALERT, _HANDSHAKE) or major != 3:
            raise Malformed("what answered does not speak TLS")
        if not 0 < size <= RECORD_MOST:
            raise Malformed(f"a record of {size} bytes")

    def _record(self, kind: int, body: bytes) -> None:
        self._records += 1
        if self._records > RECORDS_MOST:
            raise Malformed(f"its handshake goes on beyond {RECORDS_MOST} records")
        if kind == _ALERT:
            self._alert(body)
            return
        self._message += body
        at = 0
        while not self.flight.over and len(self._message) - at >= 4:
            size = int.from_bytes(self._message[at + 1 : at + 4], "big")
            if size > MESSAGE_MOST:
                raise Malformed(f"a handshake message of {size} bytes")
            if len(self._message) - at - 4 < size:
                break
            self._take(self._message[at], bytes(self._message[at + 4 : at + 4 + size]))
            at += 4 + size
        del self._message[:at]

    def _alert(self, body: bytes) -> None:
        if len(body) != 2:
            raise Malformed("an alert that is none")
        if body[0] == 2 or body[1] == 0:
            self.flight.alert = body[1]
            return
        self._warnings += 1
        if self._warnings > WARNINGS_MOST:
            raise Malformed("warnings without end")

    def _take(self, kind: int, body: bytes) -> None:
        flight = self.flight
        if kind == _SERVER_HELLO and flight.hello is None:
            flight.hello = server_hello(body)
            flight.group = flight.hello.group
            flight.done = flight.hello.version >= TLS13
        elif flight.hello is None:
            raise Malformed("its handshake does not begin with a ServerHello")
        elif kind == _CERTIFICATE:
            flight.chain = certificates(body)
        elif kind == _STATUS:
            flight.staple = certificate_status(body)
        elif kind == _KEY_EXCHANGE:
            flight.group = key_exchange_group(body, flight.hello.cipher)
        elif kind == _REQUEST:
            flight.requested, flight.authorities = True, authorities(body, flight.hello.version)
        elif kind == _DONE:
            flight.done, flight.requested = True, bool(flight.requested)


class _Reader:
    """Length-checked pieces of one message."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise Malformed("a handshake message that is cut short")
        piece, self._at = self._data[self._at : end], end
        return piece

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def sized(self, width: int) -> "_Reader":
        return _Reader(self.take(self.number(width)))

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)


def server_hello(body: bytes) -> ServerHello:
    """The body of the message. Raises :class:`Malformed`."""
    reader = _Reader(body)
    version, random = reader.number(2), reader.take(32)
    reader.sized(1)
    cipher, _ = reader.number(2), reader.number(1)
    extensions = _extensions(reader)
    if (chosen := extensions.get(_VERSIONS)) is not None:
        version = _Reader(chosen).number(2)
    group = _Reader(extensions[_KEY_SHARE]).number(2) if _KEY_SHARE in extensions else None
    return ServerHello(version, cipher, _alpn(extensions.get(_ALPN)), group, random == _RETRY)


def _extensions(reader: _Reader) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    if reader:
        inner = reader.sized(2)
        while inner:
            kind = inner.number(2)
            found[kind] = inner.sized(2).rest()
    return found


def _alpn(data: bytes | None) -> str | None:
    if data is None:
        return None
    return _Reader(data).sized(2).sized(1).rest().decode("ascii", "backslashreplace")


def certificates(body: bytes) -> tuple[bytes, ...]:
    """A Certificate message of TLS 1.2 and before: DER, leaf first. Raises :class:`Malformed`."""
    inner = _Reader(body).sized(3)
    found: list[bytes] = []
    while inner and len(found) < CHAIN_MOST:
        found.append(inner.sized(3).rest())
    return tuple(found)


def certificate_status(body: bytes) -> bytes | None:
    """The OCSP response of a CertificateStatus; None for another type. Raises :class:`Malformed`."""
    reader = _Reader(body)
    return reader.sized(3).rest() if reader.number(1) == 1 else None


def authorities(body: bytes, version: int) -> tuple[str, ...]:
    """The names of a CertificateRequest's acceptable authorities, for people. Raises :class:`Malformed`."""
    reader = _Reader(body)
    reader.sized(1)  # certificate types; with TLS 1.3 the request's context
    if version >= TLS13:
        listed = _extensions(reader).get(_AUTHORITIES)
        return _names(_Reader(listed)) if listed is not None else ()
    if version == TLS12:
        reader.sized(2)  # signature algorithms
    return _names(reader)


def _names(reader: _Reader) -> tuple[str, ...]:
    inner = reader.sized(2)
    found: list[str] = []
    while inner and len(found) < NAMES_MOST:
        found.append(name_text(inner.sized(2).rest()))
    return tuple(found)


def key_exchange_group(body: bytes, cipher: int) -> int | None:
    """The named group of a ServerKeyExchange; None with finite fields, whose group has no name there."""
    named = "ECDH" in cipher_name(cipher) and len(body) >= 3 and body[0] == 3
    return int.from_bytes(body[1:3], "big") if named else None
