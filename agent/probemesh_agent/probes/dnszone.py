"""Which zone holds a name, and which servers have it. The asking is handed in.

The closest enclosing name with NS records of its own is the zone; for DS records, which stand above the cut,
the search begins one label higher. A negative answer's SOA says at once where the zone begins (RFC 2308).
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from probemesh_shared.model import DnsRecord, Failure
from probemesh_shared.words import FailureKind, Origin, Stage

from probemesh_agent.probes.dnswire import Answer

MOST_SERVERS = 13
MOST_ADDRESSES = 8  # of one server in one family
_MOST_STEPS = 24

#: Asks for the NS records of a name; raises ProbeFailed.
AskServers = Callable[[str], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Zone:
    """``servers``: names without the final dot, at most thirteen; ``left_out`` is how many more there are.
    ``glue``: records that came beside them, of whatever names."""

    name: str
    servers: tuple[str, ...]
    left_out: int = 0
    glue: tuple[DnsRecord, ...] = ()


async def find_zone(name: str, record_type: str, ask: AskServers) -> Zone | Failure:
    """At most 24 questions; raises what ``ask`` raises."""
    candidate: str | None = name.removesuffix(".") or "."
    if record_type == "DS":
        candidate = parent(name)
    for _ in range(_MOST_STEPS):
        if candidate is None:
            break
        answer = await ask(candidate)
        if answer.rcode not in ("NOERROR", "NXDOMAIN"):
            detail = f"{candidate}: the name server answered {answer.rcode} to the question for its servers"
            kind = FailureKind.NAME_SERVER_FAILED
            return Failure(Stage.RESOLVE, kind, Origin.RESOLVER, detail, errno=answer.rcode)
        if zone := servers_of(candidate, answer):
            return zone
        candidate = _enclosing(candidate, answer)
    detail = f"no zone was found that holds {name}"
    return Failure(Stage.RESOLVE, FailureKind.NAME_SERVER_FAILED, Origin.RESOLVER, detail)


def servers_of(name: str, answer: Answer) -> Zone | None:
    """None where ``name`` has no NS records of its own (those behind a CNAME are another name's)."""
    found = dict.fromkeys(
        record.value.removesuffix(".").lower() or "."
        for record in answer.records
        if record.type == "NS" and _same(record.name, name)
    )
    if not found:
        return None
    names = sorted(found)
    left_out = max(0, len(names) - MOST_SERVERS)
    return Zone(name, tuple(names[:MOST_SERVERS]), left_out, answer.additional)


def addresses_of(records: Iterable[DnsRecord], record_type: str, name: str | None = None) -> tuple[str, ...]:
    """At most eight, in the order given; of ``name`` alone where it is given."""
    found = (
        one.value for one in records if one.type == record_type and (name is None or _same(one.name, name))
    )
    return tuple(dict.fromkeys(found))[:MOST_ADDRESSES]


def parent(name: str) -> str | None:
    """None above the root. A dot behind a backslash does not part labels."""
    if name in (".", ""):
        return None
    escaped = False
    for place, char in enumerate(name):
        if char == "." and not escaped:
            return name[place + 1 :] or "."
        escaped = char == "\\" and not escaped
    return "."


def _enclosing(name: str, answer: Answer) -> str | None:
    """The SOA's owner where it is truly above ``name``, else one label up: foreign data must not lead astray,
    nor round in circles."""
    for record in answer.authority:
        owner = record.name.lower()
        if record.type == "SOA" and (owner == "." or name.lower().endswith("." + owner)):
            return owner
    return parent(name)


def _same(one: str, other: str) -> bool:
    return one.lower().removesuffix(".") == other.lower().removesuffix(".")
