"""What a foreign UDP service is told: it has to be told something, to answer. Pure.

Servers of well-known ports drop what is no request of theirs: healthy ones would pass for such that do not
answer. These requests ask for nothing that is kept from strangers. Not for the time (123): many servers of it
are silent to a host that asks again within seconds, which would look like loss.
"""

from typing import Final

#: Where the number tells nothing.
PLAIN: Final = b"probemesh\n"
#: The name servers of the root, without recursion (RFC 1035): whoever does not serve that answers REFUSED.
_DNS = b"\x70\x6d\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"
#: A binding request (RFC 8489).
_STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42probemesh-12"

_BY_PORT: Final = {53: _DNS, 3478: _STUN}


def hello(port: int | None) -> bytes:
    return _BY_PORT.get(port or 0, PLAIN)
