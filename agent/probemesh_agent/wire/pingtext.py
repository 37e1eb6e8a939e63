"""What the system's ``ping`` (iputils) prints with ``-n -D -O``, read line by line. Pure.

The one place where evidence is text, because that program gives nothing else; lines that are not understood
are left out.
"""

import re
from dataclasses import dataclass

_REPLY = re.compile(
    r"\d+ bytes from (?P<who>\S+?):? icmp_seq=(?P<seq>\d+)(?: ident=\d+)? (?:ttl|hlim)=(?P<ttl>\d+)"
    r"(?: time=(?P<time>\d+(?:\.\d+)?) ms)?(?P<dup>.*\(DUP!\))?"
)
_ERROR = re.compile(r"From (?P<who>\S+?):? icmp_seq=(?P<seq>\d+) (?P<words>.+)")

#: iputils' words → type and code; the first that begins the line's wins.
_WORDS_V4 = (
    ("Destination Net Unreachable", 3, 0),
    ("Destination Host Unreachable", 3, 1),
    ("Destination Protocol Unreachable", 3, 2),
    ("Destination Port Unreachable", 3, 3),
    ("Frag needed", 3, 4),
    ("Destination Net Prohibited", 3, 9),
    ("Destination Host Prohibited", 3, 10),
    ("Packet filtered", 3, 13),
    ("Time to live exceeded", 11, 0),
)
_WORDS_V6 = (
    ("Destination unreachable: No route", 1, 0),
    ("Destination unreachable: Administratively prohibited", 1, 1),
    ("Destination unreachable: Beyond scope", 1, 2),
    ("Destination unreachable: Address unreachable", 1, 3),
    ("Destination unreachable: Port unreachable", 1, 4),
    ("Packet too big", 2, 0),
    ("Time exceeded: Hop limit", 3, 0),
)


@dataclass(frozen=True, slots=True)
class PingReply:
    """``sequence`` counts from 1. ``rtt_ms`` None: the payload was too small to carry the time."""

    sequence: int
    ttl: int
    rtt_ms: float | None
    is_duplicate: bool
    sender: str


@dataclass(frozen=True, slots=True)
class PingError:
    """An ICMP error, with type and code where the words are known."""

    sequence: int
    sender: str
    type: int | None
    code: int | None
    words: str


def read_line(line: str, ipv6: bool) -> PingReply | PingError | None:
    """One line of output; None for any other."""
    line = re.sub(r"^\[\d+\.\d+\] ", "", line[:500].strip())
    if found := _REPLY.fullmatch(line) or _REPLY.match(line):
        time = found["time"]
        duplicate = found["dup"] is not None
        rtt_ms = float(time) if time else None
        return PingReply(int(found["seq"]), int(found["ttl"]), rtt_ms, duplicate, found["who"])
    if found := _ERROR.fullmatch(line):
        for words, icmp_type, code in _WORDS_V6 if ipv6 else _WORDS_V4:
            if found["words"].startswith(words):
                return PingError(int(found["seq"]), found["who"], icmp_type, code, found["words"])
        return PingError(int(found["seq"]), found["who"], None, None, found["words"])
    return None
