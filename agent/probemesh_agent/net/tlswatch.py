"""The peer's handshake messages beside ``ssl``, which tells nothing of the group, nor of a client certificate
that was asked for: by the hook that the standard library's own debugging has. Where a Python lacks it, these
facts are missing and nothing else is.
"""

import ssl
import weakref
from typing import Any

from probemesh_agent.env import TlsSeen

_HANDSHAKE = 22
_SERVER_HELLO, _TICKET, _KEY_EXCHANGE, _REQUEST = 2, 4, 12, 13
_HEADER = 4

#: The class below :class:`ssl.SSLContext`, whose own setter makes enums of every number: twice the time, and
#: that within the handshake that is timed.
_ssl_context: Any = ssl.SSLContext.__base__

_watched: "weakref.WeakKeyDictionary[Any, TlsSeen]" = weakref.WeakKeyDictionary()


def prepare(context: ssl.SSLContext) -> None:
    """Before a session is made of it: sessions take the hook along."""
    hook: Any = getattr(_ssl_context, "_msg_callback", None)
    if hook is not None and hook.__get__(context) is None:
        hook.__set__(context, _told)


def watch(session: ssl.SSLObject, seen: TlsSeen) -> None:
    """Fills ``seen`` while ``session`` shakes hands."""
    _watched[session] = seen


def _told(session: Any, direction: str, version: int, content: int, kind: int, data: bytes) -> None:
    if content != _HANDSHAKE or direction != "read":
        return
    seen = _watched.get(session)
    if seen is None:
        return
    try:
        _take(seen, kind, data[_HEADER:], version)
    except (ValueError, IndexError):
        return  # OpenSSL judges what is malformed


def _take(seen: TlsSeen, kind: int, body: bytes, version: int) -> None:
    # an idle agent has no use for these; kinds that shake hands have imported them before any time is taken
    from probemesh_agent.wire.tlsciphers import TLS12, TLS13
    from probemesh_agent.wire.tlsflight import authorities, key_exchange_group, server_hello

    if kind == _SERVER_HELLO:
        hello = server_hello(body)
        seen.cipher, seen.group = hello.cipher, hello.group
    elif kind == _KEY_EXCHANGE:
        seen.group = key_exchange_group(body, seen.cipher)
    elif kind == _TICKET:
        seen.tickets += 1
    elif kind == _REQUEST:
        seen.requested = True
        seen.authorities = authorities(body, TLS13 if version == TLS13 else min(version, TLS12))
