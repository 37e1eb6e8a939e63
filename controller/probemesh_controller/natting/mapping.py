"""Mapping behaviour (RFC 4787 §4.1) from what one socket after the other looked like to several endpoints.

A difference is proof, whichever way it came about: no endpoint-independent mapping gives one socket two
faces. That all look alike proves less: a NAT that keeps source ports shows one port everywhere whatever its
rule, until two inside agents want the same one (DIAGNOSIS §5). Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from probemesh_shared.nat import RULES, NatRule, Ruling

from probemesh_controller.natting.seen import Clash, Endpoint, Sighting

EI, AD, APD = RULES


@dataclass(slots=True)
class View:
    """One socket as it was seen: endpoint sent to → outside endpoint. ``steady``: no endpoint saw two.
    ``again``: some endpoint saw it more than once."""

    local_port: int
    faces: dict[Endpoint, Endpoint] = field(default_factory=dict)
    steady: bool = True
    again: bool = False

    @property
    def first(self) -> Endpoint:
        return next(iter(self.faces.values()))

    @property
    def kept(self) -> bool:
        return self.first.port == self.local_port


@dataclass(frozen=True, slots=True)
class Judged:
    """A ruling, by what it is known, and what it would take to know more."""

    ruling: Ruling
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def views(sightings: Iterable[Sighting]) -> list[View]:
    """By socket, in the order of sending; sockets whose mapping changed under way are marked."""
    found: dict[int, View] = {}
    for one in sorted(sightings, key=lambda sighting: sighting.order):
        view = found.setdefault(one.socket, View(one.local_port))
        view.again = view.again or one.to in view.faces
        before = view.faces.setdefault(one.to, one.seen)
        view.steady = view.steady and before == one.seen
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Compared:
    """How often one socket was, or was not, the same to two ports of one address, and to two addresses."""

    port_same: int = 0
    port_differs: int = 0
    address_same: int = 0
    address_differs: int = 0
    differing_kept: bool = False  # some socket that differs between addresses shows its own port somewhere


def _compare(found: Sequence[View]) -> _Compared:
    counts = [0, 0, 0, 0]
    kept = False
    for view in found:
        verdicts = {0: set[bool](), 2: set[bool]()}
        for (to_a, seen_a), (to_b, seen_b) in combinations(view.faces.items(), 2):
            verdicts[0 if to_a.address == to_b.address else 2].add(seen_a == seen_b)
        for at, said in verdicts.items():
            counts[at] += said == {True}
            counts[at + 1] += False in said
        if False in verdicts[2]:
            kept = kept or any(seen.port == view.local_port for seen in view.faces.values())
    return _Compared(counts[0], counts[1], counts[2], counts[3], kept)


def mapping(sightings: Iterable[Sighting], clashes: Sequence[Clash] = ()) -> Judged:
    """From sightings by reflectors outside; those of a clash are no part of them."""
    found = views(sightings)
    steady = [view for view in found if view.steady]
    judged = _judge(steady)
    for clash in clashes:
        judged = _refined(judged, clash)
    if len(steady) < len(found):
        changed = f"the mapping of {len(found) - len(steady)} of {len(found)} sockets changed under way"
        judged = Judged(judged.ruling, (*judged.notes, changed), judged.missing)
    return judged


def _judge(found: Sequence[View]) -> Judged:
    seen = _compare(found)
    if seen.port_differs and (seen.port_differs > 1 or any(view.again for view in found)):
        return Judged(Ruling.of(APD), (f"{_sockets(seen.port_differs)} differ to two ports of one address",))
    if seen.address_differs:
        return _by_address(seen)
    if seen.address_same:
        return _same(found, seen)
    if seen.port_same:
        left = (EI, AD) if not _predictable(found) else RULES
        return Judged(
            Ruling.of(*left),
            (f"{_sockets(seen.port_same)} look the same to two ports of one address",),
            ("a second reflector address: one cannot tell endpoint- from address-dependent mapping",),
        )
    return Judged(Ruling(), (), ("two endpoints that see the same socket",))


def _by_address(seen: _Compared) -> Judged:
    note = f"{_sockets(seen.address_differs)} differ between reflector addresses"
    if not seen.port_same:
        return Judged(Ruling.of(AD, APD), (note,), ("a reflector that listens on two ports",))
    if seen.differing_kept:
        why = "source ports are kept, so that looking the same to two ports of one address proves nothing"
        return Judged(Ruling.of(AD, APD), (note, why), ("a second agent behind the same outside address",))
    return Judged(Ruling.of(AD), (note, "and look the same to two ports of one address"))


def _same(found: Sequence[View], seen: _Compared) -> Judged:
    note = f"{_sockets(seen.address_same)} look the same to every reflector"
    if _predictable(found):
        why = "source ports are kept: a mapping by destination would look the same until two want one port"
        return Judged(
            Ruling.of(EI, APD),
            (note, why),
            ("a second agent behind the same outside address, to force a clash of ports",),
        )
    return Judged(Ruling.of(EI), (note, "with a port that is not the socket's own"))


def _predictable(found: Sequence[View]) -> bool:
    """Outside ports follow from the inside ones (the same, or always as far away): then sameness proves
    nothing."""
    if any(view.kept for view in found):
        return True
    shifts = {(view.first.port - view.local_port) % 65536 for view in found}
    return len(found) > 1 and len(shifts) == 1


def _refined(judged: Judged, clash: Clash) -> Judged:
    proven = clash_rule(clash)
    if proven is None:
        return judged
    note = "two agents behind the same outside address used one source port: the second was "
    how = {
        EI: "given another port, the same for every destination",
        AD: "given another port for the address that the first had sent to, and kept its own for others",
        APD: "seen with two ports by one address",
    }[proven]
    return Judged(Ruling.of(proven), (*judged.notes, note + how))


def clash_rule(clash: Clash) -> NatRule | None:
    """What a forced clash proves; None where no clash came about.

    The order counts: Linux gives a socket that it has once moved to another port that port for other
    destinations too, so the second agent goes last to where its port is taken."""
    if not clash.first or len({(one.to, one.seen) for one in clash.first}) != 1:
        return None
    taken = clash.first[0]
    port = taken.local_port
    (view,) = views(clash.second) or (None,)
    if view is None or not view.steady or view.local_port != port or taken.seen.port != port:
        return None
    there = view.faces.get(taken.to)
    if there is None or there.address != taken.seen.address or there.port == port:
        return None
    beside = {seen for to, seen in view.faces.items() if to.address == taken.to.address and to != taken.to}
    others = {seen for to, seen in view.faces.items() if to.address != taken.to.address}
    if beside - {there}:
        return APD
    if beside and others == {there}:
        return EI
    if beside and others and all(seen == taken.seen for seen in others):
        return AD
    return None


def _sockets(count: int) -> str:
    return "1 socket" if count == 1 else f"{count} sockets"
