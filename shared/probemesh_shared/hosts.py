"""Host names and address literals as people type them, in one canonical spelling.

Names become lower-case A-labels (IDNA 2008 as UTS 46 prepares it, which is what the system's resolver and
browsers do) without a trailing dot; IPv4 four plain decimal numbers, read as ``inet_aton`` reads it
(``0x7f.1``, ``2130706433`` and ``0177.1`` are 127.0.0.1: that is what would be dialled, so that is what is
shown); IPv6 compressed as RFC 5952 has it, with its ``%scope`` where it has one.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z")
_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
#: A number so small is a port that was meant, not the address 0.0.0.80.
_PORT_LIKE = 65535


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


def read_ipv4(text: str) -> IPv4Address | None:
    """As ``inet_aton`` of the C library: one to four numbers, decimal, octal (``0…``) or hexadecimal
    (``0x…``), the last of which fills all the bytes that are left. None: it would be looked up as a name.

    >>> str(read_ipv4("0x7f.1")), str(read_ipv4("010.1.258"))
    ('127.0.0.1', '8.1.1.2')
    """
    numbers = [_number(part) for part in text.split(".")]
    *leading, last = numbers
    if len(numbers) > 4 or last is None or last >= 1 << (8 * (4 - len(leading))):
        return None
    value = last
    for place, byte in enumerate(leading):
        if byte is None or byte > 255:
            return None
        value |= byte << (8 * (3 - place))
    return IPv4Address(value)


def _number(part: str) -> int | None:
    """In C's spelling; None where it is none."""
    base = 16 if part.startswith("0x") else 8 if part.startswith("0") and len(part) > 1 else 10
    digits = part[2:] if base == 16 else part
    if len(digits) > 40 or not re.fullmatch(_DIGITS[base], digits):
        return None
    return int(digits, base)


_DIGITS = {8: "[0-7]+", 10: "[0-9]+", 16: "[0-9a-f]+"}


def _ipv4(name: str) -> str:
    if name.isdigit() and int(name) <= _PORT_LIKE:
        raise InvalidRequest(
            f"'{escape(name, 80)}' could be a port or the address 0.0.{int(name) >> 8}.{int(name) & 255}",
            "write HOST:PORT, or the address with its dots",
        )
    address = read_ipv4(name)
    if address is None:
        raise InvalidRequest(
            f"'{escape(name, 80)}' is not an IPv4 address", "write four numbers from 0 to 255: 192.0.2.1"
        )
    return str(address)


def _to_ascii(text: str) -> str:
    import idna  # its tables are large, and few names need them

    try:
        prepared: str = idna.uts46_remap(text, std3_rules=False, transitional=False)
        return ".".join(_a_label(label, idna.alabel) for label in prepared.split("."))
    except (idna.IDNAError, UnicodeError) as error:
        why = escape(str(error), 120)
        raise InvalidRequest(
            f"the host name '{escape(text, 80)}' cannot be written as A-labels (IDNA 2008): {why}"
        ) from None


def unicode_name(name: str) -> str | None:
    """A name with A-labels as its owner writes it; None where there are none, or they say nothing."""
    if "xn--" not in name:
        return None
    import idna

    try:
        return ".".join(idna.ulabel(one) if one.startswith("xn--") else one for one in name.split("."))
    except (idna.IDNAError, UnicodeError):
        return None


def _a_label(label: str, encode: Callable[[str], bytes]) -> str:
    return label if label.isascii() else encode(label).decode("ascii")
