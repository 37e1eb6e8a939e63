"""What else is told of a NAT: whether there is one, pooling, hairpinning, layers, lifetime. Pure."""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from probemesh_shared.nat import HairpinSource, NatRule, Pooling, ReflectorSeen, Ruling

from probemesh_controller.natting.mapping import View
from probemesh_controller.natting.seen import Hairpin, Rung, Seen, Sighting, Silence

_SHARED = ipaddress.ip_network("100.64.0.0/10")
_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"))
)
#: What hosts send with; the nearest above what arrived tells how many routers there were.
_INITIAL_TTLS = (64, 128, 255)


def is_private(text: str) -> bool:
    """Of use inside only: RFC 1918, RFC 6598, RFC 4193, link-local, loopback."""
    address = ipaddress.ip_address(text)
    if address.is_loopback or is_shared(text):
        return True
    return any(address.version == network.version and address in network for network in _PRIVATE)


def is_shared(text: str) -> bool:
    """RFC 6598: between a carrier's NAT and its customers'."""
    address = ipaddress.ip_address(text)
    return address.version == 4 and address in _SHARED


def hops(ttl: int | None) -> int | None:
    """Routers that a datagram passed that arrived with this TTL."""
    if ttl is None:
        return None
    return next((initial - ttl for initial in _INITIAL_TTLS if ttl <= initial), None)


def translated(sighting: Sighting, own: Iterable[str]) -> bool:
    """It arrived from elsewhere than it was sent from; a port alone counts too (a NAT on the host itself)."""
    seen = sighting.seen
    here = seen.address in own or ipaddress.ip_address(seen.address).is_loopback
    return not here or seen.port != sighting.local_port


