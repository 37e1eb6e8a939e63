"""How each protocol is asked for TLS, as the asks of a :mod:`dialogue <probemesh_agent.wire.dialogue>`. Pure.

SMTP (RFC 3207), IMAP and POP3 (RFC 2595), FTP (RFC 4217), LDAP (RFC 4511 §4.14), PostgreSQL (SSLRequest) and
MySQL (protocol 4.1, SSLRequest after the greeting).
"""

import struct
from collections.abc import Callable, Generator, Mapping
from types import MappingProxyType

from probemesh_shared.words import StartTls

from probemesh_agent.wire import ber
from probemesh_agent.wire.dialogue import LINE, Ask, Asks, Dialogue, malformed, refused

#: PostgreSQL's SSLRequest: length 8, code 1234.5679 (protocol documentation, "Message Formats").
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
_LDAP_STARTTLS = b"1.3.6.1.4.1.1466.20037"
_LDAP_REQUEST = ber.tlv(ber.SEQUENCE, ber.of_integer(1), ber.tlv(0x77, ber.tlv(0x80, _LDAP_STARTTLS)))
_LDAP_EXTENDED_RESPONSE = 0x78
_MYSQL_SSL, _MYSQL_41, _MYSQL_SECURE = 0x0800, 0x0200, 0x8000
#: Capabilities, the largest packet, a character set (utf8mb3), 23 bytes of nothing.
_MYSQL_REQUEST = struct.pack("<IIB23x", _MYSQL_SSL | _MYSQL_41 | _MYSQL_SECURE, 1 << 24, 33)
_MOST_LINES = 200
_MOST_MESSAGE = 16 * 1024


def dialogue(protocol: StartTls, local_address: str) -> Dialogue:
    """``local_address`` is how we call ourselves to SMTP, which wants a name."""
    if protocol is StartTls.SMTP:
        return Dialogue(_smtp(local_address))
    return Dialogue(_ASKS[protocol]())


_Reply = Generator[Ask, bytes, tuple[bytes, list[bytes]]]


def _reply() -> _Reply:
    """A reply of SMTP or FTP: its code, and the text of its lines (RFC 5321 §4.2.1, RFC 959 §4.2)."""
    first = yield LINE
    code, texts = first[:3], [first[4:]]
    if not code.isdigit() or len(code) != 3 or first[3:4] not in (b" ", b"-", b""):
        raise malformed("neither SMTP nor FTP begins so")
    line = first
    while line[3:4] == b"-" or line[:3] != code:
        line = yield LINE
        texts.append(line[4:])
        if len(texts) > _MOST_LINES:
            raise malformed("a reply without end")
    return code, texts


def _smtp(local_address: str) -> Asks:
    code, texts = yield from _reply()
    if code != b"220":
        raise refused(f"the server greets with {code.decode()}", texts[0])
    tag = "IPv6:" if ":" in local_address else ""
    yield f"EHLO [{tag}{local_address.partition('%')[0]}]\r\n".encode("ascii", "replace")
    code, texts = yield from _reply()
    if code != b"250":
        raise refused(f"the server refuses EHLO with {code.decode()}", texts[0])
    if not any(text.strip().upper() == b"STARTTLS" for text in texts[1:]):
        raise refused("the server does not offer STARTTLS", b" ".join(texts[1:]))
    yield b"STARTTLS\r\n"
    code, texts = yield from _reply()
    if code != b"220":
        raise refused(f"the server refuses STARTTLS with {code.decode()}", texts[0])


def _ftp() -> Asks:
    code, texts = yield from _reply()
    while code == b"120":  # ready in a moment
        code, texts = yield from _reply()
    if code != b"220":
        raise refused(f"the server greets with {code.decode()}", texts[0])
    yield b"AUTH TLS\r\n"
    code, texts = yield from _reply()
    if code != b"234":
        raise refused(f"the server refuses AUTH TLS with {code.decode()}", texts[0])


def _imap() -> Asks:
    greeting = yield LINE
    if not greeting.startswith(b"* "):
        raise malformed("not an IMAP server's greeting")
    if not greeting.upper().startswith(b"* OK"):
        raise refused("the server does not greet with OK", greeting)
    yield b"a1 CAPABILITY\r\n"
    untagged = yield from _tagged(b"a1", "CAPABILITY")
    offered = [line.upper().split() for line in untagged]
    if not any(words[:2] == [b"*", b"CAPABILITY"] and b"STARTTLS" in words for words in offered):
        raise refused("the server does not offer STARTTLS", b" ".join(untagged))
    yield b"a2 STARTTLS\r\n"
    yield from _tagged(b"a2", "STARTTLS")


