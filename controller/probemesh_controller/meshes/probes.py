"""Kinds of probe as a schedule writes them, and the labels of cells. Pure.

``icmp``  ``udp``  ``udp/53``  ``tcp/5432``  ``tls/443``  ``http/80``  ``https/443``; a label has the family
behind it where that is forced: ``tcp/5432/ipv6``.
"""

from collections.abc import Iterable

from probemesh_shared.errors import InvalidRequest
from probemesh_shared.escape import escape
from probemesh_shared.names import did_you_mean
from probemesh_shared.targets import count_ports, expand_ports, parse_ports
from probemesh_shared.words import Family, Kind

from probemesh_controller.meshes.ends import MOST_PORTS
from probemesh_controller.meshes.model import Probe

WORDS = ("icmp", "udp", "tcp", "tls", "http", "https")
DEFAULT = (Probe(Kind.ICMP), Probe(Kind.UDP))
#: Where such a service listens if nothing else is said. TCP has no such port.
_USUAL = {"tls": 443, "http": 80, "https": 443}


def parse_probe(text: str, ports: Iterable[int] = ()) -> tuple[Probe, ...]:
    """Of one text; ``ports`` are for kinds that have ports and are written without one, UDP aside: that goes
    to the agents' own responders. Raises :class:`InvalidRequest`."""
    word, slash, port = text.partition("/")
    if word not in WORDS:
        hint = did_you_mean(word, WORDS) or f"known: {', '.join(WORDS)}"
        raise InvalidRequest(f"there is no kind '{escape(text, 40)}' in a mesh", hint)
    kind, secure = Kind(word.removesuffix("s") if word == "https" else word), word == "https"
    if slash:
        if kind is Kind.ICMP:
            raise InvalidRequest(f"'{escape(text, 40)}': ICMP has no ports", "write icmp")
        spans = parse_ports(port)
        if count_ports(spans) > MOST_PORTS:
            raise InvalidRequest(f"'{escape(text, 40)}' has too many ports", f"{MOST_PORTS} at most")
        return tuple(Probe(kind, number, secure) for number in expand_ports(spans))
    if kind in (Kind.ICMP, Kind.UDP):
        return (Probe(kind),)
    return tuple(Probe(kind, number, secure) for number in ports) or (Probe(kind, None, secure),)


def usual_port(probe: Probe) -> int | None:
    return probe.port or _USUAL.get(word_of(probe))


def needs_port(probe: Probe) -> bool:
    """Of an agent that is named without a port."""
    return probe.kind not in (Kind.ICMP, Kind.UDP) and usual_port(probe) is None


def word_of(probe: Probe) -> str:
    return "https" if probe.secure else str(probe.kind)


def label(probe: Probe, family: Family = Family.BOTH) -> str:
    """As a cell is labelled."""
    port = "" if probe.port is None else f"/{probe.port}"
    return f"{word_of(probe)}{port}" + ("" if family is Family.BOTH else f"/{family}")
