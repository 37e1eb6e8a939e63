"""EDNS in an answer: sizes and flags, the server's id (RFC 5001), extended errors (RFC 8914). No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass

import dns.edns
import dns.flags
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from probemesh_shared.model import DnsExtendedError

_LONGEST_NSID = 256
_MOST_ERRORS = 8


@dataclass(frozen=True, slots=True)
class Edns:
    """``size`` None: there is none. ``flags``: the whole field, the upper bits of the rcode and the version
    included (RFC 6891 §6.1.3)."""

    size: int | None = None
    flags: int = 0
    options: tuple[dns.edns.Option, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(dns.flags.edns_to_text(self.flags & 0xFFFF).lower().split())


def nsid(options: Iterable[dns.edns.Option]) -> str | None:
    """As text where it is printable, else ``hex:…``; RFC 5001 leaves its meaning open."""
    for option in options:
        if option.otype == dns.edns.NSID:
            data = option.to_wire() or b""
            text = data.decode("ascii", "replace")
            shown = text if data.isascii() and text.isprintable() else "hex:" + data.hex()
            return shown[:_LONGEST_NSID]
    return None


def errors(options: Iterable[dns.edns.Option]) -> tuple[DnsExtendedError, ...]:
    told = [option for option in options if isinstance(option, dns.edns.EDEOption)]
    return tuple(
        DnsExtendedError(int(one.code), _error_name(int(one.code)), (one.text or "")[:500])
        for one in told[:_MOST_ERRORS]
    )


def _error_name(code: int) -> str | None:
    """``dnssec-bogus``; None for a code that is not registered."""
    name = dns.edns.EDECode.make(code).name
    return None if name is None or name.isdigit() else name.lower().replace("_", "-")