def _tagged(tag: bytes, command: str) -> Generator[Ask, bytes, list[bytes]]:
    """The untagged lines before the tagged OK."""
    untagged: list[bytes] = []
    while len(untagged) < _MOST_LINES:
        line = yield LINE
        if line.startswith(tag + b" "):
            if line[len(tag) + 1 :].upper().startswith(b"OK"):
                return untagged
            raise refused(f"the server refuses {command}", line[len(tag) + 1 :])
        if not line.startswith(b"*"):
            raise malformed("not an IMAP server's answer")
        untagged.append(line)
    raise malformed("an answer without end")


def _pop3() -> Asks:
    greeting = yield LINE
    if not greeting.startswith((b"+OK", b"-ERR")):
        raise malformed("not a POP3 server's greeting")
    if not greeting.startswith(b"+OK"):
        raise refused("the server does not greet with +OK", greeting)
    yield b"CAPA\r\n"
    line = yield LINE
    if line.startswith(b"+OK"):
        offered: list[bytes] = []
        while (line := (yield LINE)) != b".":
            offered.append(line.upper().strip())
            if len(offered) > _MOST_LINES:
                raise malformed("an answer without end")
        if b"STLS" not in offered:
            raise refused("the server does not offer STLS", b" ".join(offered))
    yield b"STLS\r\n"
    line = yield LINE
    if not line.startswith(b"+OK"):
        raise refused("the server refuses STLS", line)


def _ldap() -> Asks:
    yield _LDAP_REQUEST
    head = yield 2
    if head[0] != ber.SEQUENCE:
        raise malformed("not an LDAP message")
    try:
        if head[1] > 0x80:
            head += yield min(head[1] & 0x7F, 4)
        length = ber.whole_length(head)
        if length is None or length > _MOST_MESSAGE:
            raise malformed("an LDAP message without end")
        if length > len(head):
            head += yield length - len(head)
        code, words = _ldap_result(head)
    except ber.BerError as error:
        raise malformed(f"not an LDAP message: {error}") from None
    if code:
        raise refused(f"the server refuses StartTLS with result code {code}", words)


def _ldap_result(message: bytes) -> tuple[int, bytes]:
    """``(resultCode, diagnosticMessage)`` of an ExtendedResponse to message 1."""
    parts = list(ber.elements(ber.read(message)[1]))
    if len(parts) < 2 or parts[1][0] != _LDAP_EXTENDED_RESPONSE:
        raise ber.BerError("not the answer to an extended request")
    result = list(ber.elements(parts[1][1]))
    if len(result) < 3 or result[0][0] != ber.ENUMERATED:
        raise ber.BerError("no result code")
    return ber.integer(result[0][1]), result[2][1]


def _postgres() -> Asks:
    yield SSL_REQUEST
    answer = yield 1
    if answer == b"S":
        return
    if answer == b"N":
        raise refused("SSLRequest", b"no TLS here")
    if answer != b"E":
        raise malformed("SSLRequest: not PostgreSQL's answer")
    size = int.from_bytes((yield 4), "big")
    if not 4 < size <= _MOST_MESSAGE:
        raise malformed("SSLRequest: not PostgreSQL's answer")
    fields = (yield size - 4).split(b"\0")
    message = next((field[1:] for field in fields if field.startswith(b"M")), b"an error without words")
    raise refused("the server refuses an SSLRequest", message)


def _mysql() -> Asks:
    head = yield 4
    size = int.from_bytes(head[:3], "little")
    if not 4 <= size <= _MOST_MESSAGE:
        raise malformed("not a MySQL server's greeting")
    greeting = yield size
    if greeting[0] == 0xFF:
        number = int.from_bytes(greeting[1:3], "little")
        raise refused(f"the server answers with error {number}", greeting[3:])
    end = greeting.find(b"\0", 1, 100)
    # version, NUL, thread id 4, salt 8, filler 1, capabilities 2
    if greeting[0] != 10 or end < 0 or len(greeting) < end + 16:
        raise malformed("not a MySQL server's greeting")
    if not int.from_bytes(greeting[end + 14 : end + 16], "little") & _MYSQL_SSL:
        raise refused("the server does not offer TLS; its version", greeting[1:end])
    request = _MYSQL_REQUEST
    yield len(request).to_bytes(3, "little") + bytes(((head[3] + 1) & 0xFF,)) + request


_ASKS: Mapping[StartTls, Callable[[], Asks]] = MappingProxyType(
    {
        StartTls.IMAP: _imap,
        StartTls.POP3: _pop3,
        StartTls.FTP: _ftp,
        StartTls.LDAP: _ldap,
        StartTls.POSTGRES: _postgres,
        StartTls.MYSQL: _mysql,
    }
)
