"""Host names and address literals as people type them, in one canonical spelling.

Names become lower-case A-labels without a trailing dot; IPv4 only as four plain decimal numbers
(``0x7f.1`` and ``2130706433`` are refused: ``getaddrinfo`` would read them as 127.0.0.1); IPv6 compressed
as RFC 5952 has it, with its ``%scope`` where it has one.
"""

import re
from ipaddress import IPv4Address, IPv6Address

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z")
_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
#: Letters that IDNA 2003 and 2008 read differently: which name is meant is not ours to guess.
_DEVIATIONS = frozenset("ßẞς\u200c\u200d")


def canonical_host(text: str) -> str:
    """A name or literal (IPv6 without brackets) in canonical spelling, or :class:`InvalidRequest`."""
    if not text:
        raise InvalidRequest("the host is empty", "write HOST or HOST:PORT")
    if ":" in text:
        return canonical_ipv6(text)
    name = canonical_name(text)
    if _NUMERIC_LABEL.match(name.rpartition(".")[2]):
        return _ipv4(name)
    return name


def canonical_name(text: str) -> str:
    """A DNS name: lower case, A-labels, no trailing dot; ``_`` allowed, as in ``_sip._tcp.example.org``."""
    ascii_name = text if text.isascii() else _to_ascii(text)
    name = ascii_name.lower().removesuffix(".")
    shown = escape(text, 80)
    if not name:
        raise InvalidRequest(f"'{shown}' is no host name")
    if len(name) > 253:
        raise InvalidRequest(f"the host name '{shown}' is longer than 253 characters")
    for label in name.split("."):
        if not label:
            raise InvalidRequest(f"the host name '{shown}' has an empty part between two dots")
        if len(label) > 63:
            raise InvalidRequest(f"the host name '{shown}' has a part longer than 63 characters")
        if not _LABEL.match(label):
            raise InvalidRequest(
                f"the host name '{shown}' has the part '{escape(label)}', which no host name can have",
                "letters, digits, '-' inside and '_' are allowed",
            )
    return name


def canonical_ipv6(text: str) -> str:
    """An IPv6 literal, with ``%scope`` kept as it is (interface names are case-sensitive)."""
    literal, percent, scope = text.partition("%")
    shown = escape(text, 80)
    try:
        address = IPv6Address(literal)
    except ValueError:
        raise InvalidRequest(
            f"'{shown}' is neither an IPv6 address nor HOST:PORT",
            "an IPv6 address with a port is written [2001:db8::1]:443",
        ) from None
    if percent and not _SCOPE.match(scope):
        raise InvalidRequest(f"'{shown}' has an interface that cannot be read", "write fe80::1%eth0")
    mapped = address.ipv4_mapped
    spelled = f"::ffff:{mapped}" if mapped else address.compressed
    return f"{spelled}%{scope}" if percent else spelled


def is_address(host: str) -> bool:
    """True for a canonical literal, False for a name."""
    return ":" in host or bool(_NUMERIC_LABEL.match(host.rpartition(".")[2]))


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def reverse_name(host: str) -> str:
    """``10.0.0.1`` → ``1.0.0.10.in-addr.arpa``; a literal without scope."""
    return (IPv6Address(host) if ":" in host else IPv4Address(host)).reverse_pointer


def address_of_reverse(name: str) -> str | None:
    """The inverse of :func:`reverse_name`; None for every other name, partial ones included."""
    if name.endswith(".in-addr.arpa"):
        parts = name.removesuffix(".in-addr.arpa").split(".")
        candidate = ".".join(reversed(parts))
    elif name.endswith(".ip6.arpa"):
        digits = name.removesuffix(".ip6.arpa").split(".")
        if len(digits) != 32 or any(len(digit) != 1 for digit in digits):
            return None
        joined = "".join(reversed(digits))
        candidate = ":".join(joined[i : i + 4] for i in range(0, 32, 4))
    else:
        return None
    try:
        host = canonical_host(candidate)
        return host if is_address(host) and reverse_name(host) == name else None
    except (InvalidRequest, ValueError):
        return None


def _ipv4(name: str) -> str:
    try:
        return str(IPv4Address(name))
    except ValueError:
        raise InvalidRequest(
            f"'{escape(name, 80)}' is not an IPv4 address",
            "write four decimal numbers from 0 to 255, without leading zeros: 192.0.2.1",
        ) from None


def _to_ascii(text: str) -> str:
    shown = escape(text, 80)
    if any(char in _DEVIATIONS for char in text):
        raise InvalidRequest(
            f"the host name '{shown}' means two different names, depending on the version of IDNA",
            "write it as its A-label (xn--…)",
        )
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError:
        raise InvalidRequest(f"the host name '{shown}' cannot be written as A-labels (IDNA)") from None
