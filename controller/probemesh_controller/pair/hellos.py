"""What a foreign UDP service is told: it has to be told something, to answer. Pure.

Servers of well-known ports drop what is no request of theirs: healthy ones would pass for such that do not
answer. These requests ask for nothing that is kept from strangers, and a server's own limit may leave some of
them unanswered (those for the time, as a rule).
"""

from typing import Final

#: Where the number tells nothing.
PLAIN: Final = b"probemesh\n"
#: The name servers of the root, without recursion (RFC 1035): whoever does not serve that answers REFUSED.
_DNS = b"\x70\x6d\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"
#: A binding request (RFC 8489).
_STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42probemesh-12"

#: The time, as a client of version 4 asks for it (RFC 5905); the last eight bytes come back.
_NTP = b"\x23" + bytes(39) + b"probemsh"
#: Which engine it is, which whoever speaks SNMP version 3 tells anybody (RFC 3414 section 4).
_SNMP = bytes.fromhex(
    "303a020103300f02024a69020300ffe30401040201030410300e04000201000201000400040004003012"
    "04000400a00c020237f00201000201003000"
)

_BY_PORT: Final = {53: _DNS, 123: _NTP, 161: _SNMP, 3478: _STUN}


def is_request(port: int | None) -> bool:
    """Whether servers of this port answer what they are told here."""
    return port in _BY_PORT


def hello(port: int | None) -> bytes:
    return _BY_PORT.get(port or 0, PLAIN)