def reflectors(seen: Seen) -> tuple[ReflectorSeen, ...]:
    found = []
    for asked in seen.reflectors:
        mine = [one for one in seen.sightings if one.reflector == asked.agent]
        ttls = [count for one in mine if (count := hops(one.ttl)) is not None]
        found.append(
            ReflectorSeen(
                asked.agent,
                _distinct(endpoint.address for endpoint in asked.endpoints),
                _distinct(one.seen.address for one in mine),
                any(translated(one, seen.own) for one in mine) if mine else None,
                min(ttls, default=None),
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Behind:
    """``by`` are the reflectors that this is known from: what others saw or sent does not count."""

    answer: bool | None
    by: tuple[str, ...] = ()
    note: str = ""
    missing: str = ""


def behind(seen: Seen, told: Sequence[ReflectorSeen]) -> Behind:
    """A NAT is proven by one reflector that sees another address; that there is none, only by a reflector
    that a router lies in between of, or by an address of its own that is no private one."""
    if not seen.reflectors:
        return _reached(seen) or Behind(None, missing="another agent that can be reached, as reflector")
    if not seen.sightings:
        return _reached(seen) or Behind(None, missing=_unheard(seen))
    by = [one.agent for one in _outermost([one for one in told if one.outside])]
    if by:
        return Behind(
            True, tuple(by), f"{', '.join(by)} {_verb(by, 'sees', 'see')} another address than its own"
        )
    public = any(not is_private(address) for one in told for address in one.sees)
    away = [one for one in told if one.sees and (public or (one.hops or 0) > 0)]
    if away:
        outer = [one for one in away if public or not all(map(is_private, one.addresses))]
        far = [one.agent for one in outer or away]
        limit = "" if outer else "; they have private addresses themselves, a NAT further out would not show"
        return Behind(
            False, tuple(far), f"{', '.join(far)} {_verb(far, 'sees', 'see')} its own address{limit}"
        )
    return Behind(None, missing="a reflector beyond its own link: those that heard it are on the same one")


def _reached(seen: Seen) -> Behind | None:
    """Nobody hears it, as they are behind NATs themselves; but somebody from beyond a router reaches it."""
    for one in seen.reached:
        if not is_private(one.address) or (hops(one.ttl) or 0) > 0:
            note = f"{one.agent} reaches it, unasked, by its own address {one.address}"
            return Behind(False, (), note, _unheard(seen) if seen.reflectors else "")
    return None


def _unheard(seen: Seen) -> str:
    names = ", ".join(asked.agent for asked in seen.reflectors)
    if not seen.sent:
        return "a datagram that could be sent"
    return (
        f"a datagram that arrives: of {seen.sent} to {names} none was heard: UDP does not get out, or "
        "does not get in there"
    )


def pooling(found: Sequence[View]) -> Pooling | None:
    """Over at least two sockets; the same address for all may still be chance with a large pool."""
    addresses = {face.address for view in found for face in view.faces.values()}
    if len(addresses) > 1:
        return Pooling.ARBITRARY
    return Pooling.PAIRED if len(found) > 1 else None


def _outermost(told: Sequence[ReflectorSeen]) -> Sequence[ReflectorSeen]:
    """Where some see a private outside address and others a public one, the former are between two NATs."""
    public = [one for one in told if not all(map(is_private, one.sees))]
    return public or told


@dataclass(frozen=True, slots=True)
class Hairpinned:
    answer: bool | None = None
    source: HairpinSource | None = None
    note: str = ""
    missing: str = ""


def hairpinning(
    hairpin: Hairpin | None, own: Iterable[str], mapping: Ruling, preserves: bool | None
) -> Hairpinned:
    """Both sockets had sent to each other's outside address, so no filter was in the way; unless the mapping
    depends on the destination and the port with it: then silence proves nothing."""
    if hairpin is None or not hairpin.sent:
        return Hairpinned(missing="two sockets whose outside addresses are known")
    if hairpin.sources:
        addresses = {endpoint.address for endpoint in hairpin.outside}
        inside = [one for one in hairpin.sources if one.address in own and one.address not in addresses]
        return Hairpinned(True, HairpinSource.INTERNAL if inside else HairpinSource.EXTERNAL)
    moves = NatRule.ENDPOINT_INDEPENDENT not in mapping.possible and not preserves
    if hairpin.kept is False or moves:
        return Hairpinned(note="the mapping changes with the destination: hairpinning cannot be tried")
    return Hairpinned(False)


@dataclass(frozen=True, slots=True)
class Layers:
    count: int | None = None
    least: int | None = None
    most: int | None = None
    note: str = ""
    missing: str = ""


def layers(ladder: Sequence[Rung], behind_nat: bool | None) -> Layers:
    """An outside address is that of the outermost NAT before whoever sees it: as far away as it answers, so
    many NATs there are at most. A router within looks like a NAT that does not answer for that address, so
    one address alone makes certain of one NAT only. A reflector between two NATs sees another address, of
    the inner one: addresses that answer at different distances are of different NATs."""
    if behind_nat is not True:
        return Layers(0, 0, 0) if behind_nat is False else Layers()
    answers = [(rung.outside, rung.ttl) for rung in ladder if rung.reached]
    faces = {outside: min(ttl for other, ttl in answers if other == outside) for outside, _ in answers}
    if not faces:
        return Layers(missing="an answer of its own outside address: one NAT that drops, or a pool")
    most, least = max(faces.values()), len(set(faces.values()))
    notes = [f"its outside address {outside} answers at TTL {ttl}" for outside, ttl in sorted(faces.items())]
    inner = _distinct(
        rung.sender for rung in ladder if rung.sender and not rung.reached and rung.sender not in faces
    )
    if least < most:
        by = f" (such as {', '.join(inner)})" if inner else ""
        return Layers(None, least, most, f"{'; '.join(notes)}: NATs, or routers{by} before the last of them")
    return Layers(most, least, most, "; ".join(notes))


def carrier_grade(seen: Seen, mapped: Iterable[str], behind_nat: bool | None) -> bool | None:
    """Shared address space was met. That it was not says little: None then, where there is a NAT."""
    met = (*seen.own, *mapped, *(rung.sender for rung in seen.ladder if rung.sender))
    if behind_nat and any(is_shared(address) for address in met):
        return True
    return False if behind_nat is False else None


def lifetime(silences: Sequence[Silence]) -> tuple[float | None, float | None]:
    """The longest silence that a mapping outlived, and the shortest beyond it that it did not: at least, and
    at most, so long were they."""
    lived = max((one.idle_s for one in silences if one.arrived), default=None)
    died = [
        round(one.idle_s + one.late_s, 2)
        for one in silences
        if not one.arrived and (lived is None or one.idle_s > lived)
    ]
    return lived, min(died, default=None)


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _verb(names: Sequence[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several
